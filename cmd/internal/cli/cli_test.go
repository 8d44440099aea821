package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRoot is a command with what Run has to cope with.
func newRoot(stderr *bytes.Buffer, work func(context.Context) error) *cobra.Command {
	root := &cobra.Command{Use: "tool"}
	root.SetErr(stderr)
	root.SetOut(stderr)
	sub := &cobra.Command{Use: "import FILE", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, _ []string) error {
		return work(cmd.Context())
	}}
	var queue, kind string
	sub.Flags().StringVar(&queue, "queue", "", "")
	ChoiceFlag(sub.Flags(), &kind, "kind", "", "item", []string{"item", "job"}, "")
	if err := sub.MarkFlagRequired("queue"); err != nil {
		panic(err)
	}
	root.AddCommand(sub)
	return root
}

func TestRun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args string
		err  error
		code int
		says string
	}{
		{name: "all well", args: "import f --queue q"},
		{name: "a choice in other letters", args: "import f --queue q --kind JOB"},
		{name: "unexpected", args: "import f --queue q", err: errors.New("out of luck"), code: 1, says: "tool: out of luck\n"},
		{name: "a code", args: "import f --queue q", err: fmt.Errorf("import: %w", Errorf(ExitRejects, "2 rows were rejected")), code: 3, says: "tool: import: 2 rows were rejected\n"},
		{name: "several lines", args: "import f --queue q", err: errors.Join(errors.New("one"), errors.New("two")), code: 1, says: "tool: one; two\n"},
		{name: "canceled without a signal", args: "import f --queue q", err: context.Canceled, code: 1, says: "tool: context canceled\n"},
		{name: "unknown command", args: "imprt f", code: 2, says: "tool: unknown command \"imprt\" for \"tool\": did you mean import?\n"},
		{name: "nothing near", args: "xyzzy", code: 2, says: "tool: unknown command \"xyzzy\" for \"tool\"\n"},
		{name: "unknown flag", args: "import f --quue q", code: 2, says: "tool: unknown flag: --quue: did you mean --queue?\n"},
		{name: "no flag is near", args: "import f --frobnicate", code: 2, says: "tool: unknown flag: --frobnicate (tool import --help lists the flags)\n"},
		{name: "missing argument", args: "import --queue q", code: 2, says: "tool: accepts 1 arg(s), received 0\n"},
		{name: "missing flag", args: "import f", code: 2, says: "tool: required flag(s) \"queue\" not set\n"},
		{name: "wrong choice", args: "import f --queue q --kind bot", code: 2, says: "tool: invalid argument \"bot\" for \"--kind\" flag: use item, job (tool import --help lists the flags)\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			code := Run(newRoot(&stderr, func(context.Context) error { return tt.err }), strings.Fields(tt.args))
			if code != tt.code || stderr.String() != tt.says {
				t.Errorf("tool %s: code %d, says %q; want %d, %q", tt.args, code, stderr.String(), tt.code, tt.says)
			}
		})
	}
}

// The first signal only cancels the context; what the command makes of it
// decides the exit code.
func TestRunSignal(t *testing.T) { //nolint:paralleltest // signals are the whole process's
	tests := []struct {
		name   string
		signal syscall.Signal
		leave  func(context.Context) error
		code   int
	}{
		{"gives up on SIGINT", syscall.SIGINT, func(ctx context.Context) error { return fmt.Errorf("wait: %w", ctx.Err()) }, 130},
		{"gives up on SIGTERM", syscall.SIGTERM, func(ctx context.Context) error { return fmt.Errorf("wait: %w", ctx.Err()) }, 143},
		{"passes the cause on", syscall.SIGTERM, func(ctx context.Context) error { return fmt.Errorf("wait: %w", context.Cause(ctx)) }, 143},
		{"is done", syscall.SIGINT, func(context.Context) error { return nil }, 0},
	}
	for _, tt := range tests { //nolint:paralleltest // signals are the whole process's
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			work := func(ctx context.Context) error {
				if err := syscall.Kill(os.Getpid(), tt.signal); err != nil {
					return err
				}
				<-ctx.Done()
				return tt.leave(ctx)
			}
			if code := Run(newRoot(&stderr, work), []string{"import", "f", "--queue", "q"}); code != tt.code {
				t.Errorf("code %d, want %d (said %q)", code, tt.code, stderr.String())
			}
		})
	}
}
