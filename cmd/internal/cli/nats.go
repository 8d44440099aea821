package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/pflag"
	"github.com/synadia-io/orbit.go/natscontext"
)

// NATS says how to reach the NATS server. A flag goes before the environment
// variable of the same meaning; with neither, the server is nats.DefaultURL.
//
// Secrets come from files or from the environment. A password in a flag's URL
// is refused, since everybody on the machine can read command lines.
type NATS struct {
	URL     string // --nats-url, NATS_URL; several with commas between
	Context string // --nats-context, NATS_CONTEXT: a context of the nats CLI, in place of a URL
	Creds   string // --nats-creds, NATS_CREDS: a credentials file
	NKey    string // --nats-nkey, NATS_NKEY: a file with an nkey seed
	CA      string // --nats-ca, NATS_CA: a PEM file
	Cert    string // --nats-cert, NATS_CERT: a PEM file, with Key
	Key     string // --nats-key, NATS_KEY: a PEM file
	// InboxPrefix is --nats-inbox-prefix, NATS_INBOX_PREFIX: where answers come,
	// in place of _INBOX; for users that may only subscribe to an inbox of theirs.
	InboxPrefix string
	// APIPrefix is how JetStream is asked, for commands that can do so from
	// elsewhere; empty: as the context says, or as $JS.API.
	APIPrefix string
	// Denials is told what the server does not allow; nil: only the log is.
	Denials *Denials
	// Logger is told when the connection is lost and found again; nil: nobody is.
	Logger *slog.Logger
}

// connectTimeout bounds the connection to one server of the list.
const connectTimeout = 5 * time.Second

// AddFlags adds the --nats-… flags.
func (n *NATS) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&n.URL, "nats-url", "", "NATS server, or several with commas between (NATS_URL; "+nats.DefaultURL+")")
	fs.StringVar(&n.Context, "nats-context", "", "context of the nats CLI to connect with (NATS_CONTEXT)")
	fs.StringVar(&n.Creds, "nats-creds", "", "credentials file (NATS_CREDS)")
	fs.StringVar(&n.NKey, "nats-nkey", "", "file with an nkey seed (NATS_NKEY)")
	fs.StringVar(&n.CA, "nats-ca", "", "PEM file of the authority to trust (NATS_CA)")
	fs.StringVar(&n.Cert, "nats-cert", "", "PEM file of the client certificate (NATS_CERT)")
	fs.StringVar(&n.Key, "nats-key", "", "PEM file of the client certificate's key (NATS_KEY)")
	fs.StringVar(&n.InboxPrefix, "nats-inbox-prefix", "", "where answers come, for a user with an inbox of its own (NATS_INBOX_PREFIX; _INBOX)")
}

// Connect connects under the given client name, where JetStream is asked as
// $JS.API, and keeps the connection up for as long as it is not closed; ctx is
// for the connecting alone. Its errors carry exit codes: a server that does not
// answer, credentials that are refused, settings that cannot work.
func (n NATS) Connect(ctx context.Context, name string) (*nats.Conn, error) {
	nc, api, err := n.ConnectFrom(ctx, name)
	if err != nil {
		return nil, err
	}
	if strings.TrimSuffix(api, ".")+"." != jetstream.DefaultAPIPrefix {
		nc.Close()
		return nil, Errorf(ExitUsage, "NATS: the context has JetStream asked as %s, in another account or domain, which only enqueue can do: use a context without jetstream_domain and jetstream_api_prefix, of the account and the domain that have the streams", api)
	}
	return nc, nil
}

// ConnectFrom is Connect from wherever JetStream is asked in its own way: in
// another account, or in another domain. It tells the prefix to ask it by,
// which a context may set; jetstream.DefaultAPIPrefix otherwise.
func (n NATS) ConnectFrom(ctx context.Context, name string) (nc *nats.Conn, apiPrefix string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", fmt.Errorf("connect to NATS: %w", err)
	}
	if n, err = n.withEnvironment(); err != nil {
		return nil, "", err
	}
	opts, err := n.options(name)
	if err != nil {
		return nil, "", err
	}
	return await(ctx, func() (*nats.Conn, string, error) { return n.dial(opts) })
}

