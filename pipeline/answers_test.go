package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// mine is where those who are tempted may publish a request.
const mine = "uipath.requests.Default.-.items.Plain"

// victims are subjects at which nobody but workers has anything to write, and the
// streams they are in.
var victims = map[string]string{
	"uipath.outcomes.Default.Shared.items.Other.INV-1.final": "UIPATH_LEDGER",
	"uipath.claims.Default.Shared.items.Plain.INV-1":         "UIPATH_LEDGER",
	"$KV.UIPATH_CONTROL.lanes.Default.Shared.items.Extra":    "KV_UIPATH_CONTROL",
	"$KV.UIPATH_TOKENS.tenants.Default":                      "KV_UIPATH_TOKENS",
}

// others are subjects beside those, where an answer would do harm as well.
var others = []string{
	"uipath.requests.Default.-.items.Other",
	"uipath.deadletters.Default.-.items.Plain",
	"$JS.API.CONSUMER.MSG.NEXT.UIPATH_REQUESTS.lane",
	"$JS.API.CONSUMER.MSG.NEXT.UIPATH_LEDGER." + trackingOfDefault,
	"$JS.API.CONSUMER.RESET.UIPATH_REQUESTS.lane",
	"$JS.API.STREAM.PURGE.UIPATH_LEDGER",
	"$JS.ACK.UIPATH_REQUESTS.lane.1.1.1.1.0",
}

// tempting are all of them.
func tempting() []string { return append(slices.Sorted(maps.Keys(victims)), others...) }

// questions are what JetStream answers, each by the role that may ask it.
func questions(user string) map[string]string {
	const filter = "uipath.outcomes.Default.Shared.items.Plain.*.*"
	create := func(name, more string) string {
		return fmt.Sprintf(`{"stream_name":"UIPATH_LEDGER","config":{"name":%q,"filter_subject":%q,"ack_policy":"explicit","deliver_policy":"all"%s}}`, name, filter, more)
	}
	asked := map[string]string{
		mine: `{"key":"INV-3","item":{}}`,
		"$JS.API.DIRECT.GET.KV_UIPATH_CONTROL.$KV.UIPATH_CONTROL.lanes.Default.Shared.items.Plain": "",
		"$JS.API.DIRECT.GET.KV_UIPATH_CONTROL.$KV.UIPATH_CONTROL.lanes.Default.Shared.items.None":  "",
		"$JS.API.STREAM.INFO.KV_UIPATH_CONTROL":                                                    "",
		"$JS.API.CONSUMER.CREATE.UIPATH_LEDGER." + user + "_new." + filter:                         create(user+"_new", ""),
		"$JS.API.CONSUMER.INFO.UIPATH_LEDGER." + user:                                              "",
		"$JS.API.CONSUMER.MSG.NEXT.UIPATH_LEDGER." + user:                                          `{"no_wait":true}`,
		"$JS.ACK.UIPATH_LEDGER." + user + ".1.1.1.1.0":                                             "+ACK",
	}
	for i, victim := range tempting() { // which push to where they are told
		for kind, more := range map[string]string{"whole": "", "empty": `,"headers_only":true`} {
			name := fmt.Sprintf("%s_%d_%s", user, i, kind)
			asked["$JS.API.CONSUMER.CREATE.UIPATH_LEDGER."+name+"."+filter] = create(name, fmt.Sprintf(`,"deliver_subject":%q%s`, victim, more))
		}
	}
	return asked
}

// tempt asks all there is to ask, and wants the answers where they do harm.
func (u *users) tempt(user string) {
	u.t.Helper()
	ctx, js := u.as("admin")
	if _, err := js.CreateConsumer(ctx, "UIPATH_LEDGER", jetstream.ConsumerConfig{Durable: user, FilterSubject: "uipath.outcomes.Default.Shared.items.Plain.*.*"}); err != nil {
		u.t.Fatal(err)
	}
	_, js = u.as(user)
	for _, victim := range tempting() {
		for question, body := range questions(user) {
			if err := js.Conn().PublishRequest(asks(js, question), asks(js, victim), []byte(body)); err != nil {
				u.t.Fatal(err)
			}
		}
	}
	if err := js.Conn().Flush(); err != nil {
		u.t.Fatal(err)
	}
}

