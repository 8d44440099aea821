package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/internal/shell"
	"waybill/orchestrator"
)

const (
	// renewWithin is how long a refresh token that is not used lasts.
	renewWithin = 60 * 24 * time.Hour
	// renewSoon is from when on its end is told.
	renewSoon = 14 * 24 * time.Hour
)

// loginAgain is what to do about it.
func (t Tenant) loginAgain() string { return "run `worker login` " + shell.Quote(t.Name) }

// enter logs in, where what is stored of the login can be used.
func (l *tenant) enter(ctx context.Context) bool {
	revision, usable := l.stored(ctx)
	if !usable {
		l.skipAll("the "+checkStore, checkLogin)
		return false
	}
	return l.login(ctx, revision)
}

// login logs in as worker run does. So what is stored of a user's login is
// renewed where its time has come, by the rules that workers share it by.
func (l *tenant) login(ctx context.Context, revision string) bool {
	if l.LoginAfter != "" {
		l.skipAll(l.LoginAfter, checkLogin)
		return false
	}
	if l.LoginFault != nil {
		code := cli.ExitUsage
		if e, ok := errors.AsType[*cli.Error](l.LoginFault); ok {
			code = e.Code
		}
		l.fail(code, checkLogin, l.LoginMend, "%s", oneLine(l.LoginFault))
		return false
	}
	client, err := orchestrator.New(l.Config)
	if err != nil {
		l.fail(cli.ExitUsage, checkLogin, "correct the setting that is named (UIPATH_URL or url, UIPATH_IDENTITY_URI or tokenUrl, "+l.Secrets+")", "%s", oneLine(err))
		return false
	}
	l.client = client
	ctx, cancel := l.within(ctx)
	defer cancel()
	begin := time.Now()
	access, err := client.LogIn(ctx)
	if err != nil {
		code, found, mend := l.called(err, "", "")
		if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.LoginRefused() && l.Store == nil {
			mend += " (" + l.Secrets + ")"
		}
		l.fail(code, checkLogin, mend, "%s", found)
		return false
	}
	if _, ok := l.Config.Login.(orchestrator.PersonalAccessToken); ok {
		l.ok(checkLogin, "a personal access token, which the calls below try")
		l.scopes(nil)
		return true
	}
	until := ", token without an end that is told"
	if !access.Expires.IsZero() {
		until = ", token good for " + time.Until(access.Expires).Round(time.Second).String()
	}
	if l.untouched(ctx, revision) {
		l.ok(checkLogin, "the stored access token, which the calls below try; not tried by a renewal%s", until)
	} else {
		l.ok(checkLogin, "taken in %s%s", short(time.Since(begin)), until)
	}
	l.scopes(access.Scopes)
	return true
}

// untouched reports whether a user's login was left as it was stored: then
// nobody has asked the identity server.
func (l *tenant) untouched(ctx context.Context, revision string) bool {
	if l.Store == nil {
		return false
	}
	_, now, err := l.Store.Load(ctx)
	return err == nil && now == revision
}

// needs are the scopes that worker run cannot do without.
var needs = [][]string{
	{"OR.Folders.Read"},
	{"OR.Queues.Read", "OR.Queues.Write"},
	{"OR.Jobs.Read", "OR.Jobs.Write"},
	{"OR.Execution.Read"},
}

// scopes compares what was granted with what is needed. OR.Default leaves it to
// the roles, which the calls below find out; so does a token whose scopes nobody
// tells.
func (l *tenant) scopes(granted []string) {
	if len(granted) == 0 {
		l.ok(checkScopes, "not told: the roles in the folder decide")
		return
	}
	text := strings.Join(granted, " ")
	if slices.Contains(granted, "OR.Default") {
		l.ok(checkScopes, "%s: the roles in the folder decide", text)
		return
	}
	var missing []string
	for _, parts := range needs {
		for _, part := range parts {
			whole := strings.TrimSuffix(strings.TrimSuffix(part, ".Read"), ".Write")
			if !slices.Contains(granted, part) && !slices.Contains(granted, whole) {
				missing = append(missing, part)
			}
		}
	}
	if len(missing) > 0 {
		l.fail(cli.ExitCredentials, checkScopes, "add "+strings.Join(missing, " ")+" (or the whole resource) to the application in UiPath, and to UIPATH_SCOPE (scopes) where that is set",
			"%s: without %s", text, strings.Join(missing, ", "))
		return
	}
	l.ok(checkScopes, "%s", text)
}

// stored looks at what a user's login has left: its revision, and whether it
// can be used. Where nothing is to be stored, it can.
func (l *tenant) stored(ctx context.Context) (string, bool) {
	if l.Store == nil {
		return "", true
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	grant, revision, err := l.Store.Load(ctx)
	switch {
	case errors.Is(err, orchestrator.ErrNoGrant):
		l.fail(cli.ExitCredentials, checkStore, l.loginAgain(), "nothing in %s", l.Store.Name)
		return "", false
	case err != nil:
		l.fail(cli.ExitUsage, checkStore, "do what it says, or check WAYBILL_TOKEN_STORE, WAYBILL_TOKEN_FOLDER and WAYBILL_TOKEN_KEY_FILE", "%s", oneLine(err))
		return "", false
	}
	l.granted(grant)
	return revision, len(grant.RefreshTokens) > 0
}

func (l *tenant) granted(grant orchestrator.Grant) {
	sealed := "not sealed, readable for its owner alone"
	if l.Store.Sealed {
		sealed = "sealed"
	}
	unused := time.Since(grant.RenewedAt)
	text := count(len(grant.RefreshTokens), "refresh token", "refresh tokens") + " in " + l.Store.Name + ", " + sealed + ", renewed " + ago(unused)
	switch {
	case grant.User != "":
		l.warn(checkStore, "look again in a minute; if it still says so, a worker was killed in the moment of using one: "+l.loginAgain()+" to have two again", "%s, one of them in use just now", text)
	case len(grant.RefreshTokens) == 0:
		l.fail(cli.ExitCredentials, checkStore, l.loginAgain(), "%s", text)
	case len(grant.RefreshTokens) == 1:
		l.warn(checkStore, l.loginAgain()+" to have two: a worker that is killed in the moment of using the one ends the login", "%s", text)
	case unused > renewWithin-renewSoon:
		l.warn(checkStore, "let worker run use it, or "+l.loginAgain()+": it ends 60 days after it was renewed last", "%s", text)
	default:
		l.ok(checkStore, "%s", text)
	}
}

func ago(d time.Duration) string {
	if days := int(d / (24 * time.Hour)); days > 0 {
		return count(days, "day", "days") + " ago"
	}
	return "today"
}
