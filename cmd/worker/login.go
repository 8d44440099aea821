package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cli/browser"
	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/tokens"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// defaultRedirectURL is where the browser comes back to, and what is to be
// registered for the application.
const defaultRedirectURL = "http://localhost:8085/callback"

// secondWait is how long the second authorization may take, which needs nobody:
// the user has logged in already.
const secondWait = 20 * time.Second

// loginFlags are those of worker login.
type loginFlags struct {
	config    string
	noBrowser bool
	newKey    bool
	patience  time.Duration
	server    cli.NATS
	logging   cli.Logging
}

func newLoginCommand() *cobra.Command {
	var flags loginFlags
	cmd := &cobra.Command{
		Use:   "login [TENANT]",
		Short: "Log a user in, for a tenant whose requests are carried out on the user's behalf",
		Long: `login sends you through the identity server's pages in the browser, once, and
keeps what worker run needs to go on in your name: refresh tokens, which last as
long as a worker uses them (60 days without). The tenant's login must be "user".

In UiPath, add an external application with the user scopes OR.Jobs, OR.Queues,
OR.Execution and OR.Folders.Read, and the redirect URL ` + defaultRedirectURL + `
(or another on this machine: UIPATH_REDIRECT_URL, redirectUrl). Confidential
applications need their secret here and in worker run, others have none.

The tokens are kept in a file that only you can read, in the state folder of XDG
(~/.local/state/waybill), or, for workers on several machines, in a bucket of NATS
(WAYBILL_TOKEN_STORE=bucket), sealed with the age identity in WAYBILL_TOKEN_KEY or
the file WAYBILL_TOKEN_KEY_FILE. --new-key prints such an identity.

The browser is sent to the identity server twice, the second time by itself: of
two refresh tokens one is left, should a worker be killed in just the moment in
which it has used the other.`,
		Example: `  UIPATH_LOGIN=user UIPATH_CLIENT_ID=… UIPATH_URL=https://cloud.uipath.com/organization/tenant/orchestrator_ worker login
  worker login Production --no-browser           # on a machine without one: open the address elsewhere
  worker login --new-key > /etc/waybill/token.key`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.newKey {
				return printNewKey(cmd.OutOrStdout())
			}
			l := login{
				log: flags.logging.New(cmd.ErrOrStderr()), in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(),
				noBrowser: flags.noBrowser, patience: flags.patience,
			}
			return tellingDenials(cmd.Context(), &flags.server, func(ctx context.Context) error { return flags.run(ctx, l, args) })
		},
	}
	cmd.Flags().StringVar(&flags.config, "config", "", "configuration file (default "+defaultFile+", if it is there)")
	cmd.Flags().BoolVar(&flags.noBrowser, "no-browser", false, "print the address to open, and take the one the browser ends on from standard input")
	cmd.Flags().BoolVar(&flags.newKey, "new-key", false, "print a new age identity for WAYBILL_TOKEN_KEY, and do nothing else")
	cmd.Flags().DurationVar(&flags.patience, "timeout", 5*time.Minute, "how long to wait for the browser to come back")
	flags.server.AddFlags(cmd.Flags())
	flags.logging.AddFlags(cmd.Flags())
	return cmd
}

func printNewKey(w io.Writer) error {
	key, err := tokens.NewKey()
	if err != nil {
		return err //nolint:wrapcheck // it says what was being done
	}
	_, err = fmt.Fprintln(w, key)
	return err //nolint:wrapcheck // of standard output
}

func (f *loginFlags) run(ctx context.Context, l login, args []string) error {
	s, err := loadSettings(f.config)
	if err != nil {
		return err
	}
	t, err := s.chosen(args)
	if err != nil {
		return err
	}
	if kind, err := t.kind(); err == nil && kind != loginUser {
		return cli.Errorf(cli.ExitUsage, "tenant %s: its login is %s, which needs no browser: set login: user in %s, or UIPATH_LOGIN=user, if it is to be carried out on a user's behalf", t.Name, kind, defaultFile)
	}
	t.Login = loginUser
	s.Tenants = []tenant{t}
	js, leave, err := s.openTokens(ctx, f.server, l.log)
	if err != nil {
		return err
	}
	defer leave()
	if js != nil {
		if err := pipeline.NewTokenBucket(js, s.topology()).Provision(ctx); err != nil {
			return fmt.Errorf("make the place for logins: %w", err)
		}
	}
	if l.cfg, err = s.clientConfig(t, surroundings{log: l.log, js: js}); err != nil {
		return err
	}
	l.tenant = t
	return l.run(ctx)
}

