package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// permitted gives the permissions of a user with the given name.
func permitted(t *testing.T, topology pipeline.Topology, role pipeline.Role, s pipeline.Scope) pipeline.Permissions {
	t.Helper()
	p, err := topology.Permissions(role, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// accountsOf is what stands in nats-server.conf: the accounts as they are
// printed, and with the workers a user admin who may do everything; and another
// account, where everybody may.
func accountsOf(users ...pipeline.Permissions) string {
	conf := pipeline.AccountsConf("OURS", users, func(p pipeline.Permissions) string { return fmt.Sprintf("user: %q\npassword: secret\n", p.User) })
	conf = strings.Replace(conf, "users: [\n", "users: [\n      {user: admin, password: secret}\n", 1)
	return strings.TrimSuffix(conf, "}\n") + "  OTHERS {\n    jetstream: enabled\n    users: [{user: stranger, password: secret}]\n  }\n}\n"
}

// inPermittedBubble is inBubble with a worker that may do what is given.
func inPermittedBubble(t *testing.T, cfg simulator.Config, worker pipeline.Permissions, f func(*testing.T, *rig)) {
	t.Helper()
	release := embedded.OutsideBubble()
	defer release()
	synctest.Test(t, func(t *testing.T) { f(t, newRigWith(t, cfg, accountsOf(worker))) })
}

// A worker with its rights alone does all that workers do: takes over, leaves
// dead letters, follows to the end, removes what is settled, gives lanes up.
func TestWorkerPermissions(t *testing.T) {
	t.Parallel()
	worker := permitted(t, pipeline.Topology{}, pipeline.RoleWorker, pipeline.Scope{})
	inPermittedBubble(t, simulator.Config{Robots: simulator.Robots{Count: 1, JobTime: 30 * time.Second}}, worker, func(t *testing.T, r *rig) {
		r.doAllAWorkerDoes()
		if o := r.final(plainItems, "INV-00000"); o.Status != pipeline.StatusAccepted {
			t.Errorf("taken over: got %s, want accepted", o.Status)
		}
		if o := r.final(jobs, "run-1"); o.Status != pipeline.StatusSucceeded {
			t.Errorf("job: got %s, want succeeded", o.Status)
		}
		if o := r.final(plainItems, "tracked"); o.Status != pipeline.StatusSucceeded {
			t.Errorf("item: got %s, want succeeded", o.Status)
		}
		if n := len(r.deadLetters(plainItems)["bad"]); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
		stream, err := r.js.Stream(t.Context(), r.topology.RequestsStream())
		if err != nil {
			t.Fatal(err)
		}
		if info := stream.CachedInfo(); info.State.Msgs != 0 || info.State.Consumers != 2 {
			t.Errorf("%d requests and %d consumers are left, want none and those of two lanes", info.State.Msgs, info.State.Consumers)
		}
		if denied := r.whatWasDenied(); len(denied) > 0 {
			t.Errorf("denied: %q", denied)
		}
	})
}

var nowhere = pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Nowhere"}

func (r *rig) whatWasDenied() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.denied)
}

// doAllAWorkerDoes takes some minutes.
func (r *rig) doAllAWorkerDoes() {
	r.t.Helper()
	first := r.config()
	stop := r.start(first)
	held := r.simulator.Hold(simulator.Hold{Operation: "AddQueueItem", When: simulator.After})
	requests := items(1)
	r.publish(plainItems, requests...)
	select {
	case <-held.Arrived():
	case <-time.After(time.Minute): // it lacks a right
	}
	r.crash(first, stop)
	r.start(r.config())
	time.Sleep(3 * time.Second)
	held.Release()
	run, tracked := job("run-1"), item("tracked", 1)
	run.Until, tracked.Until = pipeline.UntilCompleted, pipeline.UntilCompleted
	r.publish(jobs, run)
	r.publish(plainItems, tracked)
	r.publishRaw(r.topology.RequestSubject(plainItems), `{"key":"bad","item":{"Priority":"Utmost"}}`)
	time.Sleep(5 * time.Minute)
	for _, o := range r.accepted(plainItems, "tracked") {
		if _, err := r.simulator.FinishQueueItem(o.Item.ID, simulator.Result{Status: "Successful"}); err != nil {
			r.t.Error(err)
		}
	}
	r.publish(nowhere, item("lost", 1)) // a lane that is given up soon
	time.Sleep(10 * time.Minute)
}

