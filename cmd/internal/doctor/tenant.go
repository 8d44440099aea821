package doctor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
)

// Tenant says what is to be looked at of an Orchestrator.
type Tenant struct {
	Name string
	// Config is what worker run makes the client with; BaseURL and what TLS
	// needs are set whatever LoginFault says.
	Config orchestrator.Config
	// LoginFault is why no client can be made; LoginMend what to do about it.
	LoginFault error
	LoginMend  string
	LoginAfter string // what has to be mended before the login can be had at all; empty: nothing
	Secrets    string // the settings that the login's secret comes from
	Store      *Store // of a login on behalf of a user; nil: it is none
	Folder     orchestrator.FolderRef
	CA         bool // an authority of its own is set
	// ListReads is the share of the list calls that each worker takes.
	ListReads   int
	Timeout     time.Duration
	NoListReads bool // do not try to list jobs and queue items
	NoWrites    bool // do not try to add items and start jobs
}

// Store is where a user's login is kept.
type Store struct {
	orchestrator.TokenStore

	Name   string
	Sealed bool
}

// The checks of a tenant, as skipped lines name them.
const (
	checkURL       = "URL"
	checkName      = "name"
	checkTLS       = "TLS"
	checkAnswer    = "answer"
	checkLogin     = "login"
	checkScopes    = "scopes"
	checkStore     = "stored login"
	checkFolder    = "default folder"
	checkListReads = "list reads"
	checkNATSClock = "clock against NATS"
)

// tenant is one look at an Orchestrator.
type tenant struct {
	Tenant
	report

	natsSkew  *time.Duration
	client    *orchestrator.Client
	folder    orchestrator.Folder
	canRead   bool // folders
	refused   bool // the login, by the identity server, in the middle of a call
	throttled int  // calls that were answered with 429
}

// look checks the tenant's Orchestrator.
func (t Tenant) look(ctx context.Context, natsSkew *time.Duration) []Finding {
	l := &tenant{Tenant: t, report: report{where: "tenant " + t.Name}, natsSkew: natsSkew}
	if l.Store == nil { // else it may use a refresh token, whose answer is to be waited for as a worker would
		l.Config.Timeout = t.Timeout
	}
	l.Config.RetryFor = -1 // what is repeated in silence would not be seen
	if !l.route(ctx) {
		_, _ = l.stored(ctx) // reported
		l.skipAll("the way to Orchestrator", checkLogin, checkScopes, checkFolder, checkRights, checkClock)
		l.budget()
		return l.findings
	}
	if !l.enter(ctx) {
		l.skipAll("the login", checkScopes, checkFolder, checkRights, checkClock)
		l.budget()
		return l.findings
	}
	defer l.leave(ctx)
	if l.canRead = l.readFolders(ctx); l.refused {
		l.skipAll("the login", checkFolder, checkRights)
	} else if l.findFolder(ctx) {
		l.together(ctx, slices.Concat(l.reads(), l.listReads(), l.writes()))
	} else {
		l.skipAll(checkFolder, checkRights)
	}
	l.clock()
	l.budget()
	return l.findings
}

// together makes the checks at once, each of which may take its time, and
// reports them in their order.
func (l *tenant) together(ctx context.Context, checks []func(context.Context, *tenant)) {
	made := make([]tenant, len(checks))
	var calls sync.WaitGroup
	for i, check := range checks {
		made[i] = *l
		made[i].findings, made[i].throttled = nil, 0
		calls.Go(func() { check(ctx, &made[i]) })
	}
	calls.Wait()
	for _, one := range made {
		l.findings = append(l.findings, one.findings...)
		l.throttled += one.throttled
	}
}

// within bounds one check.
func (t Tenant) within(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := t.Timeout + time.Second // the client's own limit says more
	if t.Store != nil {
		limit = renewalTakes // where a worker was killed while it renewed, that use must end first
	}
	return context.WithTimeout(ctx, limit)
}

// renewalTakes is the longest time for a renewal of a user's login with the
// client's own limits: another's use has to end, and then ours.
const renewalTakes = 75 * time.Second