// chosen is the tenant that is named, or the only one.
func (s settings) chosen(names []string) (tenant, error) {
	if len(s.Tenants) == 0 {
		return tenant{}, noTenant()
	}
	if len(names) == 0 && len(s.Tenants) == 1 {
		return s.Tenants[0], nil
	}
	if len(names) == 0 {
		return tenant{}, cli.Errorf(cli.ExitUsage, "there are several tenants: name one of %q", s.names())
	}
	for _, t := range s.Tenants {
		if t.Name == names[0] {
			return t, nil
		}
	}
	return tenant{}, cli.Errorf(cli.ExitUsage, "no tenant %q in the settings: name one of %q", names[0], s.names())
}

// login is one user's login to one tenant.
type login struct {
	tenant    tenant
	cfg       orchestrator.Config
	log       *slog.Logger
	in        io.Reader
	out, err  io.Writer
	noBrowser bool
	patience  time.Duration

	returns *returns
}

func (l *login) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	redirectURL := cmp.Or(l.tenant.RedirectURL, defaultRedirectURL)
	ask := orchestrator.AuthorizationRequest{
		RedirectURL: redirectURL, AuthorizeURL: l.tenant.AuthorizeURL, Scopes: l.tenant.Scopes, ACRValues: l.tenant.ACRValues,
	}
	first, err := orchestrator.NewAuthorization(l.cfg, ask)
	if err != nil {
		return tenantError(l.tenant, err)
	}
	if _, _, err := l.store().Load(ctx); err != nil && !errors.Is(err, orchestrator.ErrNoGrant) && !errors.Is(err, orchestrator.ErrGrantUnusable) {
		return cli.Errorf(cli.ExitUsage, "tenant %s: %w", l.tenant.Name, err) // before the user has gone through the browser
	}
	if err := l.await(ctx, redirectURL); err != nil {
		return err
	}
	defer l.returns.stop()
	l.show(first)
	came, err := l.wait(ctx, first, l.patience)
	if err != nil {
		return err
	}
	grant, err := l.exchange(ctx, first, came)
	if err != nil {
		came.show(page{err: err})
		return err
	}
	err = l.spare(ctx, ask, grant, came)
	if errors.Is(err, errNotKept) {
		return cli.Errorf(cli.ExitUnexpected, "tenant %s: %w: run worker login again, unless that was meant", l.tenant.Name, err)
	}
	if err != nil {
		l.log.Warn("there is one refresh token, not two: should a worker be killed in the moment of using it, worker login is due again", "error", err)
	}
	_, err = fmt.Fprintf(l.out, "logged in to tenant %s; kept in %s\n", l.tenant.Name, l.store())
	return err //nolint:wrapcheck // of standard output
}

// await begins to wait for the browser.
func (l *login) await(ctx context.Context, redirectURL string) error {
	l.returns = newReturns()
	err := l.returns.listen(ctx, redirectURL)
	if err != nil && !l.noBrowser {
		return cli.Errorf(cli.ExitUsage, "%w: free that address, register another one of this machine for the application and set it (UIPATH_REDIRECT_URL, redirectUrl), or use --no-browser", err)
	}
	if l.noBrowser {
		l.returns.read(ctx, l.in)
	}
	return nil
}

// wait gives what the browser comes back with.
func (l *login) wait(ctx context.Context, a *orchestrator.Authorization, patience time.Duration) (arrival, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNoReturn)
	defer cancel()
	came, err := l.returns.wait(ctx, a)
	if errors.Is(err, errNoReturn) {
		return came, cli.Errorf(cli.ExitTimeout, "the browser has not come back within %s: if it shows an error page of the identity server, use --no-browser and give that page's address", patience)
	}
	if errors.Is(err, errEmpty) {
		return came, cli.Errorf(cli.ExitUsage, "%w", err)
	}
	if err != nil {
		return came, fmt.Errorf("log in: %w", err)
	}
	return came, nil
}

// exchange gets the tokens, tries them and keeps them.
func (l *login) exchange(ctx context.Context, a *orchestrator.Authorization, came arrival) (orchestrator.Grant, error) {
	grant, err := a.Exchange(ctx, came.address)
	if err != nil {
		return grant, exitCodeOfLogin(err)
	}
	if err := l.check(ctx, grant); err != nil {
		return grant, err
	}
	return grant, l.replace(ctx, func(orchestrator.Grant) (orchestrator.Grant, bool) { return grant, true })
}