// What a worker is allowed it needs: without any one of its rights something is
// denied to it. What is not listed here is for a rarer day.
func TestWorkerPermissionsAreNeeded(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a worker for each right")
	}
	rare := []string{
		"TOKENS",                    // of a login that no test here has
		"$JS.FC.",                   // of a watch that has much to tell
		"CONSUMER.DELETE.KV_UIPATH", // of a watch that had to begin anew, or has ended
	}
	worker := permitted(t, pipeline.Topology{}, pipeline.RoleWorker, pipeline.Scope{})
	for i, one := range worker.Publish {
		if slices.ContainsFunc(rare, func(s string) bool { return strings.Contains(one.Subject, s) }) {
			continue
		}
		t.Run(one.Subject, func(t *testing.T) {
			t.Parallel()
			less := worker
			less.Publish = slices.Delete(slices.Clone(worker.Publish), i, i+1)
			inPermittedBubble(t, simulator.Config{Robots: simulator.Robots{Count: 1, JobTime: 30 * time.Second}}, less, func(t *testing.T, r *rig) {
				r.tolerant = true
				r.doAllAWorkerDoes()
				if len(r.whatWasDenied()) == 0 {
					t.Error("nothing was denied: it is not needed")
				}
			})
		})
	}
}

// Workers that may make the streams make them; nobody else may.
func TestProvisionPermissions(t *testing.T) {
	t.Parallel()
	for _, may := range []bool{true, false} {
		name := map[bool]string{true: "worker", false: "other"}[may]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topology := pipeline.Topology{Prefix: "fresh"}
			u := newUsers(t, permitted(t, topology, pipeline.RoleWorker, pipeline.Scope{User: name, Provision: may}))
			ctx, c := u.as(name)
			err := pipeline.Provision(ctx, c, topology)
			if may && err != nil {
				t.Error(err)
			}
			if !may && (err == nil || !u.wasDenied("$JS.API.STREAM.CREATE.FRESH_REQUESTS")) {
				t.Errorf("error %v, denied %q, want the making of the stream denied", err, u.denied())
			}
			if _, err := c.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "FRESH_TOKENS"}); may != (err == nil) {
				t.Errorf("bucket of tokens: %v, want it made: %v", err, may)
			}
		})
	}
}