// standing is what the streams hold, but for the requests that anybody may
// publish here, and how far the workers' consumers are.
func (u *users) standing(ctx context.Context) map[string]string {
	u.t.Helper()
	state := map[string]string{}
	for _, name := range []string{"UIPATH_REQUESTS", "UIPATH_LEDGER", "UIPATH_DEADLETTERS", "KV_UIPATH_CONTROL", "KV_UIPATH_TOKENS"} {
		stream, err := u.admin.Stream(ctx, name)
		if err != nil {
			u.t.Fatal(err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		if err != nil {
			u.t.Fatal(err)
		}
		for subject := range info.State.Subjects {
			if subject == mine {
				continue
			}
			msg, err := stream.GetLastMsgForSubject(ctx, subject)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue // it has just been removed
			}
			if err != nil {
				u.t.Fatal(err)
			}
			state[name+" "+subject] = fmt.Sprintf("%d, the last %d: %s", info.State.Subjects[subject], msg.Sequence, msg.Data)
		}
	}
	for stream, name := range map[string]string{"UIPATH_REQUESTS": "lane", "UIPATH_LEDGER": trackingOfDefault} {
		consumer, err := u.admin.Consumer(ctx, stream, name)
		if err != nil {
			u.t.Fatal(err)
		}
		info := consumer.CachedInfo()
		state["consumer "+name] = fmt.Sprintf("%d waiting, %d delivered", info.NumWaiting, info.Delivered.Consumer)
		state["consumer "+name+" has"] = fmt.Sprintf("%d acknowledged", info.AckFloor.Consumer)
	}
	return state
}

func changed(before, after map[string]string) []string {
	var all []string
	for subject, is := range after {
		if was := before[subject]; was != is {
			all = append(all, fmt.Sprintf("%s: was %q, is %q", subject, was, is))
		}
	}
	for subject := range before {
		if _, ok := after[subject]; !ok {
			all = append(all, subject+": is gone")
		}
	}
	return all
}

// NATS does not check where a client wants its answers, and JetStream writes
// them. From an account of its own, a producer or a consumer cannot have them
// written into a stream of the workers', whoever listens there.
//
// Who may make consumers may have them push into the workers' account, where
// somebody listens at just that subject. It is left with what stray tells.
func TestAnswersHarmNobody(t *testing.T) {
	t.Parallel()
	for _, p := range everybody(t) {
		if p.Account("") == "" {
			continue
		}
		t.Run(p.User, func(t *testing.T) {
			t.Parallel()
			u := newUsers(t, p)
			u.listen(tempting())
			before := u.standing(t.Context())
			u.tempt(p.User)
			pushes := p.APIPrefix != "" && p.Durable == nil
			if pushes {
				u.awaitStray()
			}
			time.Sleep(500 * time.Millisecond) // many times what it takes in the test below
			all := changed(before, u.standing(t.Context()))
			if pushes {
				all = slices.DeleteFunc(all, stray)
			}
			if len(all) > 0 {
				t.Errorf("it has changed\n%s", strings.Join(all, "\n"))
			}
			if !u.wasAsked(p) {
				t.Error("no question has come to JetStream")
			}
		})
	}
}

// stray tells the changes that pushed outcomes make: they come to rest in another
// stream, under their own subject, where they are no request, dead letter or
// key; or ask a consumer for its next message, which is not settled by it and
// comes again.
func stray(change string) bool {
	stream, subject, _ := strings.Cut(change, " ")
	return stream != "UIPATH_LEDGER" && strings.HasPrefix(subject, "uipath.outcomes.Default.Shared.items.Plain.") ||
		stream == "consumer" && !strings.Contains(subject, " has: ")
}

// listen has somebody in the workers' account listen at each subject, without
// which JetStream pushes nothing there.
func (u *users) listen(subjects []string) {
	u.t.Helper()
	_, js := u.as("admin")
	for _, subject := range subjects {
		if _, err := js.Conn().SubscribeSync(subject); err != nil {
			u.t.Fatal(err)
		}
	}
	if err := js.Conn().Flush(); err != nil {
		u.t.Fatal(err)
	}
}

// awaitStray waits until an outcome has been pushed into each stream that takes
// in what is told to be: the test proves nothing before.
func (u *users) awaitStray() {
	u.t.Helper()
	missing := []string{"UIPATH_REQUESTS", "UIPATH_DEADLETTERS", "KV_UIPATH_CONTROL", "KV_UIPATH_TOKENS"}
	for deadline := time.Now().Add(10 * time.Second); len(missing) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			u.t.Errorf("no outcome has come to %q: what does the test prove?", missing)
			return
		}
		state := u.standing(u.t.Context())
		missing = slices.DeleteFunc(missing, func(stream string) bool {
			return state[stream+" uipath.outcomes.Default.Shared.items.Plain.INV-1.final"] != ""
		})
	}
}

