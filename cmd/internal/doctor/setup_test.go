package doctor_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
)

const secret = "s3cr3t-of-the-tests"

// timeout is what a check of the tests may take: none of them waits for it but
// those in which something does not answer.
const timeout = 20 * time.Second

// noNATS is for tests of tenants.
func noNATS() doctor.Server {
	return doctor.Server{Timeout: timeout, Provision: true, Connect: func(context.Context) (*nats.Conn, error) {
		return nil, cli.Errorf(cli.ExitUnreachable, "no NATS server answers")
	}}
}

// installation is JetStream with what worker run makes in it.
func installation(t *testing.T) (doctor.Server, jetstream.JetStream) {
	t.Helper()
	js, server := servertest.JetStream(t)
	return doctor.Server{
		Timeout: timeout, Provision: true, Tenants: []string{"Default"},
		Connect: func(context.Context) (*nats.Conn, error) { return server.Connect() },
	}, js
}

func provision(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	if err := pipeline.Provision(t.Context(), js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
}

// simulated is an Orchestrator with a queue and a process.
func simulated(t *testing.T, cfg simulator.Config) *simulator.Server {
	t.Helper()
	cfg.ClientID, cfg.ClientSecret = "id", secret
	sim := simulator.New(cfg)
	t.Cleanup(sim.Close)
	_, err := sim.AddQueue("Shared", simulator.Queue{Name: "Invoices", Unique: true})
	_, err2 := sim.AddRelease("Shared", "Pay invoices")
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return sim
}

// tenantAt is a tenant of a simulated Orchestrator on a port.
func tenantAt(t *testing.T, sim *simulator.Server) doctor.Tenant {
	t.Helper()
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return tenantOf(server.URL)
}

func tenantOf(host string) doctor.Tenant {
	return doctor.Tenant{
		Name: "Default", Folder: orchestrator.FolderRef{Path: "Shared"}, ListReads: pipeline.DefaultListReads, Timeout: timeout,
		Secrets: "UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET_FILE",
		Config: orchestrator.Config{
			BaseURL: host + "/demo/Default/orchestrator_", Login: orchestrator.ClientCredentials{ClientID: "id", ClientSecret: secret},
		},
	}
}

// look runs the checks, and holds the report against what is true of all of
// them.
func look(t *testing.T, s doctor.Server, tenants ...doctor.Tenant) []doctor.Finding {
	t.Helper()
	findings := doctor.Run(t.Context(), s, func(jetstream.JetStream) []doctor.Tenant { return tenants })
	for _, f := range findings {
		if (f.Mark == doctor.OK) != (f.Mend == "") {
			t.Errorf("what is not ok, and nothing else, says what to change: %+v", f)
		}
		if (f.Mark == doctor.Fail) != (f.Code != cli.ExitOK) {
			t.Errorf("what failed, and nothing else, has an exit code: %+v", f)
		}
		if f.Where == "" || f.Check == "" || f.Found == "" || strings.Contains(f.String(), "\n") {
			t.Errorf("not a line: %+v", f)
		}
		if strings.Contains(f.String(), secret) {
			t.Errorf("a secret is shown: %+v", f)
		}
	}
	return findings
}

// expect finds a line in the report.
func expect(t *testing.T, findings []doctor.Finding, mark doctor.Mark, check, text string) {
	t.Helper()
	for _, f := range findings {
		if f.Mark == mark && f.Check == check && strings.Contains(f.String(), text) {
			return
		}
	}
	t.Errorf("no line %q, %s, with %q", mark, check, text)
	for _, f := range findings {
		if f.Check == check || f.Mark == doctor.Fail {
			t.Logf("%s  %s  %s", f.Mark, f.Check, f)
		}
	}
}

// code is the exit code of a report.
func code(findings []doctor.Finding) cli.Code {
	err := doctor.Summary(findings)
	if e, ok := errors.AsType[*cli.Error](err); ok {
		return e.Code
	}
	return cli.ExitOK
}

// failures gives the tenant's lines that failed.
func failures(findings []doctor.Finding, where string) []string {
	var lines []string
	for _, f := range findings {
		if f.Mark == doctor.Fail && f.Where == where {
			lines = append(lines, f.Check)
		}
	}
	return lines
}

// ofTenants leaves out what is about NATS.
func ofTenants(findings []doctor.Finding) []doctor.Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f doctor.Finding) bool { return f.Where == "NATS" })
}
