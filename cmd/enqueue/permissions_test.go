package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// newGuardedInstallation is newInstallation with users who may do what is
// printed for their roles, in the accounts that are printed for them, and one
// who may do it all. It gives the flags by
// which each logs in.
func newGuardedInstallation(t *testing.T, users ...pipeline.Permissions) (*installation, map[string][]string) {
	t.Helper()
	login := map[string][]string{}
	conf := pipeline.AccountsConf("WAYBILL", users, func(p pipeline.Permissions) string {
		public, file := newNKey(t)
		login[p.User] = []string{"--nats-nkey", file, "--nats-inbox-prefix", p.InboxPrefix, "--nats-api-prefix", p.APIPrefix}
		return "nkey: " + public + "\n"
	})
	conf = strings.Replace(conf, "users: [\n", "users: [\n      {user: admin, password: secret}\n", 1)
	server, err := embedded.Start(embedded.Options{Listen: true, Port: -1, Accounts: conf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	nc, err := server.Connect(nats.UserInfo("admin", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Provision(t.Context(), js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	return &installation{url: server.URL(), js: js}, login
}

func newNKey(t *testing.T) (public, file string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return public, file
}

func permitted(t *testing.T, role pipeline.Role, s pipeline.Scope) pipeline.Permissions {
	t.Helper()
	p, err := pipeline.Topology{}.Permissions(role, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// soon is far below the 10 s that a request without an answer waits.
const soon = 5 * time.Second

// A producer hands in, item, job and file, with its rights alone; that it may
// not look whether something was handed in before, it is told.
func TestProducerHandsIn(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(
		t,
		permitted(t, pipeline.RoleProducer, pipeline.Scope{}),
		permitted(t, pipeline.RoleProducer, pipeline.Scope{User: "one", Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "invoices"}),
	)
	file := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(file, []byte("Reference,Amount\nR-1,1\nR-2,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	const unseen = "level=INFO msg=\"what was handed in before cannot be seen"
	i.run(t, "", append(login["producer"], "item", "--queue", "invoices", "--set", "A=1")...).want(t, cli.ExitOK)
	i.run(t, "", append(login["producer"], "item", "--queue", "invoices", "--key", "INV-1")...).want(t, cli.ExitOK, unseen)
	i.run(t, "", append(login["producer"], "job", "--process", "Pay", "--key", "run-1")...).want(t, cli.ExitOK, unseen)
	i.run(t, "", append(login["producer"], "csv", file, "--queue", "invoices")...).want(t, cli.ExitOK, "2 published", unseen)
	i.run(t, "", append(login["one"], "csv", file, "--queue", "invoices", "--content-keys")...).want(t, cli.ExitOK, "2 published", unseen)
	if n := len(i.requests(t)); n != 7 {
		t.Errorf("%d requests, want 7", n)
	}
	if took := time.Since(begin); took > 2*soon {
		t.Errorf("took %s: it waited for answers that do not come", took)
	}
}

// What is not allowed ends at once, with the subject, the role that allows it,
// and the exit code for credentials.
func TestDenied(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(
		t,
		permitted(t, pipeline.RoleProducer, pipeline.Scope{}),
		permitted(t, pipeline.RoleProducer, pipeline.Scope{User: "one", Tenant: "Default", Folder: "-", Kind: pipeline.KindItem, Name: "invoices"}),
		permitted(t, pipeline.RoleConsumer, pipeline.Scope{}),
		permitted(t, pipeline.RoleConsumer, pipeline.Scope{User: "live", LiveOnly: true}),
		permitted(t, pipeline.RoleConsumer, pipeline.Scope{User: "one-consumer", Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}),
	)
	file := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(file, []byte("Reference,Amount\nR-1,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, user string
		args       []string
		says       []string
	}{
		{"wait as a producer", "producer", []string{"item", "--queue", "invoices", "--wait"}, []string{"publish to $JS.API.CONSUMER.CREATE.UIPATH_LEDGER.", "`worker permissions producer --wait`", "set NATS_API_PREFIX"}},
		{"watch as a producer", "producer", []string{"watch"}, []string{"publish to $JS.API.CONSUMER.CREATE.UIPATH_LEDGER.", "`worker permissions consumer`"}},
		{"item as a consumer", "consumer", []string{"item", "--queue", "invoices"}, []string{"publish to uipath.requests.Default.-.items.invoices", "`worker permissions producer`"}},
		{"item with a key as a consumer", "consumer", []string{"item", "--queue", "invoices", "--key", "INV-1"}, []string{"publish to uipath.requests.Default.-.items.invoices", "`worker permissions producer`"}},
		{"csv as a consumer", "consumer", []string{"csv", file, "--queue", "invoices"}, []string{"publish to uipath.requests.Default.-.items.invoices", "`worker permissions producer`"}},
		{"another queue", "one", []string{"item", "--queue", "orders"}, []string{"publish to uipath.requests.Default.-.items.orders", "--folder with the folder's path, as - is another subject"}},
		{"another folder", "one", []string{"item", "--queue", "invoices", "--folder", "Shared"}, []string{"name what the user may publish to, with --tenant, --folder and --queue"}},
		{"another queue's file", "one", []string{"csv", file, "--queue", "orders"}, []string{"publish to uipath.requests.Default.-.items.orders"}},
		{"all outcomes", "one-consumer", []string{"watch", "--all"}, []string{"publish to uipath.api.CONSUMER.CREATE.UIPATH_LEDGER.", "`worker permissions consumer`"}},
		{"one queue without its folder", "one-consumer", []string{"watch", "--queue", "Invoices"}, []string{"name what the user may see, with --tenant, --folder and --queue or --process"}},
		{"watch as one that listens", "live", []string{"watch"}, []string{"nats --inbox-prefix _INBOX_live sub 'uipath.outcomes.*.*.*.*.*.*'"}},
		{"watch a queue as one that listens", "live", []string{"watch", "--queue", "Invoices"}, []string{"sub 'uipath.outcomes.>'"}},
		{"watch with the common inbox", "one-consumer", []string{"watch", "--nats-inbox-prefix", "_INBOX"}, []string{"subscribe to _INBOX.", "`worker permissions consumer`"}},
		{"by the own account's JetStream", "consumer", []string{"watch", "--nats-api-prefix", ""}, []string{"publish to $JS.API.CONSUMER.CREATE.UIPATH_LEDGER.", "set NATS_API_PREFIX"}},
		{"the common inbox", "producer", []string{"item", "--queue", "invoices", "--nats-inbox-prefix", "_INBOX"}, []string{"subscribe to _INBOX.", "set NATS_INBOX_PREFIX"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			r := i.run(t, "", append(login[tt.user], tt.args...)...)
			r.want(t, cli.ExitCredentials, tt.says...)
			if r.stdout != "" {
				t.Errorf("it prints %q before it is denied", r.stdout)
			}
			if took := time.Since(begin); took > soon {
				t.Errorf("took %s: it waited for an answer that does not come", took)
			}
		})
	}
}

// A producer that may wait waits.
func TestWaitWithPermissions(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(t, permitted(t, pipeline.RoleProducer, pipeline.Scope{User: "waiting", Tenant: "Default", Kind: pipeline.KindItem, Name: "invoices", Wait: true}))
	i.work(t, pipeline.StatusAccepted)
	r := i.run(t, "", append(login["waiting"], "item", "--queue", "invoices", "--key", "INV-1", "--wait", "-o", "json")...)
	r.want(t, cli.ExitOK)
	var o pipeline.Outcome
	if err := json.Unmarshal([]byte(r.stdout), &o); err != nil || o.Key != "INV-1" {
		t.Errorf("got %q, %v", r.stdout, err)
	}
}

// A context of the nats CLI says all that a user of another account must be told.
func TestWaitByContext(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(t, permitted(t, pipeline.RoleProducer, pipeline.Scope{User: "waiting", Tenant: "Default", Kind: pipeline.KindItem, Name: "invoices", Wait: true}))
	i.work(t, pipeline.StatusAccepted)
	settings, err := json.Marshal(map[string]string{"url": i.url, "nkey": login["waiting"][1], "inbox_prefix": login["waiting"][3], "jetstream_api_prefix": login["waiting"][5]})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "waiting.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	r := run("", "item", "--queue", "invoices", "--key", "INV-1", "--wait", "--nats-context", file)
	r.want(t, cli.ExitOK)
	if !strings.Contains(r.stdout, "INV-1") {
		t.Errorf("got %q, want its outcome", r.stdout)
	}
}

// So it does for a job, one that has ended before too.
func TestWaitForJobWithPermissions(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(t, permitted(t, pipeline.RoleProducer, pipeline.Scope{User: "waiting", Tenant: "Default", Wait: true}))
	lane := pipeline.Lane{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindJob, Name: "Pay"}
	if err := i.settle(t.Context(), lane, pipeline.Request{Key: "run-1", Job: json.RawMessage(`{}`)}, pipeline.StatusSucceeded); err != nil {
		t.Fatal(err)
	}
	r := i.run(t, "", append(login["waiting"], "job", "--process", "Pay", "--folder", "Shared", "--key", "run-1", "--wait", "--timeout", "20s", "-o", "json")...)
	r.want(t, cli.ExitOK)
	if !strings.Contains(r.stdout, "run-1") {
		t.Errorf("got %q, want its outcome", r.stdout)
	}
}

// It does so before anything was served there, by the spelling it gives.
func TestWatchBeforeAll(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(t, permitted(t, pipeline.RoleConsumer, pipeline.Scope{User: "one", Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}))
	if err := i.settle(t.Context(), canonical, pipeline.Request{Key: "INV-1", Item: json.RawMessage(`{}`)}, pipeline.StatusAccepted); err != nil {
		t.Fatal(err)
	}
	lines, err := i.watch(t, 1, append(login["one"], "--all", "-o", "jsonl", "--tenant", "Default", "--folder", "Shared", "--queue", "Invoices")...)
	if err != nil || !strings.Contains(lines[0], "INV-1") {
		t.Errorf("got %q, %v, want the outcome of INV-1", lines, err)
	}
	i.run(t, "", append(login["one"], "watch", "--tenant", "Default", "--folder", "-", "--queue", "Invoices")...).want(t, cli.ExitUsage, "give the folder's path")
}

// A consumer of one queue alone follows it.
func TestWatchWithPermissions(t *testing.T) {
	t.Parallel()
	i, login := newGuardedInstallation(
		t,
		permitted(t, pipeline.RoleConsumer, pipeline.Scope{}),
		permitted(t, pipeline.RoleConsumer, pipeline.Scope{User: "one", Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}),
	)
	if err := i.bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := i.settle(t.Context(), canonical, pipeline.Request{Key: "INV-1", Item: json.RawMessage(`{}`)}, pipeline.StatusAccepted); err != nil {
		t.Fatal(err)
	}
	for user, args := range map[string][]string{
		"consumer": {"--all", "-o", "jsonl"},
		"one":      {"--all", "-o", "jsonl", "--tenant", "Default", "--folder", "shared", "--queue", "invoices"},
	} {
		lines, err := i.watch(t, 1, append(login[user], args...)...)
		if err != nil || !strings.Contains(lines[0], "INV-1") {
			t.Errorf("%s: got %q, %v, want the outcome of INV-1", user, lines, err)
		}
	}
}
