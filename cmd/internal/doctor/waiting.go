package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

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

func (l *server) backlog(ctx context.Context) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	lanes, err := pipeline.Backlogs(ctx, l.js, l.Topology)
	if err != nil {
		l.warn(checkWaiting, grant, "not to be seen: %v", err)
		return
	}
	waiting, foreign, subjects := uint64(0), make(map[string]uint64), make(map[string]string)
	var pulls int
	for _, lane := range lanes {
		l.paused(lane)
		waiting += lane.Waiting
		pulls += lane.Pulls
		if lane.Waiting > 0 && lane.Pulls == 0 && !slices.Contains(l.Tenants, lane.Lane.Tenant) {
			foreign[lane.Lane.Tenant] += lane.Waiting
			subjects[lane.Lane.Tenant] = strings.Join(strings.SplitN(lane.Subject, ".", 4)[:3], ".") + ".>"
		}
	}
	for _, tenant := range sortedKeys(foreign) {
		l.warn(checkWaiting, "serve the tenant (tenants in waybill.yaml, UIPATH_TENANT; its name is the one in subjects), or remove them: nats stream purge "+l.Topology.RequestsStream()+" --subject '"+subjects[tenant]+"'",
			"%s for tenant %s, which these settings do not have and nobody serves", count(foreign[tenant], "request waits", "requests wait"), tenant)
	}
	switch {
	case waiting == 0:
		l.ok(checkWaiting, "none")
	case pulls == 0:
		l.ok(checkWaiting, "%d in all, and no worker takes any just now", waiting)
	default:
		l.ok(checkWaiting, "%d in all", waiting)
	}
}

func (l *server) paused(lane pipeline.Backlog) {
	if lane.Paused > 0 {
		l.warn("paused lanes", "nats consumer resume "+strings.Join([]string{l.Topology.RequestsStream(), lane.Consumer}, " "),
			"%s is paused for another %s, and %s", lane.Lane, short(lane.Paused), count(lane.Waiting, "request waits", "requests wait"))
	}
}

func (l *server) deadLetters(s pipeline.StreamState) {
	const check = "dead letters"
	if n := s.Info.State.Msgs; n > 0 {
		l.warn(check, "read them and their reasons (nats stream view "+s.Name+"), publish what is to be done under another key, and remove them", "%s to nothing", count(n, "request has come", "requests have come"))
		return
	}
	l.ok(check, "none")
}
