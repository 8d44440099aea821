package main

import (
	"cmp"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/internal/shell"
	"waybill/pipeline"
)

// explainDenial says what would be allowed, or which role is missing, whatever
// came of it.
func (t *target) explainDenial(denied *cli.DeniedError) error {
	requests := t.prefix + ".requests."
	switch {
	case denied.Subscribe && strings.HasPrefix(denied.Subject, "_INBOX"):
		return denied.Needs(string(cmp.Or(t.role, pipeline.RoleProducer))) //nolint:wrapcheck // says all there is to say
	case !denied.Subscribe && strings.HasPrefix(denied.Subject, requests):
		return denied.NeedsOr(string(pipeline.RoleProducer), publishWhere(strings.TrimPrefix(denied.Subject, requests))) //nolint:wrapcheck // says all there is to say
	case t.wait:
		return withPrefix(denied, denied.Needs(string(pipeline.RoleProducer)+" --wait"))
	}
	err := withPrefix(denied, denied.NeedsOr(string(pipeline.RoleConsumer), "name what the user may see, with --tenant, --folder and --queue or --process; or"))
	return cli.Errorf(cli.ExitCredentials, "%w; one that may only listen (consumer --live) does so with: %s", err, t.listen(denied))
}

// withPrefix adds what a user lacks who has the rights, and asks as one of the
// workers' account would.
func withPrefix(denied *cli.DeniedError, err error) error {
	if !strings.HasPrefix(denied.Subject, jetstream.DefaultAPIPrefix) {
		return err
	}
	return cli.Errorf(cli.ExitCredentials, "%w, and set NATS_API_PREFIX as that says", err)
}

// listen is how a user hears outcomes who may not read them from the ledger,
// which watch does.
func (t *target) listen(denied *cli.DeniedError) string {
	subject := t.prefix + ".outcomes.>"
	if _, filter, ok := strings.Cut(denied.Subject, "."+t.prefix+".outcomes."); ok {
		subject = t.prefix + ".outcomes." + filter
	}
	return "nats --inbox-prefix " + shell.Quote(cmp.Or(t.nats.InboxPrefix, environment("NATS_INBOX_PREFIX", "_INBOX_consumer"))) + " sub " + shell.Quote(subject)
}

// publishWhere is for a producer that is narrowed, and named another place than
// its own. A folder's path and - are two subjects, whatever folder - means.
func publishWhere(scope string) string {
	if tokens := strings.Split(scope, "."); len(tokens) > 1 && tokens[1] == pipeline.DefaultFolder {
		return "name what the user may publish to: --folder with the folder's path, as - is another subject, or --tenant, --queue or --process; or"
	}
	return "name what the user may publish to, with --tenant, --folder and --queue or --process; or"
}