// dial tries each server of the list, for as long as that may take.
func (n NATS) dial(opts []nats.Option) (*nats.Conn, string, error) {
	if n.Context == "" {
		nc, err := nats.Connect(n.URL, opts...)
		if err != nil {
			return nil, "", explain(err, redact(n.URL))
		}
		return nc, cmp.Or(n.APIPrefix, jetstream.DefaultAPIPrefix), nil
	}
	nc, settings, err := natscontext.Connect(n.Context, opts...)
	if err != nil {
		return nil, "", explain(err, "the server of context "+n.Context)
	}
	api := cmp.Or(n.APIPrefix, apiPrefixOf(settings))
	if !isPrefix(api) {
		nc.Close()
		return nil, "", Errorf(ExitUsage, "NATS: context %s has JetStream asked as %q (jetstream_domain, jetstream_api_prefix), which must be a subject without wildcards and blanks, such as $JS.hub.API", n.Context, api)
	}
	return nc, api, nil
}

// await gives up when ctx ends, which the client of NATS does not heed: its
// dialing goes on for no longer than its list of servers lasts, and a connection
// that comes of it is closed.
func await(ctx context.Context, dial func() (*nats.Conn, string, error)) (*nats.Conn, string, error) {
	type dialed struct {
		nc  *nats.Conn
		api string
		err error
	}
	done, left := make(chan dialed), make(chan struct{})
	go func() {
		nc, api, err := dial()
		select {
		case done <- dialed{nc, api, err}:
		case <-left:
			if nc != nil {
				nc.Close()
			}
		}
	}()
	select {
	case d := <-done:
		return d.nc, d.api, d.err
	case <-ctx.Done():
		close(left)
		return nil, "", fmt.Errorf("connect to NATS: %w", context.Cause(ctx))
	}
}

// apiPrefixOf reads a context as the nats CLI does: the domain goes first.
func apiPrefixOf(settings natscontext.Settings) string {
	if settings.JSDomain != "" {
		return "$JS." + settings.JSDomain + ".API."
	}
	return cmp.Or(settings.JSAPIPrefix, jetstream.DefaultAPIPrefix)
}

// isPrefix tells whether subjects can begin with it.
func isPrefix(s string) bool {
	return !slices.ContainsFunc(strings.Split(strings.TrimSuffix(s, "."), "."), func(token string) bool {
		return token == "" || strings.ContainsFunc(token, func(r rune) bool { return r == '*' || r == '>' || unicode.IsSpace(r) || unicode.IsControl(r) })
	})
}

// withEnvironment fills in what no flag says.
func (n NATS) withEnvironment() (NATS, error) {
	if HasPassword(n.URL) {
		return n, Errorf(ExitUsage, "--nats-url holds a password, which everybody on this machine could read: put it into NATS_URL or use --nats-creds")
	}
	if n.URL != "" && n.Context != "" {
		return n, Errorf(ExitUsage, "give --nats-url or --nats-context, not both")
	}
	if n.URL == "" && n.Context == "" {
		n.URL, n.Context = os.Getenv("NATS_URL"), os.Getenv("NATS_CONTEXT")
		if n.URL != "" && n.Context != "" {
			return n, Errorf(ExitUsage, "NATS_URL and NATS_CONTEXT are both set: unset one, or say which with --nats-url or --nats-context")
		}
	}
	if n.Context == "" {
		n.URL = cmp.Or(n.URL, nats.DefaultURL)
	}
	n.Creds = cmp.Or(n.Creds, os.Getenv("NATS_CREDS"))
	n.NKey = cmp.Or(n.NKey, os.Getenv("NATS_NKEY"))
	n.CA = cmp.Or(n.CA, os.Getenv("NATS_CA"))
	n.Cert = cmp.Or(n.Cert, os.Getenv("NATS_CERT"))
	n.Key = cmp.Or(n.Key, os.Getenv("NATS_KEY"))
	n.InboxPrefix = cmp.Or(n.InboxPrefix, os.Getenv("NATS_INBOX_PREFIX"))
	return n, nil
}