// A producer publishes, and is told that JetStream has it.
func TestProducerPermissions(t *testing.T) {
	t.Parallel()
	odd := pipeline.Lane{Tenant: "Default", Folder: `Finance/"A\B", $C`, Kind: pipeline.KindItem, Name: "Straße 1 * > %"}
	u := newUsers(
		t,
		permitted(t, pipeline.Topology{}, pipeline.RoleProducer, pipeline.Scope{}),
		permitted(t, pipeline.Topology{}, pipeline.RoleProducer, pipeline.Scope{User: "one", Tenant: "Default", Folder: odd.Folder, Kind: odd.Kind, Name: odd.Name}),
	)
	for _, name := range []string{"producer", "one"} {
		ctx, js := u.as(name)
		if _, err := pipeline.NewPublisher(js, pipeline.Topology{}).Publish(ctx, odd, item("INV-1", 1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(u.denied()) > 0 {
		t.Errorf("denied: %q", u.denied())
	}
}

// A consumer follows outcomes in every way, from an account of its own: as they
// come, from the ledger, with a durable consumer of its own.
func TestConsumerPermissions(t *testing.T) {
	t.Parallel()
	u := newUsers(
		t,
		permitted(t, pipeline.Topology{}, pipeline.RoleConsumer, pipeline.Scope{Tenants: []string{"Default"}}),
		permitted(t, pipeline.Topology{}, pipeline.RoleConsumer, pipeline.Scope{User: "one", Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Plain"}),
	)
	for _, name := range []string{"consumer", "one"} {
		ctx, js := u.as(name)
		filter := pipeline.OutcomeFilter{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Plain"}
		live, err := js.Conn().SubscribeSync("uipath.outcomes.Default.Shared.items.Plain.*.*")
		if err != nil {
			t.Fatal(err)
		}
		if err := js.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		u.publishOutcome(ctx, plainItems, "INV-"+name)
		if _, err := live.NextMsgWithContext(ctx); err != nil {
			t.Errorf("%s, live: %v", name, err)
		}
		filter.All = true
		for o, err := range pipeline.Watch(ctx, js, pipeline.Topology{}, filter, nil) {
			if err != nil {
				t.Errorf("%s, watch: %v", name, err)
			}
			if o.Key == "INV-"+name || err != nil {
				break
			}
		}
		durable, err := js.CreateOrUpdateConsumer(ctx, "UIPATH_LEDGER", jetstream.ConsumerConfig{Durable: name, FilterSubject: "uipath.outcomes.Default.Shared.items.Plain.*.*"})
		if err != nil {
			t.Fatalf("%s, durable: %v", name, err)
		}
		msg, err := durable.Next()
		if err != nil {
			t.Fatalf("%s, durable: %v", name, err)
		}
		if err := msg.DoubleAck(ctx); err != nil {
			t.Errorf("%s, ack: %v", name, err)
		}
		if _, err := durable.Info(ctx); err != nil {
			t.Errorf("%s, info: %v", name, err)
		}
		if _, err := pipeline.NewPublisher(js, pipeline.Topology{}).Canonical(ctx, plainItems); err != nil {
			t.Errorf("%s, how it is spelled: %v", name, err)
		}
		if err := js.DeleteConsumer(ctx, "UIPATH_LEDGER", name); err != nil {
			t.Errorf("%s, remove: %v", name, err)
		}
	}
	if len(u.denied()) > 0 {
		t.Errorf("denied: %q", u.denied())
	}
}

// A consumer that may make none reads outcomes by the one that was made for it,
// and without any of its rights it does not.
func TestDurablePermissions(t *testing.T) {
	t.Parallel()
	whole := permitted(t, pipeline.Topology{}, pipeline.RoleConsumer, pipeline.Scope{User: "bi", Durable: true, Tenant: "Default"})
	for i := range len(whole.Publish) + 1 {
		p := whole
		if i < len(p.Publish) {
			p.Publish = slices.Delete(slices.Clone(p.Publish), i, i+1)
		}
		u := newUsers(t, p, permitted(t, pipeline.Topology{}, pipeline.RoleWorker, pipeline.Scope{}))
		making, worker := u.as("worker")
		if _, err := worker.CreateConsumer(making, p.Durable.Stream, jetstream.ConsumerConfig{Durable: p.Durable.Name, FilterSubject: p.Durable.Filter}); err != nil {
			t.Fatal(err)
		}
		ctx, js := u.as("bi")
		err := readDurable(ctx, js, "bi")
		if denied := u.denied(); (err == nil) != (i == len(whole.Publish)) || (len(denied) == 0) != (err == nil) {
			t.Errorf("without %v: %v, denied %q", whole.Publish[i:min(i+1, len(whole.Publish))], err, denied)
		}
	}
}

// An operator makes no consumer on the ledger, by which it could read outcomes.
func TestOperatorMakesNoDurable(t *testing.T) {
	t.Parallel()
	d := permitted(t, pipeline.Topology{}, pipeline.RoleConsumer, pipeline.Scope{Durable: true}).Durable
	u := newUsers(t, permitted(t, pipeline.Topology{}, pipeline.RoleOperator, pipeline.Scope{ChangeStreams: true, RemoveRequests: true}))
	ctx, js := u.as("operator")
	_, err := js.CreateConsumer(ctx, d.Stream, jetstream.ConsumerConfig{Durable: d.Name, FilterSubject: d.Filter})
	if subject := "$JS.API.CONSUMER.CREATE." + d.Stream + "." + d.Name + "." + d.Filter; err == nil || !u.wasDenied(subject) {
		t.Errorf("%v, denied %q, want %s denied", err, u.denied(), subject)
	}
}

func readDurable(ctx context.Context, js jetstream.JetStream, name string) error {
	durable, err := js.Consumer(ctx, "UIPATH_LEDGER", name)
	if err != nil {
		return err
	}
	msg, err := durable.Next(jetstream.FetchContext(ctx))
	if err != nil {
		return err
	}
	return msg.DoubleAck(ctx)
}

// An operator does what the README says.
func TestOperatorPermissions(t *testing.T) {
	t.Parallel()
	u := newUsers(t, permitted(t, pipeline.Topology{}, pipeline.RoleOperator, pipeline.Scope{ChangeStreams: true, RemoveRequests: true}))
	ctx, js := u.as("operator")
	for _, name := range []string{"UIPATH_REQUESTS", "UIPATH_LEDGER", "UIPATH_DEADLETTERS", "KV_UIPATH_CONTROL"} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := stream.ListConsumers(ctx)
		for range consumers.Info() {
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxBytes = 1 << 30
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			t.Error(err)
		}
	}
	if _, err := js.PauseConsumer(ctx, "UIPATH_REQUESTS", "lane", time.Now().Add(time.Hour)); err != nil {
		t.Errorf("pause: %v", err)
	}
	if _, err := js.ResumeConsumer(ctx, "UIPATH_REQUESTS", "lane"); err != nil {
		t.Errorf("resume: %v", err)
	}
	letters, err := js.Stream(ctx, "UIPATH_DEADLETTERS")
	if err != nil {
		t.Fatal(err)
	}
	letter, err := letters.GetMsg(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	view, err := js.CreateConsumer(ctx, "UIPATH_DEADLETTERS", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if msg, err := view.Next(); err != nil {
		t.Errorf("view: %v", err)
	} else if err := msg.DoubleAck(ctx); err != nil {
		t.Errorf("view: %v", err)
	}
	if _, err := js.Publish(ctx, "uipath.requests.Default.-.items.Plain", letter.Data); err != nil {
		t.Errorf("replay: %v", err)
	}
	if err := letters.DeleteMsg(ctx, 1); err != nil {
		t.Errorf("remove a dead letter: %v", err)
	}
	for _, stream := range []string{"UIPATH_DEADLETTERS", "UIPATH_REQUESTS"} {
		if err := ask("$JS.API.STREAM.PURGE."+stream, `{"filter":"uipath.*.Default.>"}`)(ctx, js); err != nil {
			t.Errorf("remove from %s: %v", stream, err)
		}
		if n := u.messages(ctx, stream); n != 0 {
			t.Errorf("%d messages are left in %s, want none", n, stream)
		}
	}
	kv, err := js.KeyValue(ctx, "UIPATH_CONTROL")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := kv.Keys(ctx)
	if err != nil || len(keys) == 0 {
		t.Fatalf("keys: %q, %v", keys, err)
	}
	if _, err := kv.Get(ctx, keys[0]); err != nil {
		t.Error(err)
	}
	if err := kv.Delete(ctx, keys[0]); err != nil {
		t.Error(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Error(err)
	}
	if len(u.denied()) > 0 {
		t.Errorf("denied: %q", u.denied())
	}
}

// messages counts what a stream holds.
func (u *users) messages(ctx context.Context, stream string) uint64 {
	u.t.Helper()
	s, err := u.admin.Stream(ctx, stream)
	if err != nil {
		u.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// What an operator may remove is a right of its own each.
func TestOperatorRemoves(t *testing.T) {
	t.Parallel()
	rights := func(s pipeline.Scope) (removes []string) {
		for _, one := range permitted(t, pipeline.Topology{}, pipeline.RoleOperator, s).Publish {
			if strings.Contains(one.Subject, ".PURGE.") || strings.Contains(one.Subject, "STREAM.MSG.DELETE.") || strings.Contains(one.Subject, "STREAM.DELETE.") {
				removes = append(removes, strings.TrimPrefix(one.Subject, jetstream.DefaultAPIPrefix+"STREAM."))
			}
		}
		return removes
	}
	letters := []string{"MSG.DELETE.UIPATH_DEADLETTERS", "PURGE.UIPATH_DEADLETTERS"}
	if got := rights(pipeline.Scope{}); !slices.Equal(got, letters) {
		t.Errorf("got %q, want %q", got, letters)
	}
	if got, want := rights(pipeline.Scope{RemoveRequests: true}), append(slices.Clone(letters), "PURGE.UIPATH_REQUESTS"); !slices.Equal(got, want) {
		t.Errorf("with requests: got %q, want %q", got, want)
	}
	for i, right := range letters {
		less := permitted(t, pipeline.Topology{}, pipeline.RoleOperator, pipeline.Scope{User: fmt.Sprintf("operator_%d", i)})
		less.Publish = slices.DeleteFunc(less.Publish, func(one pipeline.Permission) bool { return strings.HasSuffix(one.Subject, right) })
		u := newUsers(t, less)
		ctx, js := u.as(less.User)
		if err := ask("$JS.API.STREAM."+right, `{"seq":1}`)(ctx, js); err == nil || !u.wasDenied("$JS.API.STREAM."+right) {
			t.Errorf("without %s: %v, want it denied", right, err)
		}
	}
}

// The bucket in which workers share tokens.
func TestTokenPermissions(t *testing.T) {
	t.Parallel()
	u := newUsers(t, permitted(t, pipeline.Topology{}, pipeline.RoleWorker, pipeline.Scope{}))
	ctx, js := u.as("worker")
	kv, err := js.KeyValue(ctx, "UIPATH_TOKENS")
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.Create(ctx, "tenants.Production", []byte("encrypted"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, "tenants.Production", []byte("encrypted anew"), revision); err != nil {
		t.Error(err)
	}
	if e, err := kv.Get(ctx, "tenants.Production"); err != nil || string(e.Value()) != "encrypted anew" {
		t.Errorf("got %v, %v", e, err)
	}
	if _, err := kv.Get(ctx, "tenants.None"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("got %v, want %v", err, jetstream.ErrKeyNotFound)
	}
	if len(u.denied()) > 0 {
		t.Errorf("denied: %q", u.denied())
	}
}

// What cannot be is an error that names it.
func TestPermissionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		role  pipeline.Role
		scope pipeline.Scope
		field string
	}{
		{"admin", pipeline.Scope{}, "role"},
		{pipeline.RoleWorker, pipeline.Scope{Tenant: "Default"}, "role"},
		{pipeline.RoleProducer, pipeline.Scope{Provision: true}, "role"},
		{pipeline.RoleProducer, pipeline.Scope{LiveOnly: true}, "role"},
		{pipeline.RoleConsumer, pipeline.Scope{Wait: true}, "role"},
		{pipeline.RoleOperator, pipeline.Scope{Wait: true}, "role"},
		{pipeline.RoleWorker, pipeline.Scope{ChangeStreams: true}, "role"},
		{pipeline.RoleWorker, pipeline.Scope{RemoveRequests: true}, "role"},
		{pipeline.RoleProducer, pipeline.Scope{User: "a.>"}, "user"},
		{pipeline.RoleProducer, pipeline.Scope{User: "a&id"}, "user"},
		{pipeline.RoleProducer, pipeline.Scope{User: "Müller"}, "user"},
		{pipeline.RoleProducer, pipeline.Scope{User: "a\nb"}, "user"},
		{pipeline.RoleProducer, pipeline.Scope{Name: "Invoices"}, "queue or process"},
		{pipeline.RoleProducer, pipeline.Scope{Kind: "robot", Name: "Invoices"}, "kind"},
		{pipeline.RoleConsumer, pipeline.Scope{Folder: "-"}, "folder"},
		{pipeline.RoleProducer, pipeline.Scope{Tenant: strings.Repeat("x", 257)}, "tenant"},
	} {
		_, err := pipeline.Topology{}.Permissions(tt.role, tt.scope)
		if e, ok := errors.AsType[*pipeline.InvalidError](err); !ok || e.Field != tt.field {
			t.Errorf("%s, %+v: error %v, want one of %s", tt.role, tt.scope, err, tt.field)
		}
	}
}

// As JSON it has what the configuration has.
func TestPermissionsAsJSON(t *testing.T) {
	t.Parallel()
	p := permitted(t, pipeline.Topology{Prefix: "finance"}, pipeline.RoleProducer, pipeline.Scope{Folder: "Finance/Invoices"})
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back pipeline.Permissions
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if want := "finance.requests.*.Finance%2FInvoices.*.*"; back.Publish[0].Subject != want || !strings.Contains(p.Conf(), `"`+want+`"`) {
		t.Errorf("subject %s, want %s in both\n%s", back.Publish[0].Subject, want, p.Conf())
	}
}
