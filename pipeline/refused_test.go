package pipeline_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// action is something done with JetStream. It waits for the server's word.
type action func(context.Context, jetstream.JetStream) error

func publishTo(subject string) action {
	return func(ctx context.Context, js jetstream.JetStream) error {
		_, err := js.Publish(ctx, subject, []byte("{}"))
		return err
	}
}

func subscribeTo(subject string) action {
	return func(ctx context.Context, js jetstream.JetStream) error {
		if _, err := js.Conn().SubscribeSync(subject); err != nil {
			return err
		}
		return js.Conn().FlushWithContext(ctx)
	}
}

// ask sends a request to JetStream's interface, which most libraries wrap.
func ask(subject, body string) action {
	return func(ctx context.Context, js jetstream.JetStream) error {
		msg, err := js.Conn().RequestWithContext(ctx, asks(js, subject), []byte(body))
		if err != nil {
			return err
		}
		if status := msg.Header.Get("Status"); status >= "400" {
			return errors.New(status + " " + msg.Header.Get("Description"))
		}
		return nil
	}
}

// asks spells a question to JetStream as the user does.
func asks(js jetstream.JetStream, subject string) string {
	if question, ok := strings.CutPrefix(subject, jetstream.DefaultAPIPrefix); ok {
		return strings.TrimSuffix(js.Options().APIPrefix, ".") + "." + question
	}
	return subject
}

func readKey(bucket, key string) action {
	return func(ctx context.Context, js jetstream.JetStream) error {
		kv, err := js.KeyValue(ctx, bucket)
		if err != nil {
			return err
		}
		_, err = kv.Get(ctx, key)
		return err
	}
}

// getKey reads a key without asking for the bucket first.
func getKey(bucket, key string) action {
	return ask("$JS.API.DIRECT.GET.KV_"+bucket+".$KV."+bucket+"."+key, "")
}

func consume(stream, filter string) action {
	return func(ctx context.Context, js jetstream.JetStream) error {
		c, err := js.CreateConsumer(ctx, stream, jetstream.ConsumerConfig{Name: "spy", FilterSubject: filter})
		if err != nil {
			return err
		}
		_, err = c.Next(jetstream.FetchContext(ctx))
		return err
	}
}

