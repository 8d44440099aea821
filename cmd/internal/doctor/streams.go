package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/internal/shell"
	"waybill/pipeline"
)

// streams looks at what worker run finds, or makes.
func (l *server) streams(ctx context.Context, states []pipeline.StreamState) {
	for _, s := range states {
		switch {
		case s.Info != nil:
			l.stream(s)
		case s.Missing():
			l.missing(ctx, s, slices.ContainsFunc(states, isMade))
		case l.denied(jetstreamInfo(s.Name)):
			l.fail(cli.ExitCredentials, streamCheck(s), grant, "this user may not ask for its state")
		default:
			l.fail(cli.ExitUnreachable, streamCheck(s), "see in the server's log whether the stream has a leader", "no answer: %v", s.Err)
		}
	}
}

func streamCheck(s pipeline.StreamState) string { return "stream " + s.Name }

// isMade tells a stream that worker run has made from one that is not there, and
// from the one that logins are kept in, which others make.
func isMade(s pipeline.StreamState) bool { return s.Info != nil && s.Role != pipeline.StreamTokens }

// missing tells a first start from an installation that has lost a stream: others
// are there then.
func (l *server) missing(ctx context.Context, s pipeline.StreamState, others bool) {
	check := streamCheck(s)
	if s.Role == pipeline.StreamTokens {
		l.ok(check, "missing: worker login makes it")
		return
	}
	if s.Role == pipeline.StreamLedger {
		ctx, cancel := l.within(ctx)
		defer cancel()
		if err := pipeline.CheckLedger(ctx, l.js, l.Topology); errors.Is(err, pipeline.ErrLedgerLost) {
			l.fail(cli.ExitUsage, check, "restore it from a backup, or, if requests that were carried out before may be carried out again, remove bucket "+l.Topology.ControlBucket()+" and start anew",
				"%v", pipeline.ErrLedgerLost)
			return
		}
	}
	anew := (&pipeline.GoneError{Role: s.Role, Stream: s.Name}).Mend()
	if !l.Provision {
		mend := "run `worker run` once without --provision=false, as a user with what `worker permissions worker --provision` prints"
		if others {
			mend = "if it was removed: " + anew + "; to have it made, " + mend
		}
		l.fail(cli.ExitUsage, check, mend, "missing, and with --provision=false nobody makes it")
		return
	}
	if want := l.Topology.Replicas; want > 1 && l.nc.ConnectedClusterName() == "" {
		l.fail(cli.ExitUsage, check, "set replicas (--replicas) to 1, or connect to a cluster of at least as many servers", "missing, and a server without a cluster cannot make it with %d replicas", want)
		return
	}
	if others {
		l.warn(check, "if it was removed: "+anew, "missing, and other streams of the installation are there: worker run makes it anew, and empty")
		return
	}
	l.ok(check, "missing: worker run makes it")
}

func (l *server) stream(s pipeline.StreamState) {
	check, before := streamCheck(s), len(l.findings)
	for _, d := range s.Differences {
		l.fail(cli.ExitUsage, check, d.Mend(), "%s is %s, it must be %s", d.Setting, d.Have, d.Want)
	}
	l.replicas(s)
	l.room(s)
	if !slices.ContainsFunc(l.findings[before:], func(f Finding) bool { return f.Mark == Fail }) {
		l.ok(check, "%s, %s, %s", count(s.Info.State.Msgs, "message", "messages"), size(s.Info.State.Bytes), replicasOf(s.Info))
	}
}

func replicasOf(info *jetstream.StreamInfo) string {
	text := count(info.Config.Replicas, "replica", "replicas")
	// A server that is alone calls itself the leader, by its id.
	if info.Cluster != nil && info.Cluster.Name != "" && info.Cluster.Leader != "" {
		text += ", led by " + info.Cluster.Leader
	}
	return text
}

// replicas looks at how many servers hold the stream, and whether they do.
func (l *server) replicas(s pipeline.StreamState) {
	check := streamCheck(s)
	if have, want := s.Info.Config.Replicas, max(l.Topology.Replicas, 1); have < want {
		l.warn(check, fmt.Sprintf(changeIt+"`nats stream edit %s --replicas=%d`", shell.Quote(s.Name), want), "%s, and the setting replicas says %d", count(have, "replica", "replicas"), want)
	}
	if s.Info.Cluster == nil {
		return
	}
	if s.Info.Cluster.Leader == "" {
		l.fail(cli.ExitUnreachable, check, "start the cluster's other servers: a stream needs most of its replicas to take anything", "it has no leader")
	}
	var lame []string
	for _, peer := range s.Info.Cluster.Replicas {
		switch {
		case peer.Offline:
			lame = append(lame, peer.Name+" is offline")
		case !peer.Current && peer.Lag > 0:
			lame = append(lame, fmt.Sprintf("%s is behind by %d", peer.Name, peer.Lag))
		case !peer.Current:
			lame = append(lame, fmt.Sprintf("%s was heard of %s ago", peer.Name, short(peer.Active)))
		}
	}
	if len(lame) > 0 {
		l.warn(check, "start the server, or see in its log what keeps it: another that fails may stop the stream", "%s", strings.Join(lame, ", "))
	}
}

// changeIt begins what is to be done by whoever may.
const changeIt = "change it, as an operator with --change-streams: "

// room looks at the limits that an operator may set on a stream. All of ours
// refuse what is new when they are full, but where that was changed.
func (l *server) room(s pipeline.StreamState) {
	then := "it takes nothing new"
	if s.Info.Config.Discard == jetstream.DiscardOld {
		then = "it deletes the oldest in it"
		if s.Role == pipeline.StreamRequests {
			then += ", also requests that wait"
		}
	}
	for _, m := range []struct {
		limit
		flag string
	}{
		{limit{"bytes", s.Info.State.Bytes, s.Info.Config.MaxBytes, size[uint64]}, "--max-bytes=BYTES"},
		{limit{"messages", s.Info.State.Msgs, s.Info.Config.MaxMsgs, plain}, "--max-msgs=NUMBER"},
	} {
		if len(nearly([]limit{m.limit})) > 0 {
			l.warn(streamCheck(s), "make room, or raise the limit, as an operator with --change-streams: `nats stream edit "+shell.Quote(s.Name)+" "+m.flag+"`", "nearly full: %s; when it is, %s", m, then)
		}
	}
}
