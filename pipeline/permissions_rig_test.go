package pipeline_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// users is an installation in an account whose users have the permissions that
// are printed for them, and what stands in its streams after a day's work.
type users struct {
	t      *testing.T
	server *embedded.Server
	admin  jetstream.JetStream
	api    map[string]string // by which users ask JetStream
	login  func(user string) nats.Option

	connections []*nats.Conn
}

func newUsers(t *testing.T, permissions ...pipeline.Permissions) *users {
	t.Helper()
	server, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Accounts: accountsOf(permissions...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	u := &users{t: t, server: server, api: map[string]string{}, login: func(user string) nats.Option { return nats.UserInfo(user, "secret") }}
	for _, p := range permissions {
		u.api[p.User] = p.APIPrefix
	}
	ctx, admin := u.as("admin")
	u.admin = admin
	for _, prefix := range []string{"uipath", "other"} {
		if err := pipeline.Provision(ctx, admin, pipeline.Topology{Prefix: prefix}); err != nil {
			t.Fatal(err)
		}
	}
	u.fill(ctx)
	return u
}

// as connects as a user. The context ends when NATS denies it something, so
// that nobody waits for an answer that does not come.
func (u *users) as(user string) (context.Context, jetstream.JetStream) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 30*time.Second)
	u.t.Cleanup(cancel)
	nc, err := u.server.Connect(u.login(user), nats.CustomInboxPrefix("_INBOX_"+user), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if !isLeft(err) {
			cancel()
		}
	}))
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(nc.Close)
	u.connections = append(u.connections, nc)
	js, err := jetstream.NewWithAPIPrefix(nc, cmp.Or(u.api[user], jetstream.DefaultAPIPrefix))
	if err != nil {
		u.t.Fatal(err)
	}
	return ctx, js
}

// denied gives what NATS did not allow anybody so far, the last of each
// connection.
func (u *users) denied() []string {
	u.t.Helper()
	var violations []string
	for _, nc := range u.connections {
		if err := nc.Flush(); err != nil {
			u.t.Error(err)
		}
		if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && !isLeft(err) {
			violations = append(violations, err.Error())
		}
	}
	return violations
}

// isLeft is of the consumer that a watch leaves to the server where its user may
// not remove it.
func isLeft(err error) bool {
	return ordered.MatchString(err.Error())
}

var ordered = regexp.MustCompile(`Publish to "(\$JS\.API|uipath\.api)\.CONSUMER\.DELETE\.UIPATH_LEDGER\.\w{22}_\d+"`)

func (u *users) wasDenied(subject string) bool {
	return strings.Contains(strings.Join(u.denied(), "\n"), `"`+subject+`"`)
}

// fill puts one of each into the streams, and makes the consumers there are.
func (u *users) fill(ctx context.Context) {
	u.t.Helper()
	var faults []error
	add := func(_ any, err error) { faults = append(faults, err) }
	add(u.admin.Publish(ctx, "uipath.requests.Default.-.items.Plain", []byte(`{"key":"INV-1","item":{}}`)))
	add(u.admin.Publish(ctx, "uipath.claims.Default.Shared.items.Plain.INV-1", []byte(`{}`)))
	add(u.admin.Publish(ctx, "uipath.deadletters.Default.-.items.Plain", []byte(`{"key":"INV-2","item":{}}`)))
	add(u.admin.CreateConsumer(ctx, "UIPATH_REQUESTS", jetstream.ConsumerConfig{Durable: "lane", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "uipath.requests.Default.-.items.Plain"}))
	add(u.admin.CreateConsumer(ctx, "UIPATH_LEDGER", jetstream.ConsumerConfig{Durable: trackingOfDefault, AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "uipath.outcomes.Default.*.*.*.*.accepted"}))
	u.serve(ctx)
	tokens, err := u.admin.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "UIPATH_TOKENS"})
	add(nil, err)
	add(tokens.Put(ctx, "tenants.Default", []byte("encrypted")))
	add(u.admin.Publish(ctx, "other.requests.Default.-.items.Plain", []byte(`{"key":"INV-1","item":{}}`)))
	add(u.admin.Publish(ctx, "other.outcomes.Default.Shared.items.Plain.INV-1.final", []byte(`{}`)))
	u.publishOutcome(ctx, plainItems, "INV-1")
	u.publishOutcome(ctx, pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Other"}, "INV-1")
	if err := errors.Join(faults...); err != nil {
		u.t.Fatal(err)
	}
}

// serve leaves the record of a lane that has been served.
func (u *users) serve(ctx context.Context) {
	u.t.Helper()
	control, err := u.admin.KeyValue(ctx, "UIPATH_CONTROL")
	if err != nil {
		u.t.Fatal(err)
	}
	lane, err := json.Marshal(map[string]any{"lane": plainItems, "boundAt": time.Now()})
	if err != nil {
		u.t.Fatal(err)
	}
	if _, err := control.Put(ctx, "lanes.Default.Shared.items.Plain", lane); err != nil {
		u.t.Fatal(err)
	}
}

// trackingOfDefault is the workers' consumer for the tenant Default.
const trackingOfDefault = "tracking_Default_s_accepted_364d94bc"

// publishOutcome does what a worker does.
func (u *users) publishOutcome(ctx context.Context, lane pipeline.Lane, key string) {
	u.t.Helper()
	o := pipeline.Outcome{
		Key: key, Generation: 1, Kind: lane.Kind, Tenant: lane.Tenant, Folder: lane.Folder, Queue: lane.Name,
		Stage: pipeline.StageFinal, Status: pipeline.StatusAccepted, Attempts: 1, DecidedBy: pipeline.ByAnswer, FinishedAt: time.Now(),
	}
	body, err := json.Marshal(o)
	if err != nil {
		u.t.Fatal(err)
	}
	if _, err := u.admin.Publish(ctx, pipeline.Topology{}.OutcomeSubject(lane, key, pipeline.StageFinal), body); err != nil {
		u.t.Fatal(err)
	}
}
