package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// runHere runs the command inside this process.
func runHere(args ...string) (stdout, stderr string, code cli.Code) {
	root := newRoot()
	var out bytes.Buffer
	var err lockedBuffer // the log is written beside what the command says
	root.SetOut(&out)
	root.SetErr(&err)
	code = cli.Code(cli.Run(root, args))
	return out.String(), err.String(), code
}

// noEnvironment takes away what would say something of an installation.
func noEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"WAYBILL_PREFIX", "UIPATH_URL", "UIPATH_URI", "UIPATH_TENANT", "UIPATH_FOLDER_ID", "NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "NATS_NKEY", "NATS_INBOX_PREFIX"} {
		t.Setenv(name, "")
	}
}

// lockedBuffer is for several writers.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPermissionsPrinted(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnvironment(t)
	for _, tt := range []struct {
		args string
		says []string
	}{
		{"producer", []string{"permissions {", `"uipath.requests.>"`, "NATS_INBOX_PREFIX=_INBOX_producer"}},
		{"producer --user k2 --tenant Production --folder Finance/In --queue A.B", []string{`"uipath.requests.Production.Finance%2FIn.items.A%2EB"`, `"_INBOX_k2.>"`}},
		{"producer --folder - --process Pay", []string{`"uipath.requests.*.-.jobs.Pay"`}},
		{"consumer --tenant Production", []string{`"uipath.outcomes.Production.*.*.*.*.*"`, "tracking_Production_s_accepted_", "lanes.Production.>", "NATS_API_PREFIX=uipath.api"}},
		{"consumer --account FINANCE --user k2", []string{`imports: [`, `{stream: {account: "FINANCE", subject: "uipath.outcomes.>"}}`, `exports: [`, `accounts: ["FINANCE_k2"]}`}},
		{"consumer --live", []string{`"uipath.outcomes.>"`, "deny: ["}},
		{"", []string{"\n# The worker may not make the streams", "`worker permissions --provision`"}},
		{"worker", []string{`"$JS.API.STREAM.PURGE.UIPATH_REQUESTS"`, `"$KV.UIPATH_TOKENS.tenants.*"`}},
		{"worker --provision --prefix finance", []string{`"$JS.API.STREAM.CREATE.FINANCE_LEDGER"`, `"finance.claims.>"`}},
		{"operator", []string{`"$JS.API.CONSUMER.PAUSE.UIPATH_REQUESTS.*"`, "account WAYBILL", "trusted"}},
		{"operator --change-streams", []string{`"$JS.API.STREAM.UPDATE.UIPATH_LEDGER"`, "an administrator's right"}},
		{"producer -o nsc --account FINANCE", []string{
			"nsc add account --name FINANCE_producer", "nsc edit user --account FINANCE_producer --name producer", "--allow-pub 'uipath.requests.>'",
			"nsc edit signing-key --account FINANCE_producer",
			"nsc add export --account FINANCE --name 'uipath.requests.>' --subject 'uipath.requests.>' --service",
			"nsc add import --account FINANCE_producer --name 'uipath.requests.>'",
		}},
		{"worker -o nsc", []string{
			"\nnsc add account --name WAYBILL\nnsc edit account --name WAYBILL --js-disk-storage -1 --js-mem-storage -1 --js-streams -1 --js-consumer -1\n",
			"\nnsc add user --account WAYBILL --name worker\nnsc edit user --account WAYBILL --name worker",
		}},
		{"operator -o nsc --account FINANCE", []string{
			"# Account FINANCE, the workers', must be there: `worker permissions worker -o nsc` makes it.\n",
			"\nnsc add user --account FINANCE --name operator\nnsc edit user --account FINANCE --name operator",
		}},
		{"consumer -o json", []string{`"apiPrefix": "uipath.api"`, `"as": "uipath.api.CONSUMER.MSG.NEXT.UIPATH_LEDGER.*"`}},
		{"consumer --durable --user bi --tenant Test", []string{
			`"uipath.api.CONSUMER.MSG.NEXT.UIPATH_LEDGER.bi"`,
			"with a worker's login",
			"\n#   nats --inbox-prefix _INBOX_worker consumer add UIPATH_LEDGER bi --pull --filter 'uipath.outcomes.Test.*.*.*.*.*' --deliver all --ack explicit --defaults\n# It belongs",
		}},
		{"consumer --live -o nsc", []string{"--deny-pub '>'", "in any order, and again"}},
		{"--durable", []string{"\n      #   nats --inbox-prefix _INBOX_worker consumer add UIPATH_LEDGER consumer --pull --filter 'uipath.outcomes.>' --deliver all --ack explicit --defaults\n      {\n"}},
		{"consumer --durable -o nsc", []string{" --ack explicit --defaults\nnsc add account"}},
		{"producer --queue Invoices -o nsc", []string{
			"nsc add export --account WAYBILL --name 'uipath.requests.>' --subject 'uipath.requests.>' --service\n",
			"--remote-subject 'uipath.requests.*.*.items.Invoices' --service\n",
		}},
	} {
		stdout, stderr, code := runHere(append([]string{"permissions"}, strings.Fields(tt.args)...)...)
		if code != cli.ExitOK {
			t.Errorf("%s: exit code %d: %s", tt.args, code, stderr)
		}
		for _, s := range tt.says {
			if !strings.Contains(stdout, s) {
				t.Errorf("%s: it does not print %s:\n%s", tt.args, s, stdout)
			}
		}
	}
}

