package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/tokens"
)

// The command as a whole: environment, files, exit codes.
func TestDiscoverCommand(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	sim := furnished(t)
	server := httptest.NewServer(sim)
	defer server.Close()
	const secretText = "s3cr3t-of-the-tests"
	good := server.URL + "/demo/Default/orchestrator_"
	files := map[string]string{"secret": secretText + "\n", "two.yaml": `tenants:
  - {name: Default, url: ` + good + `, clientId: id, clientSecretFile: secret}
  - {name: Down, url: http://127.0.0.1:1, clientId: id, clientSecretFile: secret}
  - {name: Poor, url: ` + good + `, clientId: id, clientSecretFile: secret, scopes: [OR.Jobs]}
`, "legacy.yaml": `tenants: [{name: Old, url: ` + good + `, clientId: id, clientSecretFile: secret, discoveryUrl: "https://platform.uipath.com/cloudrpa"}]`}
	for _, test := range []struct { //nolint:paralleltest // the same
		name   string
		args   string
		env    []string
		code   cli.Code
		stdout []string
		stderr []string
	}{
		{name: "nothing set", code: cli.ExitUsage, stderr: []string{"worker: no Orchestrator to call: set UIPATH_URL"}},
		{name: "nothing set, and a tenant", args: "Default", code: cli.ExitUsage, stderr: []string{"no Orchestrator to call"}},
		{name: "environment", env: []string{"UIPATH_URL=" + good, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=" + secretText}, stdout: []string{"\nQUEUE ", "  uipath.requests.Default.Shared.items.Invoices  ", "every folder: robots cannot be listed: the login lacks a right: give the application the scope OR.Robots.Read"}},
		{name: "all tenants of a file", args: "--config two.yaml -o json", code: cli.ExitCredentials, stdout: []string{`"tenant": "Default"`}, stderr: []string{"tenant Down: list folders: ", "tenant Poor: list folders: 403 Forbidden", "worker: 2 of 3 tenants could not be looked through"}},
		{name: "one that is down", args: "Down --config two.yaml", code: cli.ExitUnreachable, stderr: []string{"worker: tenant Down: list folders: "}},
		{name: "one that is up", args: "Default --config two.yaml -o jsonl", stdout: []string{`{"tenant":"Default"`}},
		{name: "one that is not there", args: "Third --config two.yaml", code: cli.ExitUsage, stderr: []string{"no tenant \"Third\" in the settings: name one of [\"Default\" \"Down\" \"Poor\"]"}},
		{name: "a folder that is not there", args: "Default --config two.yaml --folder Nowhere", code: cli.ExitUsage, stderr: []string{`--folder "Nowhere": there is no such folder`}},
		{name: "a folder and what is below", args: "Default --config two.yaml --folder finance -o json", stdout: []string{`"path": "Finance"`, `"path": "Finance/Claims v1.0"`}},
		{name: "YAML names the file", env: []string{"UIPATH_URL=" + good, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET_FILE=secret"}, args: "-o yaml", stdout: []string{"    clientSecretFile: secret\n"}},
		{name: "a discovery service that is gone", args: "--config legacy.yaml", code: cli.ExitUsage, stderr: []string{"tenant Old: list accounts: ", "points at a retired service"}},
		{name: "no such form", args: "-o xml", code: cli.ExitUsage, stderr: []string{"use table, json, jsonl, yaml"}},
		{name: "two tenants", args: "a b", code: cli.ExitUsage, stderr: []string{"accepts at most 1 arg"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFolder(t, files, test.env...)
			stdout, stderr, code := runWorker(t, append([]string{"discover"}, strings.Fields(test.args)...)...)
			if code != int(test.code) {
				t.Errorf("got exit code %d, want %d", code, test.code)
			}
			for _, want := range test.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout lacks %q", want)
				}
			}
			for _, want := range test.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q", want)
				}
			}
			if strings.Contains(stdout+stderr, secretText) {
				t.Error("the secret is printed")
			}
			if test.stdout == nil && stdout != "" || t.Failed() {
				t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
			}
		})
	}
}

func runWorker(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetErr(&errs)
	code = cli.Run(root, args)
	return out.String(), errs.String(), code
}

// What is printed as YAML is what worker run loads.
func TestDiscoveredYAMLLoads(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	sim := furnished(t)
	server := httptest.NewServer(sim)
	defer server.Close()
	good := server.URL + "/demo/Default/orchestrator_"
	inFolder(t, map[string]string{"secret": "s\n"}, "WAYBILL_PREFIX=acme", "UIPATH_URL="+good, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET_FILE=secret", "UIPATH_FOLDER_PATH=shared")
	text, stderr, code := runWorker(t, "discover", "-o", "yaml")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, name := range settingVariables {
		t.Setenv(name, "")
	}
	if err := os.WriteFile("found.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadSettings("found.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	shared := sim.AddFolder("Shared")
	want := settings{Prefix: "acme", Tenants: []tenant{{
		Name: cli.DefaultTenant, URL: good, ClientID: "id", ClientSecretFile: "secret", secrets: secrets{loginApplication: "s"}, Folder: folder{Key: shared.Key},
	}}}
	if diff := cmp.Diff(want, s, cmp.AllowUnexported(tenant{}, tokenPlace{}, tokens.Key{})); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, text)
	}
}
