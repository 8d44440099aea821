package pipeline

import (
	"fmt"
	"math"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Trial tries one right that a worker needs: to publish a message by which
// nothing comes about, whoever gets it. A server that denies it says so at
// once; see Trials.
type Trial struct {
	Right   string // what it is needed for
	Message *nats.Msg
}

// Untried are the rights that workers need and that Trials do not try, nor the
// look at the streams: whoever subscribes to outcomes or dead letters would see
// what no stream takes, and what removes messages had better not depend on being
// refused.
func (t Topology) Untried() []string {
	return []string{
		t.subject("outcomes", ">"),
		t.subject("deadletters", ">"),
		"$JS.API.STREAM.PURGE." + t.RequestsStream(),
		"$JS.API.STREAM.MSG.DELETE." + t.LedgerStream(),
	}
}

// Trials are those for the streams that are there, and where provision is set
// for the making of those that are not. Nothing can come of any of them, for
// one of four reasons:
//
//   - What would be stored is on condition of a stream's name that none of ours
//     is, and of a last sequence that no stream ever has. Either is refused
//     before anything is stored; and on its subjects nobody listens.
//   - What would make a consumer or a stream has a body that breaks off in the
//     midst of its JSON, which the server reads before all else.
//   - What is about one consumer names one that was never made.
//   - The rest only reads.
//
// The server's log may warn of the broken ones.
func (t Topology) Trials(states []StreamState, provision bool) []Trial {
	t = t.withDefaults()
	var trials []Trial
	for _, s := range states {
		switch {
		case s.Info != nil:
			trials = append(trials, t.trialsOf(s)...)
		case s.Missing() && provision:
			trials = append(trials, broken("make the stream "+s.Name, "$JS.API.STREAM.CREATE."+s.Name))
		}
	}
	return trials
}

func (t Topology) trialsOf(s StreamState) []Trial {
	nobody := "doctor_" + nuid.Next()
	read := func(right, subject string) Trial { return trial(right, subject, "") }
	consumers := func(what, subjects string) []Trial {
		return []Trial{
			broken("make consumers of "+what, "$JS.API.CONSUMER.CREATE."+s.Name+"."+nobody+"."+subjects),
			read("take from consumers of "+what, "$JS.API.CONSUMER.MSG.NEXT."+s.Name+"."+nobody),
			read("settle what was taken of "+what, "$JS.ACK."+s.Name+"."+nobody+".1.1.1.1.0"),
		}
	}
	switch s.Role {
	case StreamRequests:
		return append(consumers("requests", t.subject("requests", "-", "-", "items", nobody)),
			read("see how far consumers of requests are", "$JS.API.CONSUMER.LIST."+s.Name),
			read("see whether a consumer of requests is done with", "$JS.API.CONSUMER.INFO."+s.Name+"."+nobody),
			read("remove consumers of requests that are done with", "$JS.API.CONSUMER.DELETE."+s.Name+"."+nobody))
	case StreamLedger:
		claim := t.subject("claims", "-", "-", "probe", "-", nobody)
		last := fmt.Sprintf(`{"last_by_subj":%q}`, claim)
		return append(consumers("outcomes", t.subject("outcomes", "-", "-", "probe", "-", nobody, "accepted")),
			unstored("write claims", claim),
			trial("read the ledger", "$JS.API.DIRECT.GET."+s.Name, last),
			trial("read the ledger from its leader", "$JS.API.STREAM.MSG.GET."+s.Name, last))
	case StreamDeadLetters: // see Untried
	case StreamControl:
		key := "$KV." + t.ControlBucket() + ".doctor." + nobody
		return []Trial{
			unstored("agree with other workers", key),
			read("see what workers have agreed", "$JS.API.DIRECT.GET."+s.Name+"."+key),
			broken("follow what workers agree", "$JS.API.CONSUMER.CREATE."+s.Name+"."+nobody+"."+key),
			read("follow no longer what workers agree", "$JS.API.CONSUMER.DELETE."+s.Name+"."+nobody),
			read("follow what workers agree as fast as it comes", "$JS.FC."+s.Name+"."+nobody+".1"),
		}
	case StreamTokens:
		key := "$KV." + t.TokensBucket() + ".tenants." + nobody
		return []Trial{
			unstored("store logins", key),
			read("read stored logins", "$JS.API.DIRECT.GET."+s.Name+"."+key),
		}
	}
	return nil
}

func trial(right, subject, body string) Trial {
	return Trial{Right: right, Message: &nats.Msg{Subject: subject, Data: []byte(body)}}
}

// broken is a request to make something whose body is no JSON.
func broken(right, subject string) Trial { return trial(right, subject, `{"config":`) }

// noStream is the name that a stream would have to have for what a trial
// publishes to be stored in it. The names of ours end otherwise.
const noStream = "no-stream-of-this-installation"

func unstored(right, subject string) Trial {
	tried := trial(right, subject, "")
	tried.Message.Header = nats.Header{
		jetstream.ExpectedStreamHeader:      {noStream},
		jetstream.ExpectedLastSeqHeader:     {strconv.Itoa(math.MaxInt64)},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.Itoa(math.MaxInt64)},
	}
	return tried
}