// With nsc each account and user is made once, before anything is said of it.
func TestPermissionsMakeWhatTheyNeed(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnvironment(t)
	stdout, stderr, code := runHere("permissions", "-o", "nsc")
	if code != cli.ExitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	made := map[string]bool{}
	for line := range strings.Lines(stdout) {
		words := strings.Fields(line)
		if len(words) < 5 || words[0] != "nsc" {
			continue
		}
		what := words[2] + " " + words[4]
		if words[2] == "user" {
			what = "user " + words[6]
		}
		switch {
		case words[1] == "add" && (words[2] == "account" || words[2] == "user"):
			if made[what] {
				t.Errorf("%s is made twice", what)
			}
			made[what] = true
		case words[1] == "add": // an export or an import
			what = "account " + words[4]
			fallthrough
		default:
			if !made[what] {
				t.Errorf("%s is not made before %s", what, line)
			}
		}
		if words[2] == "user" && !made["account "+words[4]] {
			t.Errorf("account %s is not made before %s", words[4], line)
		}
	}
	for _, what := range []string{"account WAYBILL", "account WAYBILL_producer", "account WAYBILL_consumer", "user producer", "user consumer", "user worker", "user operator"} {
		if !made[what] {
			t.Errorf("%s is not made", what)
		}
	}
}

func TestPermissionsRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnvironment(t)
	for args, says := range map[string]string{
		"admin":                        `invalid argument "admin"`,
		"worker --queue Invoices":      "only a producer or a consumer can be narrowed",
		"consumer --folder -":          "give the folder's path",
		"producer --provision":         "only a worker provisions",
		"consumer --wait":              "only a producer waits",
		"producer --durable":           "only a consumer is live or has a durable",
		"consumer --durable --live":    "leave out one of them",
		"producer --queue A --process": "flag needs an argument",
		"producer --user a.b":          "use letters, digits",
		"producer --user a&id":         "use letters, digits",
		"producer --account a;id":      "use letters, digits",
		"producer --prefix a&id":       "use letters, digits",
		"--account $(id)":              "use letters, digits",
		"worker --change-streams":      "only an operator changes streams",
		"producer --prefix a.b":        "prefix",
		"producer -o yaml":             "use conf, nsc, json",
	} {
		_, stderr, code := runHere(append([]string{"permissions"}, strings.Fields(args)...)...)
		if code != cli.ExitUsage || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d, %q, want %d and %q", args, code, stderr, cli.ExitUsage, says)
		}
	}
}

