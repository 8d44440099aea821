package doctor

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
)

// nearlyFull is from which share on a limit is told.
const nearlyFull = 0.8

// grant is what to do about rights on NATS.
const grant = "grant the role worker: `worker permissions worker` prints what it needs, with --provision also to make streams"

// jetStream finds whether it is there for this account, and how much of it is
// left.
func (l *server) jetStream(ctx context.Context) bool {
	ctx, cancel := l.within(ctx)
	defer cancel()
	js, err := jetstream.New(l.nc)
	if err != nil {
		l.fail(cli.ExitUnexpected, checkJetStream, "correct the NATS settings", "%v", err)
		return false
	}
	l.js = js
	// Asked first without waiting for an answer: a user who may not ask gets none.
	l.infoDenied = l.denied(nats.NewMsg("$JS.API.INFO"))
	if l.infoDenied {
		return l.jetStreamUnseen(ctx)
	}
	info, err := js.AccountInfo(ctx)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, nats.ErrNoResponders):
		l.fail(cli.ExitUsage, checkJetStream, "start nats-server with JetStream (jetstream in nats-server.conf, or -js)", "not enabled on the server")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		l.fail(cli.ExitUsage, checkJetStream, "enable JetStream for the account (jetstream: enabled in nats-server.conf, or limits in its JWT)", "not enabled for this account")
	case err != nil:
		l.fail(cli.ExitUnreachable, checkJetStream, "see in the server's log whether JetStream has a leader", "no answer: %v", noAnswer(ctx, err))
	default:
		l.ok(checkJetStream, "enabled%s", domain(info))
		l.account(info)
		return true
	}
	l.skipAll(checkJetStream, checkAccount)
	return false
}

// jetStreamUnseen is for a user with no more rights than a worker needs.
func (l *server) jetStreamUnseen(ctx context.Context) bool {
	if l.denied(jetstreamInfo(l.Topology.RequestsStream())) {
		l.fail(cli.ExitCredentials, checkJetStream, grant, "this user may ask neither for its state nor for that of the requests stream")
		l.skipAll("the rights", checkAccount)
		return false
	}
	_, err := l.js.Stream(ctx, l.Topology.RequestsStream())
	switch {
	case err == nil, errors.Is(err, jetstream.ErrStreamNotFound):
		l.ok(checkJetStream, "enabled")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		l.fail(cli.ExitUsage, checkJetStream, "enable JetStream on the server and for the account", "the requests stream cannot be asked for: %v", err)
		l.skipAll(checkJetStream, checkAccount)
		return false
	default: // others may answer
		l.fail(cli.ExitUnreachable, checkJetStream, "see in the server's log whether JetStream and the requests stream have a leader", "the requests stream cannot be asked for: %v", noAnswer(ctx, err))
	}
	l.skip(checkAccount, "look with the role operator, should they matter", "this user may not ask for them, and need not")
	return true
}

// noAnswer is why something was not answered: the end of the check's time, or
// what the server says.
func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) //nolint:wrapcheck // it says what took too long
	}
	return err
}

func domain(info *jetstream.AccountInfo) string {
	if info.Domain == "" {
		return ""
	}
	return ", domain " + info.Domain
}

// account looks at what the account may have, for each tier where there are
// some.
func (l *server) account(info *jetstream.AccountInfo) {
	tiers := map[string]jetstream.Tier{"": info.Tier}
	if len(info.Tiers) > 0 {
		tiers = info.Tiers
	}
	for _, name := range sortedKeys(tiers) {
		tier := tiers[name]
		check := strings.TrimSpace(checkAccount + " " + name)
		limits := []limit{
			{"storage", tier.Store, tier.Limits.MaxStore, size[uint64]},
			{"streams", uint64(max(tier.Streams, 0)), int64(tier.Limits.MaxStreams), plain},
			{"consumers", uint64(max(tier.Consumers, 0)), int64(tier.Limits.MaxConsumers), plain},
		}
		var texts []string
		for _, one := range limits {
			texts = append(texts, one.String())
		}
		text := strings.Join(texts, ", ")
		if near := nearly(limits); len(near) > 0 {
			l.warn(check, "raise the account's limit of "+strings.Join(near, " and ")+", or remove what is not needed", "%s", text)
			continue
		}
		l.ok(check, "%s", text)
	}
}

// limit is how much of something is used.
type limit struct {
	what string
	used uint64
	of   int64 // negative or 0: no limit
	show func(uint64) string
}

// String tells both.
func (m limit) String() string {
	if m.of <= 0 {
		return m.what + " " + m.show(m.used) + " of any"
	}
	return m.what + " " + m.show(m.used) + " of " + m.show(uint64(m.of))
}

func plain(n uint64) string { return strconv.FormatUint(n, 10) }

// nearly gives those that are nearly used up.
func nearly(limits []limit) []string {
	var names []string
	for _, m := range limits {
		if m.of > 0 && float64(m.used) >= nearlyFull*float64(m.of) {
			names = append(names, m.what)
		}
	}
	return names
}