// The other side: what is not a role's is refused. Each is tried by a user who
// may do everything as well, since what nobody can do proves nothing.
func TestPermissionsRefuse(t *testing.T) {
	t.Parallel()
	const body = `{"key":"INV-9","item":{}}`
	for _, row := range []struct {
		user, what string
		do         action
	}{
		{"producer", "publish a claim", publishTo("uipath.claims.Default.Shared.items.Plain.INV-9")},
		{"producer", "publish an outcome", publishTo("uipath.outcomes.Default.Shared.items.Plain.INV-9.final")},
		{"producer", "publish a dead letter", publishTo("uipath.deadletters.Default.-.items.Plain")},
		{"producer", "publish to another installation", publishTo("other.requests.Default.-.items.Plain")},
		{"producer", "hear outcomes", subscribeTo("uipath.outcomes.>")},
		{"producer", "hear requests", subscribeTo("uipath.requests.>")},
		{"producer", "hear what everybody is answered", subscribeTo("_INBOX.>")},
		{"producer", "hear what workers are answered", subscribeTo("_INBOX_worker.>")},
		{"producer", "read outcomes", consume("UIPATH_LEDGER", "uipath.outcomes.>")},
		{"producer", "read requests", consume("UIPATH_REQUESTS", "uipath.requests.Default.-.items.Plain")},
		{"producer", "take requests from a worker", ask("$JS.API.CONSUMER.MSG.NEXT.UIPATH_REQUESTS.lane", "")},
		{"producer", "read a request by its number", ask("$JS.API.STREAM.MSG.GET.UIPATH_REQUESTS", `{"seq":1}`)},
		{"producer", "read the ledger", ask("$JS.API.DIRECT.GET.UIPATH_LEDGER", `{"seq":1}`)},
		{"producer", "read a token", getKey("UIPATH_TOKENS", "tenants.Default")},
		{"producer", "write a token", publishTo("$KV.UIPATH_TOKENS.tenants.Default")},
		{"producer", "bind a lane", publishTo("$KV.UIPATH_CONTROL.lanes.Default.-.items.Plain")},
		{"producer", "remove requests", ask("$JS.API.STREAM.PURGE.UIPATH_REQUESTS", "")},
		{"producer", "list streams", ask("$JS.API.STREAM.LIST", "")},
		{"one_producer", "publish to another queue", publishTo("uipath.requests.Default.-.items.Other")},
		{"one_producer", "publish to a process of that name", publishTo("uipath.requests.Default.-.jobs.Plain")},
		{"one_producer", "publish to another folder", publishTo("uipath.requests.Default.Shared.items.Plain")},
		{"one_producer", "publish for another tenant", publishTo("uipath.requests.Test.-.items.Plain")},
		{"consumer", "publish a request", publishTo("uipath.requests.Default.-.items.Plain")},
		{"consumer", "publish a claim", publishTo("uipath.claims.Default.Shared.items.Plain.INV-9")},
		{"consumer", "publish an outcome", publishTo("uipath.outcomes.Default.Shared.items.Plain.INV-9.final")},
		{"consumer", "publish a dead letter", publishTo("uipath.deadletters.Default.-.items.Plain")},
		{"consumer", "read requests", consume("UIPATH_REQUESTS", "uipath.requests.>")},
		{"consumer", "hear requests", subscribeTo("uipath.requests.>")},
		{"consumer", "read claims", consume("UIPATH_LEDGER", "uipath.claims.>")},
		{"consumer", "read the ledger, claims and all", consume("UIPATH_LEDGER", "")},
		{"consumer", "read the ledger by number", ask("$JS.API.DIRECT.GET.UIPATH_LEDGER", `{"seq":1}`)},
		{"consumer", "read dead letters", consume("UIPATH_DEADLETTERS", "uipath.deadletters.>")},
		{"consumer", "remove an outcome", ask("$JS.API.STREAM.MSG.DELETE.UIPATH_LEDGER", `{"seq":1}`)},
		{"consumer", "purge the ledger", ask("$JS.API.STREAM.PURGE.UIPATH_LEDGER", "")},
		{"consumer", "delete the ledger", ask("$JS.API.STREAM.DELETE.UIPATH_LEDGER", "")},
		{"consumer", "take from the workers what they follow", ask("$JS.API.CONSUMER.MSG.NEXT.UIPATH_LEDGER."+trackingOfDefault, `{"no_wait":true}`)},
		{"consumer", "change the consumer by which they follow", func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.UpdateConsumer(ctx, "UIPATH_LEDGER", jetstream.ConsumerConfig{Durable: trackingOfDefault, AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "uipath.outcomes.Test.>"})
			return err
		}},
		{"consumer", "remove it", ask("$JS.API.CONSUMER.DELETE.UIPATH_LEDGER."+trackingOfDefault, "")},
		{"consumer", "acknowledge in its place", func(ctx context.Context, js jetstream.JetStream) error {
			if err := js.Conn().Publish("$JS.ACK.UIPATH_LEDGER."+trackingOfDefault+".1.2.1.1.0", []byte("+ACK")); err != nil {
				return err
			}
			return js.Conn().FlushWithContext(ctx)
		}},
		{"consumer", "read a token", getKey("UIPATH_TOKENS", "tenants.Default")},
		{"consumer", "read throttles", getKey("UIPATH_CONTROL", "throttle.Default.reads")},
		{"consumer", "bind a lane", publishTo("$KV.UIPATH_CONTROL.lanes.Default.-.items.Plain")},
		{"consumer", "read another installation's outcomes", consume("OTHER_LEDGER", "other.outcomes.>")},
		{"one_consumer", "hear all outcomes", subscribeTo("uipath.outcomes.>")},
		{"one_consumer", "hear another queue's", subscribeTo("uipath.outcomes.Default.Shared.items.Other.*.*")},
		{"one_consumer", "read all outcomes", consume("UIPATH_LEDGER", "uipath.outcomes.>")},
		{"one_consumer", "read all queues' outcomes", consume("UIPATH_LEDGER", "uipath.outcomes.Default.Shared.items.*.*.*")},
		{"one_consumer", "read another queue's", consume("UIPATH_LEDGER", "uipath.outcomes.Default.Shared.items.Other.*.*")},
		{"live", "read outcomes", consume("UIPATH_LEDGER", "uipath.outcomes.>")},
		{"durable", "read outcomes by a consumer of its own", consume("UIPATH_LEDGER", "uipath.outcomes.>")},
		{"durable", "change the one that is made for it", func(ctx context.Context, js jetstream.JetStream) error {
			_, err := js.CreateOrUpdateConsumer(ctx, "UIPATH_LEDGER", jetstream.ConsumerConfig{Durable: "durable", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "uipath.outcomes.>"})
			return err
		}},
		{"durable", "take from the workers what they follow", ask("$JS.API.CONSUMER.MSG.NEXT.UIPATH_LEDGER."+trackingOfDefault, `{"no_wait":true}`)},
		{"worker", "publish a request", publishTo("uipath.requests.Default.-.items.Plain")},
		{"worker", "delete the requests", ask("$JS.API.STREAM.DELETE.UIPATH_REQUESTS", "")},
		{"worker", "delete the ledger", ask("$JS.API.STREAM.DELETE.UIPATH_LEDGER", "")},
		{"worker", "purge the ledger", ask("$JS.API.STREAM.PURGE.UIPATH_LEDGER", "")},
		{"worker", "purge the dead letters", ask("$JS.API.STREAM.PURGE.UIPATH_DEADLETTERS", "")},
		{"worker", "delete the control bucket", ask("$JS.API.STREAM.DELETE.KV_UIPATH_CONTROL", "")},
		{"worker", "make a stream", ask("$JS.API.STREAM.CREATE.UIPATH_MORE", `{"name":"UIPATH_MORE","subjects":["uipath.more"]}`)},
		{"worker", "change a stream", ask("$JS.API.STREAM.UPDATE.UIPATH_LEDGER", `{"name":"UIPATH_LEDGER","max_msgs":1}`)},
		{"worker", "publish another installation's outcome", publishTo("other.outcomes.Default.Shared.items.Plain.INV-9.final")},
		{"worker", "take another installation's requests", consume("OTHER_REQUESTS", "other.requests.>")},
		{"worker", "hear requests before they are stored", subscribeTo("uipath.requests.>")},
		{"worker", "list streams", ask("$JS.API.STREAM.LIST", "")},
		{"provisioner", "delete the ledger", ask("$JS.API.STREAM.DELETE.UIPATH_LEDGER", "")},
		{"provisioner", "change a stream", ask("$JS.API.STREAM.UPDATE.UIPATH_LEDGER", `{"name":"UIPATH_LEDGER","max_msgs":1}`)},
		{"provisioner", "make another installation's stream", ask("$JS.API.STREAM.CREATE.OTHER_MORE", `{"name":"OTHER_MORE","subjects":["other.more"]}`)},
		{"operator", "delete the ledger", ask("$JS.API.STREAM.DELETE.UIPATH_LEDGER", "")},
		{"operator", "purge the requests", ask("$JS.API.STREAM.PURGE.UIPATH_REQUESTS", "")},
		{"operator", "purge the ledger", ask("$JS.API.STREAM.PURGE.UIPATH_LEDGER", "")},
		{"operator", "purge the tokens", ask("$JS.API.STREAM.PURGE.KV_UIPATH_TOKENS", "")},
		{"operator", "remove a request", ask("$JS.API.STREAM.MSG.DELETE.UIPATH_REQUESTS", `{"seq":1}`)},
		{"operator", "remove an outcome", ask("$JS.API.STREAM.MSG.DELETE.UIPATH_LEDGER", `{"seq":1}`)},
		{"operator", "publish an outcome", publishTo("uipath.outcomes.Default.Shared.items.Plain.INV-9.final")},
		{"operator", "publish a claim", publishTo("uipath.claims.Default.Shared.items.Plain.INV-9")},
		{"operator", "take requests from a worker", ask("$JS.API.CONSUMER.MSG.NEXT.UIPATH_REQUESTS.lane", body)},
		{"operator", "change a stream", ask("$JS.API.STREAM.UPDATE.UIPATH_LEDGER", `{"name":"UIPATH_LEDGER","max_msgs":1}`)},
		{"operator", "read a token", getKey("UIPATH_TOKENS", "tenants.Default")},
		{"operator", "see the bucket of tokens", readKey("UIPATH_TOKENS", "tenants.Default")},
	} {
		t.Run(row.user+"/"+row.what, func(t *testing.T) {
			t.Parallel()
			u := newUsers(t, everybody(t)...)
			ctx, js := u.as(row.user)
			err := errors.Join(row.do(ctx, js), js.Conn().Flush())
			if len(u.denied()) == 0 {
				t.Errorf("it was not denied: %v", err)
			}
			ctx, js = u.as("admin")
			if err := row.do(ctx, js); err != nil && !isAnswer(err) {
				t.Errorf("nobody can do it: %v", err)
			}
		})
	}
}