// The prefix comes from the flag, then the environment, then the file; the
// tenants from wherever they are.
func TestPermissionsOfTheInstallation(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnvironment(t)
	if err := os.WriteFile(defaultFile, []byte("prefix: file\ntenants: [{name: One}, {url: https://cloud.uipath.com/o/Two/orchestrator_}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ environment, flag, want string }{
		{"", "", "file.outcomes.>"},
		{"environment", "", "environment.outcomes.>"},
		{"environment", "flag", "flag.outcomes.>"},
	} {
		t.Setenv("WAYBILL_PREFIX", tt.environment)
		stdout, stderr, code := runHere("permissions", "consumer", "-o", "json", "--prefix", tt.flag)
		var p pipeline.Permissions
		if err := json.Unmarshal([]byte(stdout), &p); err != nil || code != cli.ExitOK {
			t.Fatalf("exit code %d, %s, %v", code, stderr, err)
		}
		if got := p.Subscribe[1].Subject; got != tt.want {
			t.Errorf("subject %s, want %s", got, tt.want)
		}
		for _, tenant := range []string{"tracking_One_", "tracking_Two_"} {
			if !strings.Contains(stdout, tenant) {
				t.Errorf("the consumer of tenant %s is not denied", tenant)
			}
		}
	}
}

// What is printed for all roles is loaded by a NATS server as it stands, and
// the users can do their work with the passwords that stand there.
func TestPermissionsLoad(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnvironment(t)
	printed, stderr, code := runHere("permissions", "--provision")
	if code != cli.ExitOK {
		t.Fatal(stderr)
	}
	file := filepath.Join(t.TempDir(), "nats-server.conf")
	if err := os.WriteFile(file, []byte(printed), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	if len(opts.Users) != len(pipeline.Roles()) {
		t.Errorf("%d users, want %d", len(opts.Users), len(pipeline.Roles()))
	}
	s, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Accounts: printed})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the folder is the test's
	as := func(role string) jetstream.JetStream {
		password := regexp.MustCompile(`user: "` + role + `"\s+password: "([^"]+)"`).FindStringSubmatch(printed)
		if password == nil {
			t.Fatalf("no password of %s in\n%s", role, printed)
		}
		nc, err := s.Connect(nats.UserInfo(role, password[1]), nats.CustomInboxPrefix("_INBOX_"+role))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		api := jetstream.DefaultAPIPrefix
		if role == "consumer" {
			api = "uipath.api"
		}
		js, err := jetstream.NewWithAPIPrefix(nc, api)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	if err := pipeline.Provision(t.Context(), as("worker"), pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	if _, err := as("producer").Publish(t.Context(), "uipath.requests.Default.-.items.Invoices", []byte(`{"key":"INV-1","item":{}}`)); err != nil {
		t.Error(err)
	}
	if _, err := as("operator").Stream(t.Context(), "UIPATH_REQUESTS"); err != nil {
		t.Error(err)
	}
	if _, err := as("consumer").OrderedConsumer(t.Context(), "UIPATH_LEDGER", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"uipath.outcomes.>"}}); err != nil {
		t.Error(err)
	}
}

// For the first start the accounts are printed with --provision, as README and
// help say; without what stands under the reasons that name it, they are those
// that are printed otherwise, but for the passwords.
func TestPermissionsOfTheFirstStart(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	noEnvironment(t)
	help, _, _ := runHere("permissions", "--help")
	for where, text := range map[string]string{"README.md": string(readme), "--help": help} {
		if !strings.Contains(text, "\nworker permissions --provision > accounts.conf") && !strings.Contains(text, "\n  worker permissions --provision > accounts.conf") {
			t.Errorf("%s does not say how to print the accounts for the first start", where)
		}
	}
	first, _, _ := runHere("permissions", "--provision")
	later, _, _ := runHere("permissions")
	var rest []string
	removing := false
	for line := range strings.Lines(regexp.MustCompile(`password: .*`).ReplaceAllString(first, "")) {
		if text := strings.TrimSpace(line); !strings.HasPrefix(text, `"`) {
			removing = strings.HasPrefix(text, "#") && strings.Contains(text, "--provision")
		}
		if !removing {
			rest = append(rest, line)
		}
	}
	want := regexp.MustCompile(`password: .*|# The worker may not make the streams.*\n.*\n`).ReplaceAllString(later, "")
	if got := strings.Join(rest, ""); got != want || strings.Contains(got, "STREAM.CREATE") {
		t.Errorf("without what --provision adds it is\n%s\nwant\n%s", got, want)
	}
}

