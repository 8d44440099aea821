package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// furnished is a simulated Orchestrator with something to discover.
func furnished(t *testing.T) *simulator.Server {
	t.Helper()
	sim := simulator.New(simulator.Config{Seed: 1})
	t.Cleanup(sim.Close)
	const clr = ", System.Private.CoreLib, Version=6.0.0.0, Culture=neutral, PublicKeyToken=7cec85d7bea7798e"
	_, err := sim.AddRelease("Shared", "Pay invoices", simulator.Release{
		ProcessKey: "Payments", Version: "1.2.0", InputArguments: `{"in_Date":"2026-01-31"}`,
		Inputs: []simulator.Argument{
			{Name: "in_Batch", Type: "System.Int32" + clr, Required: true},
			{Name: "in_Date", Type: "System.DateTime" + clr, HasDefault: true},
			{Name: "in_Table", Type: "System.Data.DataTable, System.Data.Common"},
		},
		Outputs: []simulator.Argument{{Name: "out_Paid", Type: "System.Boolean" + clr}},
	})
	_, err2 := sim.AddRelease("Finance/Claims v1.0", "Report")
	_, err3 := sim.AddQueue("Shared", simulator.Queue{Name: "Orders"})
	_, err4 := sim.AddQueue("Shared", simulator.Queue{Name: "Invoices", Unique: true, MaxRetries: 1, SchemaJSON: `{"type":"object"}`})
	_, err5 := sim.AddRobot("Shared", simulator.Robot{Name: "payer", Username: `ACME\payer`})
	_, err6 := sim.AddMachine("Shared", simulator.Machine{Name: "pool", Host: "HOST1", Runtimes: 4})
	if err := errors.Join(err, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	return sim
}

// printed looks through the tenants of the settings and prints what is there.
func printed(t *testing.T, c discoverCommand, s settings, transport http.RoundTripper) string {
	t.Helper()
	found, failures, err := c.discover(t.Context(), s, connected(t, s, transport))
	if err != nil || failures != nil {
		t.Fatal(err, failures)
	}
	var out bytes.Buffer
	if err := printFound(&out, c.output, s, found); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func connected(t *testing.T, s settings, transport http.RoundTripper) []pipeline.Tenant {
	t.Helper()
	tenants, err := s.connectTenants(surroundings{log: slog.New(slog.DiscardHandler), transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return tenants
}

func allRights() settings {
	s := simulatedSettings("http://simulator", "Shared")
	s.Tenants[0].Scopes = []string{"OR.Jobs", "OR.Queues", "OR.Execution", "OR.Folders.Read", "OR.Robots.Read"}
	return s
}

func TestDiscoverTable(t *testing.T) {
	t.Parallel()
	got := printed(t, discoverCommand{output: cli.FormatTable}, allRights(), furnished(t).RoundTripper())
	const want = `Tenant Default  http://simulator/demo/Default/orchestrator_

FOLDER               TYPE      ID      KEY
Finance              Standard  515117  447c6c78-fa17-476d-9d2f-99767c56712f
Finance/Claims v1.0  Standard  515118  a78ae355-8edd-41ed-86e8-eded79cbbb29
Shared               Standard  515116  c507a181-222b-443c-b93d-7988f8dad285

PROCESS       SUBJECT                                                        FOLDER               PACKAGE         INPUTS                                                 OUTPUTS           DEFAULTS
Report        uipath.requests.Default.Finance%2FClaims%20v1%2E0.jobs.Report  Finance/Claims v1.0  Report 1.0.0    -                                                      -                 -
Pay invoices  uipath.requests.Default.Shared.jobs.Pay%20invoices             Shared               Payments 1.2.0  in_Batch Int32*, in_Date DateTime, in_Table DataTable  out_Paid Boolean  {"in_Date":"2026-01-31"}
* must be given

QUEUE     SUBJECT                                        FOLDER  REFERENCES  RETRIES       SCHEMAS  SLA
Invoices  uipath.requests.Default.Shared.items.Invoices  Shared  unique      1, automatic  content  -
Orders    uipath.requests.Default.Shared.items.Orders    Shared  any         none          -        -

ROBOT  FOLDER  TYPE        USERNAME    MACHINE  ENABLED
payer  Shared  Unattended  ACME\payer  -        yes

MACHINE  FOLDER  HOST   RUNTIMES                STATUS
pool     Shared  HOST1  4 Unattended, 0 in use  Available
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, got)
	}
}

func TestDiscoverJSON(t *testing.T) {
	t.Parallel()
	got := printed(t, discoverCommand{output: cli.FormatJSON, folder: "/shared/"}, allRights(), furnished(t).RoundTripper())
	const want = `[
  {
    "tenant": "Default",
    "url": "http://simulator/demo/Default/orchestrator_",
    "folders": [
      {
        "path": "Shared",
        "key": "c507a181-222b-443c-b93d-7988f8dad285",
        "id": 515116,
        "type": "Standard",
        "processes": [
          {
            "name": "Pay invoices",
            "key": "90A583E1-C0E5-42BD-9974-F623414964E5",
            "packageId": "Payments",
            "version": "1.2.0",
            "inputs": [
              {
                "name": "in_Batch",
                "type": "Int32",
                "required": true,
                "hasDefault": false
              },
              {
                "name": "in_Date",
                "type": "DateTime",
                "required": false,
                "hasDefault": true
              },
              {
                "name": "in_Table",
                "type": "DataTable",
                "required": false,
                "hasDefault": false
              }
            ],
            "outputs": [
              {
                "name": "out_Paid",
                "type": "Boolean",
                "required": false,
                "hasDefault": false
              }
            ],
            "defaultInputs": {
              "in_Date": "2026-01-31"
            },
            "subject": "uipath.requests.Default.Shared.jobs.Pay%20invoices",
            "example": {
              "key": "example-1",
              "job": {
                "InputArguments": {
                  "in_Batch": 0,
                  "in_Date": "2026-01-31T00:00:00Z",
                  "in_Table": null
                }
              }
            }
          }
        ],
        "queues": [
          {
            "name": "Invoices",
            "key": "f0628889-f5a0-4800-be13-81151707a435",
            "uniqueReferences": true,
            "maxRetries": 1,
            "autoRetry": true,
            "schemas": {
              "content": {
                "type": "object"
              }
            },
            "slaMinutes": 0,
            "riskSlaMinutes": 0,
            "subject": "uipath.requests.Default.Shared.items.Invoices"
          },
          {
            "name": "Orders",
            "key": "3d3b6547-64fc-4a64-a37a-a07c17fa471d",
            "uniqueReferences": false,
            "maxRetries": 0,
            "autoRetry": false,
            "schemas": {},
            "slaMinutes": 0,
            "riskSlaMinutes": 0,
            "subject": "uipath.requests.Default.Shared.items.Orders"
          }
        ],
        "robots": [
          {
            "name": "payer",
            "username": "ACME\\payer",
            "type": "Unattended",
            "machine": "",
            "enabled": true
          }
        ],
        "machines": [
          {
            "name": "pool",
            "host": "HOST1",
            "runtimeType": "Unattended",
            "runtimes": 4,
            "usedRuntimes": 0,
            "status": "Available"
          }
        ]
      }
    ]
  }
]
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, got)
	}
	lines := printed(t, discoverCommand{output: cli.FormatJSONL}, allRights(), furnished(t).RoundTripper())
	var one tenantFound
	if err := json.Unmarshal([]byte(lines), &one); err != nil || strings.Count(lines, "\n") != 1 || len(one.Folders) != 3 {
		t.Errorf("as lines: %v\n%s", err, lines)
	}
}

func TestDiscoverYAML(t *testing.T) {
	t.Parallel()
	s := allRights()
	s.Prefix = "acme"
	got := printed(t, discoverCommand{output: formatYAML}, s, furnished(t).RoundTripper())
	const want = `prefix: acme
tenants:
  - name: Default
    url: http://simulator/demo/Default/orchestrator_
    clientId: simulated
    scopes:
    - OR.Jobs
    - OR.Queues
    - OR.Execution
    - OR.Folders.Read
    - OR.Robots.Read
    folder:
      key: c507a181-222b-443c-b93d-7988f8dad285
    # clientSecretFile: …   or UIPATH_CLIENT_SECRET in the environment, as now
    # - in subjects means the folder Shared
    # itemIds: ["Invoices", "Orders"]   those whose outcomes need the items' ids; they are added one by one
    #
    # folder Finance, key 447c6c78-fa17-476d-9d2f-99767c56712f, id 515117
    #
    # folder Finance/Claims v1.0, key a78ae355-8edd-41ed-86e8-eded79cbbb29, id 515118
    #   process Report (no parameters known)
    #     acme.requests.Default.Finance%2FClaims%20v1%2E0.jobs.Report
    #
    # folder Shared, key c507a181-222b-443c-b93d-7988f8dad285, id 515116
    #   queue Invoices (references: unique, retries: 1, automatic)
    #     acme.requests.Default.Shared.items.Invoices
    #   queue Orders (references: any, retries: none)
    #     acme.requests.Default.Shared.items.Orders
    #   process Pay invoices (in_Batch Int32*, in_Date DateTime, in_Table DataTable)
    #     acme.requests.Default.Shared.jobs.Pay%20invoices
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, got)
	}
}

// Where no folder is set it is left to whoever edits the file, who finds it once.
func TestDiscoverYAMLWithoutFolder(t *testing.T) {
	t.Parallel()
	got := printed(t, discoverCommand{output: formatYAML}, simulatedSettings("http://simulator", ""), furnished(t).RoundTripper())
	if !strings.Contains(got, "\n    # folder: {key: …}   what - means in subjects") || strings.Contains(got, "\n    folder:") {
		t.Errorf("got\n%s", got)
	}
}

// What the login may not read is told, and the rest shown.
func TestDiscoverWithoutRights(t *testing.T) {
	t.Parallel()
	s := simulatedSettings("http://simulator", "Shared")
	s.Tenants[0].Scopes = []string{"OR.Folders.Read", "OR.Queues.Read"}
	sim := furnished(t)
	found, failures, err := (&discoverCommand{}).discover(t.Context(), s, connected(t, s, sim.RoundTripper()))
	if err != nil || failures != nil {
		t.Fatal(err, failures)
	}
	lacks := func(scope, permissions string) string {
		return "the login lacks a right: give the application the scope " + scope + ", or where its rights go by roles (OR.Default, users) a role with " + permissions + ", in the tenant and the folder concerned"
	}
	const ask = `; and have the login ask for that scope, by UIPATH_SCOPE="OR.Jobs OR.Queues OR.Execution OR.Folders.Read OR.Robots.Read" or scopes`
	want := []string{
		"every folder: processes cannot be listed: " + lacks("OR.Execution", "Processes.View"),
		"every folder: robots cannot be listed: " + lacks("OR.Robots.Read", "SubFolders.View, Units.View, Jobs.Create or Users.View") + ask,
		"every folder: machines cannot be listed: " + lacks("OR.Robots.Read", "Machines.View or Jobs.Create") + ask,
	}
	if diff := cmp.Diff(want, notesOf(found[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	shared := found[0].Folders[2]
	if shared.Path != "Shared" || len(shared.Queues) != 2 || shared.Processes != nil || shared.Robots != nil || shared.Machines != nil {
		t.Errorf("got %+v", shared)
	}

	s.Tenants[0].Scopes = []string{"OR.Queues.Read"}
	_, failures, err = (&discoverCommand{}).discover(t.Context(), s, connected(t, s, sim.RoundTripper()))
	if err != nil || len(failures) != 1 {
		t.Fatal(err, failures)
	}
	wantCode(t, failures[0], cli.ExitCredentials, "tenant Default: list folders: 403 Forbidden", "give the application the scope OR.Folders.Read", "where scopes (UIPATH_SCOPE) are set, that scope must be among them")
	if got := strings.Count(failures[0].Error(), "OR.Folders.Read"); got != 1 {
		t.Errorf("it says %d times what to give: %v", got, failures[0])
	}
}

// A login that sees no folder can do nothing there: it is a failure, and the
// tenant is shown all the same.
func TestDiscoverNoFolder(t *testing.T) {
	t.Parallel()
	sim := simulator.New(simulator.Config{Seed: 1})
	t.Cleanup(sim.Close)
	s := allRights()
	found, failures, err := (&discoverCommand{}).discover(t.Context(), s, connected(t, s, sim.RoundTripper()))
	if err != nil || len(failures) != 1 {
		t.Fatal(err, failures)
	}
	wantCode(t, failures[0], cli.ExitCredentials, "tenant Default: the login sees no folder: assign its application or user to the folders concerned")
	if len(found) != 1 || found[0].Tenant != "Default" || len(found[0].Notes) > 0 {
		t.Errorf("got %+v", found)
	}
	_, _, err = (&discoverCommand{folder: "Nowhere"}).discover(t.Context(), s, connected(t, s, sim.RoundTripper()))
	wantCode(t, err, cli.ExitUsage, `--folder "Nowhere": there is no such folder`)
}

func wantCode(t *testing.T, err error, code cli.Code, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*cli.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got %v, want exit code %d", err, code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to have %q", err, part)
		}
	}
}

// changed answers some calls by itself and hands the others on.
type changed struct {
	http.RoundTripper
	answer func(*http.Request) *http.Response
}

func (c changed) RoundTrip(r *http.Request) (*http.Response, error) {
	if answer := c.answer(r); answer != nil {
		return answer, nil
	}
	return c.RoundTripper.RoundTrip(r)
}

func jsonAnswer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

// One folder that is not permitted does not hide the others.
func TestDiscoverFolderRefused(t *testing.T) {
	t.Parallel()
	sim := furnished(t)
	refused := sim.AddFolder("Finance/Claims v1.0")
	transport := changed{sim.RoundTripper(), func(r *http.Request) *http.Response {
		if r.Header.Get("X-Uipath-Organizationunitid") != "515118" {
			return nil
		}
		return jsonAnswer(http.StatusForbidden, `{"message":"Folder does not exist or the user does not have access to the folder.","errorCode":1100}`)
	}}
	if refused.ID != 515118 {
		t.Fatalf("the folder has id %d", refused.ID)
	}
	found, failures, err := (&discoverCommand{}).discover(t.Context(), allRights(), connected(t, allRights(), transport))
	if err != nil || failures != nil {
		t.Fatal(err, failures)
	}
	want := []string{"Finance/Claims v1.0: not permitted, or gone: Folder does not exist or the user does not have access to the folder."}
	if diff := cmp.Diff(want, notesOf(found[0])); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if shared := found[0].Folders[2]; len(shared.Queues) != 2 || len(shared.Robots) != 1 {
		t.Errorf("got %+v", shared)
	}
}

// A tenant that fails on the way is no tenant half shown.
func TestDiscoverBreaksOff(t *testing.T) {
	t.Parallel()
	transport := changed{furnished(t).RoundTripper(), func(r *http.Request) *http.Response {
		if !strings.Contains(r.URL.Path, "GetRobotsFromFolder") {
			return nil
		}
		return jsonAnswer(http.StatusInternalServerError, `{"message":"An error has occurred."}`)
	}}
	found, failures, err := (&discoverCommand{}).discover(t.Context(), allRights(), connected(t, allRights(), transport))
	if err != nil || found != nil || len(failures) != 1 {
		t.Fatal(found, failures, err)
	}
	wantCode(t, failures[0], cli.ExitUnreachable, "tenant Default: folder ", "list robots: 500")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errClosed)
	if _, _, err := (&discoverCommand{}).discover(ctx, allRights(), connected(t, allRights(), transport)); !errors.Is(err, errClosed) {
		t.Errorf("canceled: got %v", err)
	}
}

// Names come from others: they stay within their line and their comment.
func TestDiscoverHostileNames(t *testing.T) {
	t.Parallel()
	const name = "a\nprefix: evil\u2028b\u0085c\x1b[2J"
	sim := furnished(t)
	if _, err := sim.AddQueue("Shared", simulator.Queue{Name: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := sim.AddRelease("Shared", name, simulator.Release{Inputs: []simulator.Argument{{Name: name}, {Name: name}}}); err != nil {
		t.Fatal(err)
	}
	text := printed(t, discoverCommand{output: formatYAML}, allRights(), sim.RoundTripper())
	s, err := parseSettings([]byte(text))
	if err != nil || s.Prefix != "" || len(s.Tenants) != 1 || len(s.Tenants[0].ItemIDs) != 0 {
		t.Errorf("got %+v, %v\n%s", s, err, text)
	}
	for _, text := range []string{text, printed(t, discoverCommand{output: cli.FormatTable}, allRights(), sim.RoundTripper())} {
		if strings.ContainsAny(text, "\u2028\u0085\x1b") || strings.Contains(text, "\nprefix") {
			t.Errorf("got %q", text)
		}
	}
	one := printed(t, discoverCommand{output: cli.FormatJSON}, allRights(), sim.RoundTripper())
	if !json.Valid([]byte(one)) {
		t.Error("the JSON is none")
	}
}

func TestDiscoverLegacy(t *testing.T) {
	t.Parallel()
	sim := furnished(t)
	transport := changed{sim.RoundTripper(), func(r *http.Request) *http.Response {
		switch {
		case r.URL.Host != "legacy.example.net":
			return nil
		case r.URL.Path == "/cloudrpa/api/getAccountsForUser":
			return jsonAnswer(http.StatusOK, `{"accounts":[{"accountName":"Acme Inc","accountLogicalName":"acme"},{"accountName":"Shut","accountLogicalName":"shut"}]}`)
		case r.URL.Path == "/cloudrpa/api/account/acme/getAllServiceInstances":
			return jsonAnswer(http.StatusOK, `[{"serviceInstanceName":"Prod","serviceInstanceLogicalName":"prod","serviceType":"ORCHESTRATOR","serviceUrl":"https://legacy.example.net/acme/prod","serviceState":"ENABLED"}]`)
		}
		return jsonAnswer(http.StatusForbidden, `{"message":"You are not authorized!"}`)
	}}
	s := allRights()
	s.Tenants[0].DiscoveryURL = "https://legacy.example.net"
	got := printed(t, discoverCommand{output: cli.FormatTable, folder: "Finance"}, s, transport)
	const want = `Tenant Default  http://simulator/demo/Default/orchestrator_

ACCOUNT   LOGICAL NAME  SERVICES
Acme Inc  acme          prod (ORCHESTRATOR, ENABLED) https://legacy.example.net/acme/prod
Shut      shut          -

FOLDER               TYPE      ID      KEY
Finance              Standard  515117  447c6c78-fa17-476d-9d2f-99767c56712f
Finance/Claims v1.0  Standard  515118  a78ae355-8edd-41ed-86e8-eded79cbbb29

PROCESS  SUBJECT                                                        FOLDER               PACKAGE       INPUTS  OUTPUTS  DEFAULTS
Report   uipath.requests.Default.Finance%2FClaims%20v1%2E0.jobs.Report  Finance/Claims v1.0  Report 1.0.0  -       -        -

Notes:
  no right to read accounts: the discovery service refuses this login
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, got)
	}
}

// What the discovery service thinks of the login keeps nobody from the folders.
func TestDiscoverLegacyUnauthorized(t *testing.T) {
	t.Parallel()
	transport := changed{furnished(t).RoundTripper(), func(r *http.Request) *http.Response {
		if r.URL.Host != "legacy.example.net" {
			return nil
		}
		return jsonAnswer(http.StatusUnauthorized, `{"message":"You are not authenticated!"}`)
	}}
	s := allRights()
	s.Tenants[0].DiscoveryURL = "https://legacy.example.net"
	got := printed(t, discoverCommand{output: cli.FormatTable, folder: "Finance"}, s, transport)
	for _, want := range []string{"\nFinance              Standard", "\nNotes:\n  accounts cannot be listed: the discovery service refuses this login\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