// leave ends the client, not without a refresh token that it is just getting.
func (l *tenant) leave(ctx context.Context) {
	ctx, cancel := l.within(context.WithoutCancel(ctx))
	defer cancel()
	if err := l.client.Close(ctx); err != nil {
		l.fail(cli.ExitUnexpected, checkStore, l.loginAgain(), "%s", oneLine(err))
	}
}

// called judges a call that did not come to what it was to: what to change, and
// the exit code.
func (l *tenant) called(err error, scope, permission string) (code cli.Code, found, mend string) {
	e, ok := errors.AsType[*orchestrator.Error](err)
	if !ok {
		return cli.ExitUnexpected, oneLine(err), "look again, and report it if it comes again"
	}
	if e.StatusCode == http.StatusTooManyRequests {
		l.throttled++
	}
	bare := *e
	bare.Err = nil
	plain, whole := withoutOp(&bare), withoutOp(e)
	advice := ""
	if e.Err != nil {
		advice = oneLine(e.Err)
	}
	switch {
	case e.LoginRefused() && e.Class == orchestrator.Identity && scope != "":
		l.refused = true
		return cli.ExitCredentials, "the login is refused: " + plain, orElse(advice, "check "+l.Secrets)
	case e.LoginRefused():
		return cli.ExitCredentials, plain, orElse(advice, "check "+l.Secrets)
	case e.Kind == orchestrator.Denied && e.StatusCode == http.StatusForbidden:
		return cli.ExitCredentials, plain, "give the login the scope " + scope + " (and name it in scopes or UIPATH_SCOPE, where those are set), and a role with " + permission + " in the folder"
	case e.Kind == orchestrator.Denied:
		return cli.ExitUsage, plain, orElse(advice, "check UIPATH_URL (url), and proxies on the way: no Orchestrator answers there")
	case e.Kind == orchestrator.Rejected:
		return cli.ExitUsage, whole, "check the settings of the tenant and its folder"
	case e.StatusCode == http.StatusTooManyRequests:
		return cli.ExitUnreachable, plain, "look again in a minute: the tenant's share of calls is used up, by these workers (listReadsPerMinute) or by other tools"
	}
	return cli.ExitUnreachable, whole, "look again later; see UiPath's status page, and proxies on the way"
}

// withoutOp leaves out what was attempted, which the line says already.
func withoutOp(e *orchestrator.Error) string {
	return strings.ReplaceAll(strings.TrimPrefix(e.Error(), e.Op+": "), "\n", "; ")
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// clock compares Orchestrator's with ours. Dates in requests, and what is looked
// for by its time of creation, go by Orchestrator's; the worker makes allowance
// for a difference, people do not.
func (l *tenant) clock() {
	theirs := l.client.Time()
	if theirs.IsZero() {
		l.skip(checkClock, "mend the calls above first", "no answer that shows Orchestrator's clock")
		return
	}
	skew := time.Until(theirs)
	l.compareClocks(checkClock, "Orchestrator's", "this machine's", skew, time.Second)
	if l.natsSkew != nil {
		l.compareClocks(checkNATSClock, "Orchestrator's", "NATS's", skew-*l.natsSkew, time.Second)
	}
}

// budget: Orchestrator tells nobody what is left of its 100 list calls a minute.
func (l *tenant) budget() {
	const all = 100
	switch {
	case l.throttled > 0:
		l.warn(checkListReads, "lower listReadsPerMinute, run fewer workers, or find what else calls the tenant", "Orchestrator refused %s just now for load (429)", count(l.throttled, "call", "calls"))
	case l.ListReads > all:
		l.warn(checkListReads, "lower listReadsPerMinute of the tenant to 60", "each worker takes up to %d a minute, and Orchestrator answers %d to all callers", l.ListReads, all)
	default:
		l.ok(checkListReads, "each worker takes up to %d of the tenant's %d a minute, which all callers share: %s", l.ListReads, all, fits(all/max(l.ListReads, 1)))
	}
}

func fits(workers int) string {
	if workers == 1 {
		return "room for 1 worker"
	}
	return count(workers, "worker", "workers") + " fit"
}
