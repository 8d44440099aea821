package doctor_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

func TestTenantAllWell(t *testing.T) {
	t.Parallel()
	server, js := installation(t)
	provision(t, js)
	sim := simulated(t, simulator.Config{})
	findings := look(t, server, tenantAt(t, sim))
	if got := code(findings); got != cli.ExitOK {
		t.Errorf("got exit code %d", got)
	}
	for _, f := range findings {
		if f.Mark != doctor.OK && f.Check != "sync interval" { // which nobody has told the way to
			t.Errorf("%s %s: %s", f.Mark, f.Check, f)
		}
	}
	expect(t, findings, doctor.OK, "rights", "a worker that lacks one of the others ends and names it: uipath.outcomes.>, ")
	for _, check := range []string{
		"URL", "name", "connection", "TLS", "answer", "login", "scopes", "read folders", "default folder", "read processes", "read queues",
		"list queue items", "list jobs", "add queue items", "add queue items in bulk", "start jobs", "clock", "clock against NATS", "list reads",
	} {
		if n := lines(findings, "tenant Default", check); n != 1 {
			t.Errorf("%d lines on %s, want one", n, check)
		}
	}
	want := map[string]int{"AddQueueItem": 1, "BulkAddQueueItems": 1, "StartJobs": 1, "QueueItems": 1, "Jobs": 1}
	for operation, n := range want {
		if got := sim.Calls()[operation]; got != n {
			t.Errorf("%s was called %d times, want %d", operation, got, n)
		}
	}
	noEffects(t, sim)
}

// lines counts those of a check.
func lines(findings []doctor.Finding, where, check string) (n int) {
	for _, f := range findings {
		if f.Where == where && f.Check == check {
			n++
		}
	}
	return n
}

func noEffects(t *testing.T, sim *simulator.Server) {
	t.Helper()
	if effects := sim.Effects(); len(effects) > 0 {
		t.Errorf("the doctor has done something: %v", effects)
	}
}

// Whatever Orchestrator does with what it is asked to try, nothing comes of it.
func TestTrialsHaveNoEffect(t *testing.T) {
	t.Parallel()
	for _, kind := range []simulator.FaultKind{simulator.CutAfter, simulator.ErrorAfter, simulator.Late, simulator.HTML, simulator.GatewayTimeoutAfter, simulator.Throttle} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			sim := simulated(t, simulator.Config{Faults: simulator.Faults{Rate: 1, Kinds: []simulator.FaultKind{kind}, LateBy: time.Millisecond}})
			look(t, noNATS(), tenantAt(t, sim))
			noEffects(t, sim)
		})
	}
}

func TestTrialsLeftOut(t *testing.T) {
	t.Parallel()
	sim := simulated(t, simulator.Config{})
	tenant := tenantAt(t, sim)
	tenant.NoListReads, tenant.NoWrites = true, true
	findings := look(t, noNATS(), tenant)
	for _, check := range []string{"list queue items", "list jobs", "add queue items", "add queue items in bulk", "start jobs"} {
		expect(t, findings, doctor.Skip, check, "not tried (--no-")
	}
	for _, operation := range []string{"AddQueueItem", "BulkAddQueueItems", "StartJobs", "QueueItems", "Jobs"} {
		if got := sim.Calls()[operation]; got != 0 {
			t.Errorf("%s was called %d times", operation, got)
		}
	}
}

// One permission at a time is taken away, by roles.
func TestMissingPermission(t *testing.T) {
	t.Parallel()
	for operation, check := range map[string]string{
		"Releases": "read processes", "QueueDefinitions": "read queues", "QueueItems": "list queue items", "Jobs": "list jobs",
		"AddQueueItem": "add queue items", "BulkAddQueueItems": "add queue items in bulk", "StartJobs": "start jobs", "Folders": "read folders",
	} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			sim := simulated(t, simulator.Config{Denied: []string{operation}})
			findings := look(t, noNATS(), tenantAt(t, sim))
			if diff := cmp.Diff([]string{check}, failures(findings, "tenant Default")); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			expect(t, findings, doctor.Fail, check, "give the login the scope OR.")
			noEffects(t, sim)
		})
	}
}

