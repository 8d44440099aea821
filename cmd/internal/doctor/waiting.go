package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"waybill/internal/shell"
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
		case pipeline.StreamLedger, pipeline.StreamControl, pipeline.StreamTokens:
		}
	}
}

// waits is what waits, told apart by whether these settings serve it and
// somebody takes it.
type waits struct {
	all, paused uint64
	taken       bool               // some lane of ours is
	untaken     []pipeline.Backlog // lanes of ours
	served      []string           // tenants of which some lane is taken
	foreign     map[string]uint64  // what nobody takes, by tenant
	subjects    map[string]string  // of the tenants in foreign
	misspelt    []pipeline.Backlog // what nobody can take
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
		w.add(lane, slices.Contains(l.Tenants, lane.Lane.Tenant))
	}
	if l.TenantsUnknown {
		l.skip(checkWaiting, "correct the settings first", "%d in all; for whom cannot be judged without the tenants", w.all)
		return
	}
	l.judge(w)
}

func (w *waits) add(lane pipeline.Backlog, ours bool) {
	w.all += lane.Waiting
	switch {
	case lane.Waiting == 0:
	case lane.Paused > 0: // which has a line of its own
		w.paused += lane.Waiting
	case lane.Taken():
		w.taken = w.taken || ours
		w.served = append(w.served, lane.Lane.Tenant)
	case lane.Misspelt != nil:
		w.misspelt = append(w.misspelt, lane)
	case ours:
		w.untaken = append(w.untaken, lane)
	default:
		w.foreign[lane.Lane.Tenant] += lane.Waiting
		w.subjects[lane.Lane.Tenant] = strings.Join(strings.SplitN(lane.Subject, ".", 4)[:3], ".") + ".>"
	}
}

// judge: whose requests nobody serves is told before how many there are.
func (l *server) judge(w waits) {
	for _, tenant := range w.served { // its worker will come to its other lanes
		delete(w.foreign, tenant)
	}
	for _, tenant := range sortedKeys(w.foreign) {
		l.warn(checkWaiting, "serve the tenant (tenants in waybill.yaml, UIPATH_TENANT; its name is the one in subjects), or publish them anew under the right name; or, only if nobody wants them: "+l.purge(w.subjects[tenant]),
			"%s for tenant %s, which these settings do not have and nobody serves", count(w.foreign[tenant], "request waits", "requests wait"), tenant)
	}
	l.misspelt(w.misspelt)
	text := fmt.Sprintf("%d in all", w.all)
	if w.paused > 0 {
		text += fmt.Sprintf(", %d of them in paused lanes", w.paused)
	}
	switch {
	case w.all == 0:
		l.ok(checkWaiting, "none")
	case len(w.untaken) > 0:
		l.warn(checkWaiting, "start `worker run`; where one runs, see in its log what keeps it", "%s, and no worker takes %s just now%s", text, w.which(), w.held())
	case w.taken || w.paused > 0 || len(w.foreign)+len(w.misspelt) == 0:
		l.ok(checkWaiting, "%s", text)
	}
}

// misspelt: serving the tenant would not help.
func (l *server) misspelt(lanes []pipeline.Backlog) {
	for _, lane := range lanes[:min(len(lanes), namedLanes)] {
		mend := "publish them anew under a subject that is right"
		if lane.Misspelt.Right != "" {
			mend = "publish them anew under that subject"
		}
		l.warn(checkWaiting, mend+"; and then: "+l.purge(lane.Subject), "%s that nobody can take: %v", count(lane.Waiting, "request waits", "requests wait"), lane.Misspelt)
	}
	if more := len(lanes) - namedLanes; more > 0 {
		l.warn(checkWaiting, "mend those that are told, and look again", "requests wait under %s", count(more, "other subject that is misspelt", "other subjects that are misspelt"))
	}
}

// namedLanes is how many lanes a line names.
const namedLanes = 3

// which are those that no worker takes.
func (w *waits) which() string {
	if !w.taken {
		return "any"
	}
	var named []string
	for _, lane := range w.untaken[:min(len(w.untaken), namedLanes)] {
		named = append(named, fmt.Sprintf("the %d of %s", lane.Waiting, lane.Lane))
	}
	if more := len(w.untaken) - namedLanes; more > 0 {
		named = append(named, "those of "+count(more, "other lane", "other lanes"))
	}
	return strings.Join(named, ", ")
}

// held tells of what a worker was given and has neither settled nor followed by
// more: whether it lives, JetStream does not know.
func (w *waits) held() string {
	delivered := 0
	for _, lane := range w.untaken {
		delivered += lane.Delivered
	}
	if delivered == 0 {
		return ""
	}
	return fmt.Sprintf("; %d were delivered some time ago and not settled: their worker has long been at it, or was killed", delivered)
}

// purge is the command that removes what waits on some subjects. Who published
// it has chosen the tokens, so they are quoted; and where that does not make them
// plain, there is no command to paste.
func (l *server) purge(subjects string) string {
	if !shell.Pastable(subjects) {
		return "remove what is on the subjects " + strconv.QuoteToASCII(subjects) + " (no command is shown, as they hold what a terminal does not show)"
	}
	return "nats stream purge " + shell.Quote(l.Topology.RequestsStream()) + " --subject " + shell.Quote(subjects) + " (this deletes them)"
}

func (l *server) paused(lane pipeline.Backlog) {
	if lane.Paused > 0 {
		l.warn("paused lanes", "nats consumer resume "+shell.Quote(l.Topology.RequestsStream())+" "+shell.Quote(lane.Consumer),
			"%s is paused for another %s, and %s", lane.Lane, short(lane.Paused), count(lane.Waiting, "request waits", "requests wait"))
	}
}

func (l *server) deadLetters(s pipeline.StreamState) {
	const check = "dead letters"
	if n := s.Info.State.Msgs; n > 0 {
		l.warn(check, "read them and their reasons (nats stream get "+shell.Quote(s.Name)+" SEQUENCE), publish what is to be done under another key, and remove them", "%s to nothing", count(n, "request has come", "requests have come"))
		return
	}
	l.ok(check, "none")
}
