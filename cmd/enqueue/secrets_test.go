package main

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"waybill/cmd/internal/cli"
	"waybill/pipeline/embedded/servertest"
)

// commandsWithSecrets has every command there is, with what it is given.
var commandsWithSecrets = map[string][]string{
	"csv":   {"rows.csv", "--queue", "Invoices"},
	"item":  {"--queue", "Invoices", "--set", "Amount=1"},
	"job":   {"--process", "Report"},
	"watch": {"--all"},
}

// TestNoCommandTellsASecret runs every command with a password that is known,
// where it is right, where it is wrong, and where nobody asks for it, and looks
// for it in all that comes out, the pass through level debug included.
func TestNoCommandTellsASecret(t *testing.T) {
	t.Parallel()
	const password = "n4ts-pa55/word+"
	s := servertest.Start(t, &server.Options{JetStream: true, Username: "u", Password: password})
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	secret := url.PathEscape(password)
	addresses := map[string]string{
		"right": "nats://u:" + secret + "@" + s.Addr().String(), "wrong": "nats://u:wrong-" + secret + "@" + s.Addr().String(),
		"away": "nats://u:" + secret + "@" + away, "broken": "nats://u:" + secret + "@[::1",
	}
	for _, cmd := range newRoot().Commands() {
		if slices.Contains([]string{"help", "completion"}, cmd.Name()) {
			continue
		}
		args, known := commandsWithSecrets[cmd.Name()]
		if !known {
			t.Errorf("enqueue %s is not tried: add it to commandsWithSecrets", cmd.Name())
			continue
		}
		for state, address := range addresses {
			t.Run(cmd.Name()+"/"+state, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "rows.csv"), []byte("Reference,Amount\nINV-1,1\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				run := exec.CommandContext(t.Context(), "enqueue", slices.Concat([]string{cmd.Name()}, args, []string{"--log-level", "debug"})...)
				run.Dir = dir
				run.Env = []string{"NATS_URL=" + address, "HOME=" + dir, "UIPATH_CLIENT_SECRET=" + password, "UIPATH_PAT=" + password}
				said, err := run.CombinedOutput()
				if len(said) == 0 || run.ProcessState.ExitCode() == int(cli.ExitUsage) != (state == "broken") {
					t.Errorf("it has ended with %v, and said %q", err, said)
				}
				for _, spelling := range []string{password, secret, url.QueryEscape(password)} {
					if strings.Contains(string(said), spelling) {
						t.Errorf("the password is told: %s", said)
					}
				}
			})
		}
	}
}
