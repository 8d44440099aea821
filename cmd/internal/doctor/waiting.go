package doctor

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

func jetstreamInfo(stream string) *nats.Msg { return nats.NewMsg("$JS.API.STREAM.INFO." + stream) }

// waiting looks at what is not done yet, or came to nothing.
func (l *server) waiting(ctx context.Context, states []pipeline.StreamState) {
	for _, s := range states {
		if s.Info == nil {
			continue
		}
		switch s.Role {
		case pipeline.StreamRequests:
			l.backlog(ctx)
		case pipeline.StreamDeadLetters:
			l.deadLetters(s)
		case pipeline.StreamLedger, pipeline.StreamControl:
		}
	}
}

// waits is what waits, told apart by whether these settings serve it.
type waits struct {
	all, ours uint64
	pulls     int
	foreign   map[string]uint64 // by tenant
	subjects  map[string]string // of the tenants in foreign
}

func (l *server) backlog(ctx context.Context) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	lanes, err := pipeline.Backlogs(ctx, l.js, l.Topology)
	if err != nil {
		l.warn(checkWaiting, grant, "not to be seen: %v", err)
		return
	}
	w := waits{foreign: make(map[string]uint64), subjects: make(map[string]string)}
	for _, lane := range lanes {
		l.paused(lane)
		w.all += lane.Waiting
		w.pulls += lane.Pulls
		switch {
		case lane.Waiting == 0:
		case slices.Contains(l.Tenants, lane.Lane.Tenant):
			w.ours += lane.Waiting
		case lane.Pulls == 0:
			w.foreign[lane.Lane.Tenant] += lane.Waiting
			w.subjects[lane.Lane.Tenant] = strings.Join(strings.SplitN(lane.Subject, ".", 4)[:3], ".") + ".>"
		}
	}
	if l.TenantsUnknown {
		l.skip(checkWaiting, "correct the settings first", "%d in all; for whom cannot be judged without the tenants", w.all)
		return
	}
	l.judge(w)
}

// judge: whose requests nobody serves is told before how many there are.
func (l *server) judge(w waits) {
	for _, tenant := range sortedKeys(w.foreign) {
		l.warn(checkWaiting, "serve the tenant (tenants in waybill.yaml, UIPATH_TENANT; its name is the one in subjects), or publish them anew under the right name; or, only if nobody wants them: "+l.purge(w.subjects[tenant]),
			"%s for tenant %s, which these settings do not have and nobody serves", count(w.foreign[tenant], "request waits", "requests wait"), tenant)
	}
	switch {
	case w.all == 0:
		l.ok(checkWaiting, "none")
	case w.ours > 0 && w.pulls == 0:
		l.warn(checkWaiting, "start `worker run`; where one runs, see in its log what keeps it", "%d in all, and no worker takes any just now", w.all)
	case w.ours > 0 || len(w.foreign) == 0:
		l.ok(checkWaiting, "%d in all", w.all)
	}
}

// purge is the command that removes what waits on some subjects. Who published
// it has chosen the tokens, so they are quoted; and where that does not make them
// plain, there is no command to paste.
func (l *server) purge(subjects string) string {
	if !cli.Pastable(subjects) {
		return "remove what is on the subjects " + strconv.QuoteToASCII(subjects) + " (no command is shown, as they hold what a terminal does not show)"
	}
	return "nats stream purge " + cli.ShellQuote(l.Topology.RequestsStream()) + " --subject " + cli.ShellQuote(subjects) + " (this deletes them)"
}

func (l *server) paused(lane pipeline.Backlog) {
	if lane.Paused > 0 {
		l.warn("paused lanes", "nats consumer resume "+cli.ShellQuote(l.Topology.RequestsStream())+" "+cli.ShellQuote(lane.Consumer),
			"%s is paused for another %s, and %s", lane.Lane, short(lane.Paused), count(lane.Waiting, "request waits", "requests wait"))
	}
}

func (l *server) deadLetters(s pipeline.StreamState) {
	const check = "dead letters"
	if n := s.Info.State.Msgs; n > 0 {
		l.warn(check, "read them and their reasons (nats stream get "+cli.ShellQuote(s.Name)+" SEQUENCE), publish what is to be done under another key, and remove them", "%s to nothing", count(n, "request has come", "requests have come"))
		return
	}
	l.ok(check, "none")
}