// isAnswer tells what the server says of a wish that it has granted: there is
// nothing to be had.
func isAnswer(err error) bool {
	return err.Error() == "404 No Messages" || err.Error() == "404 Message Not Found" || errors.Is(err, jetstream.ErrNoMessages)
}

// everybody is a user for each role, and those that are narrowed.
func everybody(t *testing.T) []pipeline.Permissions {
	t.Helper()
	topology := pipeline.Topology{}
	tenants := []string{"Default"}
	return []pipeline.Permissions{
		permitted(t, topology, pipeline.RoleProducer, pipeline.Scope{}),
		permitted(t, topology, pipeline.RoleProducer, pipeline.Scope{User: "one_producer", Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "Plain"}),
		permitted(t, topology, pipeline.RoleConsumer, pipeline.Scope{Tenants: tenants}),
		permitted(t, topology, pipeline.RoleConsumer, pipeline.Scope{User: "one_consumer", Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Plain", Tenants: tenants}),
		permitted(t, topology, pipeline.RoleConsumer, pipeline.Scope{User: "live", LiveOnly: true}),
		permitted(t, topology, pipeline.RoleConsumer, pipeline.Scope{User: "durable", Durable: true}),
		permitted(t, topology, pipeline.RoleWorker, pipeline.Scope{}),
		permitted(t, topology, pipeline.RoleWorker, pipeline.Scope{User: "provisioner", Provision: true}),
		permitted(t, topology, pipeline.RoleOperator, pipeline.Scope{}),
	}
}

// Whoever is on another account sees nothing of this one, whatever it may do
// there.
func TestOtherAccountsSeeNothing(t *testing.T) {
	t.Parallel()
	u := newUsers(t, everybody(t)...)
	ctx, stranger := u.as("stranger")
	for _, name := range []string{"UIPATH_REQUESTS", "UIPATH_LEDGER", "UIPATH_DEADLETTERS", "KV_UIPATH_CONTROL", "KV_UIPATH_TOKENS"} {
		if _, err := stranger.Stream(ctx, name); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("stream %s: %v, want %v", name, err, jetstream.ErrStreamNotFound)
		}
	}
	for _, subject := range []string{"uipath.requests.Default.-.items.Plain", "uipath.outcomes.Default.Shared.items.Plain.INV-9.final", "$KV.UIPATH_TOKENS.tenants.Default"} {
		if _, err := stranger.Publish(ctx, subject, nil); !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, jetstream.ErrNoStreamResponse) {
			t.Errorf("publish to %s: %v, want that nobody takes it", subject, err)
		}
	}
	everything, err := stranger.Conn().SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	u.publishOutcome(ctx, plainItems, "INV-9")
	if err := stranger.Conn().Publish("mine", nil); err != nil {
		t.Fatal(err)
	}
	msg, err := everything.NextMsgWithContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Subject != "mine" {
		t.Errorf("heard %s, want only its own", msg.Subject)
	}
}
