package main

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"waybill/cmd/internal/proving"
	"waybill/orchestrator"
)

// The test binary stands for the programs too: started under one of these
// names it is that program, built as the tests are (with -race, say).
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // the scripts wait more than they work; -parallel still goes before
	testscript.Main(leakChecked{m}, map[string]func(){
		"worker": func() {
			if spec := os.Getenv(crashVariable); spec != "" {
				reached = crashAt(spec)
			}
			if os.Getenv(crashSaveVariable) != "" {
				wrapStore = func(s orchestrator.TokenStore) orchestrator.TokenStore { return crashingStore{s} }
			}
			main()
		},
	})
}

// leakChecked runs the tests and then looks for goroutines they have left.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("goroutines left behind", "error", err)
		return 1
	}
	return code
}

// setUp makes an installation for a test, which ends with it.
func setUp(t *testing.T) *proving.Installation {
	t.Helper()
	in := proving.New("worker", t.TempDir(), t.ArtifactDir())
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}