// wasAsked reports whether what a user may ask has had its effect.
func (u *users) wasAsked(p pipeline.Permissions) bool {
	u.t.Helper()
	ctx := u.t.Context()
	switch {
	case p.Role == pipeline.RoleProducer:
		stream, err := u.admin.Stream(ctx, "UIPATH_REQUESTS")
		return err == nil && stream.CachedInfo().State.Msgs > 1
	case p.Durable != nil:
		ctx, js := u.as(p.User)
		return ask("$JS.API.CONSUMER.MSG.NEXT.UIPATH_LEDGER."+p.User, `{"no_wait":true}`)(ctx, js) == nil
	case p.APIPrefix != "":
		_, err := u.admin.Consumer(ctx, "UIPATH_LEDGER", p.User+"_new")
		return err == nil
	}
	return true // it may ask nothing
}

// In the workers' account they can: the same questions, with the same rights,
// write everywhere. So can workers and operators, who are in it.
func TestAnswersHarmInOneAccount(t *testing.T) {
	t.Parallel()
	for _, p := range everybody(t) {
		if p.User == "live" { // it may ask nothing
			continue
		}
		t.Run(p.User, func(t *testing.T) {
			t.Parallel()
			p.Shares, p.APIPrefix = nil, ""
			for _, list := range []*[]pipeline.Permission{&p.Publish, &p.DenyPublish} {
				*list = slices.Clone(*list)
				for i, one := range *list {
					(*list)[i].Subject = strings.Replace(one.Subject, "uipath.api.", jetstream.DefaultAPIPrefix, 1)
				}
			}
			u := newUsers(t, p)
			before := u.standing(t.Context())
			u.tempt(p.User)
			var unharmed []string
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				after := u.standing(t.Context())
				if unharmed = slices.DeleteFunc(slices.Collect(maps.Keys(victims)), func(s string) bool { return after[victims[s]+" "+s] != before[victims[s]+" "+s] }); len(unharmed) == 0 {
					return
				}
			}
			t.Errorf("unharmed: %q: what does the other test prove?", unharmed)
		})
	}
}

// A reply to where acknowledgements go is refused by the server itself, which
// all the rest relies on: it is the one that is not mapped between accounts.
func TestAnswersAcknowledgeNothing(t *testing.T) {
	t.Parallel()
	u := newUsers(t, permitted(t, pipeline.Topology{}, pipeline.RoleProducer, pipeline.Scope{}))
	_, js := u.as("producer")
	if err := js.Conn().PublishRequest(mine, "$JS.ACK.UIPATH_REQUESTS.lane.1.1.1.1.0", nil); err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().LastError(); err == nil || !strings.Contains(err.Error(), nats.PERMISSIONS_ERR) && !strings.Contains(strings.ToLower(err.Error()), "reply") {
		t.Errorf("got %v, want it refused", err)
	}
}
