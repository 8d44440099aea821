package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// rights tries what a worker must be allowed, by messages of which nothing can
// come.
func (l *server) rights(states []pipeline.StreamState) {
	trials := l.Topology.Trials(states, l.Provision)
	denied := 0
	for _, trial := range trials {
		if l.denied(trial.Message) {
			denied++
			l.fail(cli.ExitCredentials, checkRights, grant, "to %s, publishing to %s is denied", trial.Right, trial.Message.Subject)
		}
	}
	switch {
	case l.lost != nil:
		l.fail(cli.ExitUnreachable, checkRights, "look again, and see the server's log should it come again", "the server stopped answering: %v", l.lost)
		return
	case len(trials) == 0:
		l.skip(checkRights, "look again when worker run has made the streams", "there is no stream to try them on")
		return
	case denied == 0:
		l.ok(checkRights, "all %d that were tried are granted; a worker that lacks one of the others ends and names it: %s", len(trials)+1, strings.Join(l.Topology.Untried(), ", "))
	}
}

// inbox tries a subscription to where answers come.
func (l *server) inbox() bool {
	subject := l.nc.NewInbox()
	sub, err := l.nc.SubscribeSync(subject)
	if err == nil {
		defer sub.Unsubscribe() //nolint:errcheck // the connection is closed soon
		if !l.violates("Subscription", subject) {
			return true
		}
	}
	l.fail(cli.ExitCredentials, checkRights, "set NATS_INBOX_PREFIX to the user's own inbox, which `worker permissions worker` names, or grant what it prints", "subscribing to %s is denied, where answers come", subject)
	return false
}

// denied publishes a message and sees whether the server denies it.
func (l *server) denied(msg *nats.Msg) bool {
	msg.Reply = l.nc.NewInbox() // nobody listens there: what is answered is of no interest
	if err := l.nc.PublishMsg(msg); err != nil {
		return true
	}
	return l.violates("Publish", msg.Subject)
}

// violates waits until the server has read all that was sent: what it denies it
// says before it answers that. It names no request, but no other subject is like
// the one tried.
func (l *server) violates(what, subject string) bool {
	if l.lost == nil {
		l.lost = l.nc.FlushTimeout(l.Timeout)
	}
	if l.lost != nil {
		return false // which is reported once
	}
	err := l.nc.LastError()
	return err != nil && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(fmt.Sprintf("violation for %s to %q", what, subject)))
}