// One scope at a time is not asked for.
func TestMissingScope(t *testing.T) {
	t.Parallel()
	all := []string{"OR.Folders.Read", "OR.Queues.Read", "OR.Queues.Write", "OR.Jobs.Read", "OR.Jobs.Write", "OR.Execution.Read"}
	fails := map[string][]string{
		"OR.Folders.Read":   {"scopes", "read folders"},
		"OR.Queues.Read":    {"scopes", "read queues", "list queue items"},
		"OR.Queues.Write":   {"scopes", "add queue items", "add queue items in bulk"},
		"OR.Jobs.Read":      {"scopes", "list jobs"},
		"OR.Jobs.Write":     {"scopes", "start jobs"},
		"OR.Execution.Read": {"scopes", "read processes"},
		"":                  nil,
	}
	for missing, want := range fails {
		t.Run("without "+missing, func(t *testing.T) {
			t.Parallel()
			scopes := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == missing })
			sim := simulated(t, simulator.Config{})
			tenant := tenantAt(t, sim)
			tenant.Config.Login = orchestrator.ClientCredentials{ClientID: "id", ClientSecret: secret, Scopes: scopes}
			findings := look(t, noNATS(), tenant)
			if diff := cmp.Diff(want, failures(findings, "tenant Default")); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			if missing != "" {
				expect(t, findings, doctor.Fail, "scopes", "add "+missing)
			}
			noEffects(t, sim)
		})
	}
}

func TestRolesDecide(t *testing.T) {
	t.Parallel()
	tenant := tenantAt(t, simulated(t, simulator.Config{}))
	tenant.Config.Login = orchestrator.ClientCredentials{ClientID: "id", ClientSecret: secret, Scopes: []string{"OR.Default"}}
	expect(t, look(t, noNATS(), tenant), doctor.OK, "scopes", "the roles in the folder decide")
}

func TestTenantFaults(t *testing.T) {
	t.Parallel()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html><title>Sign in</title></html>")
	}))
	t.Cleanup(html.Close)
	for _, test := range []struct {
		name   string
		change func(*doctor.Tenant)
		usedUp bool // the one list call that the simulator answers
		sim    simulator.Config
		code   cli.Code // of the tenant alone
		mark   doctor.Mark
		check  string
		text   string
	}{
		{
			name: "wrong secret", code: cli.ExitCredentials, mark: doctor.Fail, check: "login", text: "UIPATH_CLIENT_SECRET_FILE",
			change: func(l *doctor.Tenant) {
				l.Config.Login = orchestrator.ClientCredentials{ClientID: "id", ClientSecret: "wrong"}
			},
		},
		{
			name: "wrong personal access token", sim: simulator.Config{PersonalAccessToken: "rt_right"}, code: cli.ExitCredentials,
			mark: doctor.Fail, check: "read folders", text: "401 Unauthorized: You are not authenticated!",
			change: func(l *doctor.Tenant) { l.Config.Login = orchestrator.PersonalAccessToken("rt_wrong") },
		},
		{
			name: "personal access token", sim: simulator.Config{PersonalAccessToken: "rt_right"}, mark: doctor.OK, check: "login", text: "which the calls below try",
			change: func(l *doctor.Tenant) { l.Config.Login = orchestrator.PersonalAccessToken("rt_right") },
		},
		{
			name: "wrong folder", code: cli.ExitUsage, mark: doctor.Fail, check: "default folder", text: "correct UIPATH_FOLDER_PATH",
			change: func(l *doctor.Tenant) { l.Folder = orchestrator.FolderRef{Path: "Nowhere"} },
		},
		{
			name: "no folder", mark: doctor.Warn, check: "default folder", text: "set UIPATH_FOLDER_PATH",
			change: func(l *doctor.Tenant) { l.Folder = orchestrator.FolderRef{} },
		},
		{
			name: "folder by id", mark: doctor.Warn, check: "default folder", text: "set UIPATH_FOLDER_KEY",
			change: func(l *doctor.Tenant) { l.Folder = orchestrator.FolderRef{ID: 515116} },
		},
		{
			name: "HTML in place of answers", code: cli.ExitCredentials, mark: doctor.Fail, check: "login", text: `a page titled "Sign in"`,
			change: func(l *doctor.Tenant) { *l = tenantOf(html.URL) },
		},
		{
			name: "a port that nobody listens on", code: cli.ExitUnreachable, mark: doctor.Fail, check: "connection", text: "correct host and port in UIPATH_URL",
			change: func(l *doctor.Tenant) { *l = tenantOf("http://127.0.0.1:1") },
		},
		{
			name: "a name that is none", code: cli.ExitUnreachable, mark: doctor.Fail, check: "name", text: "correct the host in UIPATH_URL",
			change: func(l *doctor.Tenant) { *l = tenantOf("http://no..where") },
		},
		{
			name: "a URL that is none", code: cli.ExitUsage, mark: doctor.Fail, check: "URL", text: "correct UIPATH_URL",
			change: func(l *doctor.Tenant) { l.Config.BaseURL = "cloud" },
		},
		{
			name: "no login in the settings", code: cli.ExitCredentials, mark: doctor.Fail, check: "login", text: "no secret",
			change: func(l *doctor.Tenant) {
				l.LoginFault, l.LoginMend = cli.Errorf(cli.ExitCredentials, "no secret"), "set it"
			},
		},
		{
			name: "a login that is kept where nothing is reached", mark: doctor.Skip, check: "login", text: "mend NATS first",
			change: func(l *doctor.Tenant) { l.LoginAfter = "NATS" },
		},
		{name: "a clock ahead", sim: simulator.Config{ClockSkew: time.Hour}, mark: doctor.Warn, check: "clock", text: "ahead of this machine's"},
		{name: "a clock behind", sim: simulator.Config{ClockSkew: -time.Hour}, mark: doctor.Warn, check: "clock", text: "behind this machine's"},
		{
			name: "no list reads left", sim: simulator.Config{ListReadsPerMinute: 1}, code: cli.ExitUnreachable, mark: doctor.Warn, check: "list reads", text: "refused 1 call just now",
			usedUp: true,
		},
		{
			name: "more list reads than there are", mark: doctor.Warn, check: "list reads", text: "lower listReadsPerMinute",
			change: func(l *doctor.Tenant) { l.ListReads = 200 },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sim := simulated(t, test.sim)
			tenant := tenantAt(t, sim)
			if test.change != nil {
				test.change(&tenant)
			}
			if test.usedUp {
				useUp(t, tenant)
			}
			findings := look(t, noNATS(), tenant)
			expect(t, findings, test.mark, test.check, test.text)
			if got := code(ofTenants(findings)); got != test.code {
				t.Errorf("got exit code %d, want %d", got, test.code)
			}
			noEffects(t, sim)
		})
	}
}

