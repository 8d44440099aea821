package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// bench is one invocation: the programs it runs, and the folder that it
// leaves their files in.
type bench struct {
	dir        string
	self       string // this program, which plays the stub, the bare loop and the peer
	worker     string
	natsServer string
	log        *slog.Logger
	profile    string   // where a CPU profile of the bare loop or of the peer goes
	under      []string // the command that the side's processes are run under
	least      bool     // the bare loop does even less
}

// programFlags name programs that are built already.
type programFlags struct {
	dir        string
	worker     string
	natsServer string
}

// prepare builds what is not named. The caller removes what it has left, with
// close.
func (f programFlags) prepare(ctx context.Context, log *slog.Logger) (*bench, error) {
	dir, err := os.MkdirTemp(f.dir, "waybill-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the runs: %w", err)
	}
	b := &bench{dir: dir, worker: f.worker, natsServer: f.natsServer, log: log}
	if b.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if b.worker == "" {
		b.worker = filepath.Join(dir, "worker")
		err = buildWorker(ctx, b.worker)
	}
	if err == nil && b.natsServer == "" {
		b.natsServer = filepath.Join(dir, "nats-server")
		err = build(ctx, ".", b.natsServer, "github.com/nats-io/nats-server/v2")
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	_ = os.RemoveAll(b.dir) // it lies in the folder for temporary files
}

// buildWorker builds waybill's worker in its own module, as whoever installs
// it does: in this one, some of what it needs would have other versions.
func buildWorker(ctx context.Context, output string) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "waybill").Output()
	if err != nil {
		return fmt.Errorf("find waybill's module (%s): %w", whereToRun, err)
	}
	return build(ctx, strings.TrimSpace(string(out)), output, "waybill/cmd/worker")
}

// whereToRun is what to do where the go command knows nothing of this module.
const whereToRun = "bench is run in its own folder: go run -C bench ."

// build compiles a program in a module's folder.
func build(ctx context.Context, dir, output, program string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", output, program) //nolint:gosec // G204: one of two programs
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s (%s): %w\n%s", program, whereToRun, err, out)
	}
	return nil
}

// cleanEnvironment is the environment without what describes anybody's own
// installation, and with what is given.
func cleanEnvironment(add ...string) []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "UIPATH_") && !strings.HasPrefix(variable, "NATS_") && !strings.HasPrefix(variable, "WAYBILL_") {
			env = append(env, variable)
		}
	}
	return append(env, add...)
}