func (n NATS) options(name string) ([]nats.Option, error) {
	log := n.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	opts := append(logHandlers(log, n.Denials), nats.Name(name), nats.Timeout(connectTimeout), nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort()) // credentials that are being changed are refused for a moment, and more than once
	if n.Creds != "" && n.NKey != "" {
		return nil, Errorf(ExitUsage, "NATS: both a credentials file and an nkey are given; use one")
	}
	if (n.Cert == "") != (n.Key == "") {
		return nil, Errorf(ExitUsage, "NATS: a client certificate needs both its PEM file (--nats-cert, NATS_CERT) and its key's (--nats-key, NATS_KEY)")
	}
	for _, file := range []string{n.Creds, n.NKey, n.CA, n.Cert, n.Key} {
		if err := readable(file); err != nil {
			return nil, err
		}
	}
	if n.Creds != "" {
		opts = append(opts, nats.UserCredentials(n.Creds))
	}
	if n.NKey != "" {
		nkey, err := nats.NkeyOptionFromSeed(n.NKey)
		if err != nil {
			return nil, Errorf(ExitUsage, "NATS: read the nkey seed in %s: %w", n.NKey, err)
		}
		opts = append(opts, nkey)
	}
	if n.CA != "" {
		opts = append(opts, nats.RootCAs(n.CA))
	}
	if n.Cert != "" {
		opts = append(opts, nats.ClientCert(n.Cert, n.Key))
	}
	if n.InboxPrefix != "" {
		if !isPrefix(n.InboxPrefix) || strings.HasSuffix(n.InboxPrefix, ".") {
			return nil, Errorf(ExitUsage, "NATS: the inbox prefix %q (--nats-inbox-prefix, NATS_INBOX_PREFIX) must be a subject without wildcards, such as _INBOX_worker", n.InboxPrefix)
		}
		opts = append(opts, nats.CustomInboxPrefix(n.InboxPrefix))
	}
	if n.APIPrefix != "" && !isPrefix(n.APIPrefix) {
		return nil, Errorf(ExitUsage, "NATS: the API prefix %q (--nats-api-prefix, NATS_API_PREFIX) must be a subject without wildcards and blanks, such as uipath.api", n.APIPrefix)
	}
	return append(opts, minTLS), nil
}

// minTLS says what nats.go does by itself, so that it cannot change unnoticed.
// Where nothing is configured for TLS, Go's own minimum is the same; with a
// configuration nats.go would take the connection for one by TLS, and wait
// longer before it connects again.
func minTLS(o *nats.Options) error {
	if o.TLSConfig != nil {
		o.TLSConfig.MinVersion = max(o.TLSConfig.MinVersion, tls.VersionTLS12)
	}
	return nil
}

// readable finds a file that is missing before nats.go reports it as a server
// that cannot be reached.
func readable(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path) //nolint:gosec // G304: the user's own choice
	if err != nil {
		return Errorf(ExitUsage, "NATS: %w", err)
	}
	return f.Close() //nolint:wrapcheck // closing what was only opened does not fail
}

func logHandlers(log *slog.Logger, denials *Denials) []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // none when we close it ourselves
				log.Warn("connection to NATS lost, reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("connected to NATS again", "server", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if denials.note(err) {
				log.Debug("NATS denies something", "error", err)
				return
			}
			if sub != nil {
				log.Error("NATS reports an error", "error", err, "subject", sub.Subject)
				return
			}
			log.Error("NATS reports an error", "error", err)
		}),
	}
}