// A token that nobody takes any more is renewed in the middle of a call: what
// the identity server says then is about the login, not about the call.
func TestLoginRefusedInACall(t *testing.T) {
	t.Parallel()
	sim := simulated(t, simulator.Config{})
	tenant := tenantAt(t, sim)
	tenant.Config.Login = orchestrator.ClientCredentials{ClientID: "id", ClientSecret: secret}
	tenant.Config.Transport = &takesBack{}
	findings := look(t, noNATS(), tenant)
	expect(t, findings, doctor.Fail, "read folders", "the login is refused: ")
	expect(t, findings, doctor.Fail, "read folders", "invalid_client")
	expect(t, findings, doctor.Skip, "default folder", "mend the login first")
}

// takesBack answers the first call for a token, and refuses everything else.
type takesBack struct{ given atomic.Bool }

func (b *takesBack) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !strings.HasSuffix(r.URL.Path, "/connect/token"):
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"You are not authenticated!"}`)
	case b.given.CompareAndSwap(false, true):
		fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":3600}`)
	default:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_client"}`)
	}
	return w.Result(), nil
}

func useUp(t *testing.T, l doctor.Tenant) {
	t.Helper()
	client, err := orchestrator.New(l.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for _, err := range client.Jobs(t.Context(), orchestrator.Folder{ID: 515116}, orchestrator.Query{Top: 1, Limit: 1}) {
		t.Fatal(err) // there are none
	}
}

// Tenants are looked at together, and told in the order of the settings.
func TestOrder(t *testing.T) {
	t.Parallel()
	var tenants []doctor.Tenant
	var want []string
	for _, name := range []string{"Slow", "Down", "Quick"} {
		cfg := simulator.Config{}
		if name == "Slow" {
			cfg.Faults.Latency = 20 * time.Millisecond
		}
		tenant := tenantAt(t, simulated(t, cfg))
		if name == "Down" {
			tenant = tenantOf("http://127.0.0.1:1")
		}
		tenant.Name = name
		tenants, want = append(tenants, tenant), append(want, "tenant "+name)
	}
	var got []string
	for _, f := range look(t, noNATS(), tenants...) {
		if strings.HasPrefix(f.Where, "tenant") {
			got = append(got, f.Where)
		}
	}
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