// spare sends the browser on its way once more, for a second refresh token. The
// user has nothing to do, having logged in.
func (l *login) spare(ctx context.Context, ask orchestrator.AuthorizationRequest, grant orchestrator.Grant, came arrival) error {
	a, err := orchestrator.NewAuthorization(l.cfg, ask)
	if err != nil {
		return err //nolint:wrapcheck // it was accepted before
	}
	patience := secondWait
	if came.reply == nil {
		patience = l.patience
		_, _ = fmt.Fprintln(l.err, "You are logged in. Once more, for a second refresh token; an empty line leaves it out.")
		l.show(a)
	}
	came.show(page{next: a.URL()})
	again, err := l.wait(ctx, a, patience)
	if err != nil {
		return err
	}
	more, err := a.Exchange(ctx, again.address)
	if err == nil {
		err = l.add(ctx, grant, more)
	}
	again.show(page{err: err})
	return err
}

// errNotKept is what has become of a login before its second refresh token came.
var errNotKept = errors.New("the login is no longer kept as it was: it was removed or made unusable meanwhile, or another took its place")

// add joins the second authorization's grant to the first's, where that is still
// what is kept. Whatever else is there, or is not, is somebody else's doing.
func (l *login) add(ctx context.Context, grant, more orchestrator.Grant) error {
	kept := false
	err := l.replace(ctx, func(present orchestrator.Grant) (orchestrator.Grant, bool) {
		kept = present.Login == grant.Login
		return present.Join(more), kept
	})
	if err == nil && !kept {
		return errNotKept
	}
	return err
}

// show says where to log in, and opens it unless there is no browser.
func (l *login) show(a *orchestrator.Authorization) {
	if l.noBrowser {
		_, _ = fmt.Fprintf(l.err, "Open this address in a browser, log in, and give the address of the page it ends on here:\n\n%s\n\n", a.URL())
		return
	}
	_, _ = fmt.Fprintf(l.err, "Your browser is to open this address; open it yourself if it does not:\n\n%s\n\n", a.URL())
	forgetSecrets() // a browser's children have no business with them
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	go func() { // some openers stay for as long as the browser does
		if err := browser.OpenURL(a.URL()); err != nil {
			l.log.Debug("no browser opened", "error", err)
		}
	}()
}

// check makes sure that the tenant takes the token before it is kept: who logs in
// to another organization than the tenant's gets a token that is good there.
func (l *login) check(ctx context.Context, grant orchestrator.Grant) error {
	cfg := l.cfg
	cfg.Login = orchestrator.PersonalAccessToken(grant.AccessToken)
	client, err := orchestrator.New(cfg)
	if err != nil {
		return tenantError(l.tenant, err)
	}
	defer client.CloseIdleConnections()
	for _, err := range client.Folders(ctx, orchestrator.Query{Top: 1, Limit: 1}) {
		e, ok := errors.AsType[*orchestrator.Error](err)
		if ok && e.LoginRefused() {
			return cli.Errorf(cli.ExitCredentials, "tenant %s does not take this user's token: log in to the organization of %s (acrValues names it), and not to another one: %s", l.tenant.Name, l.tenant.URL, e.Message)
		}
		if err != nil {
			l.log.Warn("the login could not be tried", "tenant", l.tenant.Name, "error", err)
		}
		break
	}
	return nil
}

// store is where the grant is kept.
func (l *login) store() orchestrator.TokenStore {
	return l.cfg.Login.(orchestrator.RefreshToken).Store //nolint:forcetypeassert,errcheck // that is the way in of a user
}

// replace changes what is kept, if change says that there is anything to save. It
// gets the zero Grant where there is none, or none that can be used.
func (l *login) replace(ctx context.Context, change func(orchestrator.Grant) (orchestrator.Grant, bool)) error {
	for {
		present, revision, unusable := l.store().Load(ctx)
		if unusable != nil && !errors.Is(unusable, orchestrator.ErrNoGrant) && !errors.Is(unusable, orchestrator.ErrGrantUnusable) {
			return cli.Errorf(cli.ExitUsage, "tenant %s: %w", l.tenant.Name, unusable)
		}
		next, save := change(present)
		if !save {
			return nil
		}
		if errors.Is(unusable, orchestrator.ErrGrantUnusable) {
			l.log.Warn("what was kept is replaced", "error", unusable)
		}
		err := l.store().Save(ctx, next, revision)
		if errors.Is(err, orchestrator.ErrGrantChanged) {
			continue // a worker renews it just now
		}
		if err != nil {
			return cli.Errorf(cli.ExitUnexpected, "tenant %s: %w", l.tenant.Name, err)
		}
		return nil
	}
}

func exitCodeOfLogin(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Transient {
		return cli.Errorf(cli.ExitUnreachable, "%w", err)
	}
	return cli.Errorf(cli.ExitCredentials, "%w", err)
}