// A worker that lacks a right ends soon, says which and what would grant it,
// with the exit code for credentials: at the start, and later on.
func TestRunDenied(t *testing.T) {
	t.Parallel()
	without := func(p pipeline.Permissions, subject string) pipeline.Permissions {
		var rest []pipeline.Permission
		for _, one := range p.Publish {
			if !strings.Contains(one.Subject, subject) {
				rest = append(rest, one)
			}
		}
		p.Publish = rest
		return p
	}
	worker := permitted(t, pipeline.RoleWorker)
	for _, tt := range []struct {
		name      string
		user      pipeline.Permissions
		provision bool // beforehand
		args      []string
		says      []string
	}{
		{"a producer", permitted(t, pipeline.RoleProducer), true, nil, []string{"publish to $JS.API.STREAM.INFO.UIPATH_LEDGER", "`worker permissions worker`"}},
		{"a worker that is to make streams", worker, false, nil, []string{"publish to $JS.API.STREAM.CREATE.UIPATH_REQUESTS", "`worker permissions worker --provision`"}},
		{"no claims", without(worker, "claims"), true, nil, []string{"publish to uipath.claims.", "`worker permissions worker`"}},
		{"no direct gets", without(worker, "DIRECT.GET.UIPATH_LEDGER"), true, nil, []string{"publish to $JS.API.DIRECT.GET.UIPATH_LEDGER"}},
		{"no consumers, seen when a request comes", without(worker, "CONSUMER.CREATE.UIPATH_REQUESTS"), true, nil, []string{"publish to $JS.API.CONSUMER.CREATE.UIPATH_REQUESTS."}},
		{"no watch", without(worker, "CONSUMER.CREATE.KV"), true, nil, []string{"publish to $JS.API.CONSUMER.CREATE.KV_UIPATH_CONTROL"}},
		{"the common inbox", worker, true, []string{"--nats-inbox-prefix", "_INBOX"}, []string{"subscribe to _INBOX.", "set NATS_INBOX_PREFIX", "`worker permissions worker`"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, key := startGuarded(t, tt.user, tt.provision)
			args := []string{"run", "--config", unreachableTenant(t), "--drain", "1s", "--nats-url", url, "--nats-nkey", key, "--nats-inbox-prefix", tt.user.InboxPrefix}
			begin := time.Now()
			_, stderr, code := runHere(append(args, tt.args...)...)
			if took := time.Since(begin); took > 8*time.Second {
				t.Errorf("took %s: it waited for an answer that does not come", took)
			}
			if code != cli.ExitCredentials {
				t.Errorf("exit code %d, want %d", code, cli.ExitCredentials)
			}
			for _, s := range tt.says {
				if !strings.Contains(stderr, s) {
					t.Errorf("it does not say %q", s)
				}
			}
			if t.Failed() {
				t.Log(stderr)
			}
		})
	}
}

func permitted(t *testing.T, role pipeline.Role) pipeline.Permissions {
	t.Helper()
	p, err := pipeline.Topology{}.Permissions(role, pipeline.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// startGuarded runs a NATS server with one user beside its admin, and gives its
// URL and the file of the user's nkey. A request waits there.
func startGuarded(t *testing.T, user pipeline.Permissions, provision bool) (url, nkey string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	nkey = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(nkey, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("accounts { WAYBILL { jetstream: enabled, users: [{user: admin, password: secret}, {nkey: %s\n%s}] } }", public, user.Conf())
	s, err := embedded.Start(embedded.Options{StoreDir: t.TempDir(), Listen: true, Port: -1, Accounts: conf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if !provision {
		return s.URL(), nkey
	}
	nc, err := s.Connect(nats.UserInfo("admin", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := pipeline.Provision(t.Context(), js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "uipath.requests.Default.-.items.Invoices", []byte(`{"key":"INV-1","item":{}}`)); err != nil {
		t.Fatal(err)
	}
	return s.URL(), nkey
}

// unreachableTenant is a configuration with a tenant that nobody answers for,
// which does not keep a worker from starting.
func unreachableTenant(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file, token := filepath.Join(dir, "waybill.yaml"), filepath.Join(dir, "token")
	text := fmt.Sprintf("tenants: [{name: Default, url: 'http://127.0.0.1:1', patFile: %q}]\n", token)
	for name, text := range map[string]string{file: text, token: "token"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return file
}
