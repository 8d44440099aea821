package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
)

// Whom the simulated Orchestrator lets in is what the environment says.
func TestSimulatorConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := identityFlags{organization: "acme", tokenLife: time.Minute, refreshTokenLeeway: time.Second}
	want := simulator.Config{
		Org: "acme", TokenLife: time.Minute, PasswordTokenLife: time.Minute, Switches: simulator.Switches{RefreshTokenLeeway: time.Second},
	}
	for _, test := range []struct {
		name        string
		environment map[string]string
		users       []simulator.User
		refused     bool
	}{
		{"nobody", nil, nil, false},
		{"a user", map[string]string{"UIPATH_USERNAME": "jane", "UIPATH_PASSWORD": "p"}, []simulator.User{{Name: "jane", Password: "p"}}, false},
		{"with a file", map[string]string{"UIPATH_USERNAME": "jane", "UIPATH_PASSWORD_FILE": file}, []simulator.User{{Name: "jane", Password: "from file"}}, false},
		{"no password", map[string]string{"UIPATH_USERNAME": "jane"}, nil, true},
		{"no name", map[string]string{"UIPATH_PASSWORD": "p"}, nil, true},
		{"two passwords", map[string]string{"UIPATH_USERNAME": "jane", "UIPATH_PASSWORD": "p", "UIPATH_PASSWORD_FILE": file}, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"UIPATH_CLIENT_ID", "UIPATH_CLIENT_SECRET", "UIPATH_CLIENT_SECRET_FILE", "UIPATH_USERNAME", "UIPATH_PASSWORD", "UIPATH_PASSWORD_FILE"} {
				t.Setenv(name, test.environment[name])
			}
			got, err := flags.config()
			if test.refused {
				if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.ExitUsage {
					t.Errorf("got %v, want exit code %d", err, cli.ExitUsage)
				}
				return
			}
			want.Users = test.users
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("got %v (-want +got):\n%s", err, diff)
			}
		})
	}
}
