package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/pipeline/history"
)

// What cannot be run is told at once, and leaves nothing behind.
func TestProveUsage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for _, args := range []string{
		"--for 1ms", "--nodes 2", "--sync sometimes", "--rate 0", "--faults NaN", "--for soon", "more",
		"--keep " + nowhere, "--history " + filepath.Join(nowhere, "verdicts"),
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			in, tmp := setUp(t), t.TempDir()
			p, err := in.Run("prove", []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}, append([]string{"prove"}, strings.Fields(args)...)...)
			if err != nil {
				t.Fatal(err)
			}
			endsWith(t, p, cli.ExitUsage)
			isEmpty(t, tmp)
		})
	}
}

// What is not known is told, and is no success.
func TestProveTellsVerdict(t *testing.T) {
	t.Parallel()
	why := []history.Violation{{What: "why"}}
	for _, test := range []struct {
		result  proving.Result
		err     error
		verdict string
	}{
		{proving.Result{}, nil, "the promise held"},
		{proving.Result{TurnedDown: why}, errBroken, "THE PROMISE WAS BROKEN"},
		{proving.Result{Unknown: why}, errNotProven, "not proven: 1 outcomes are unknown, though everything could be known here"},
		{proving.Result{Unsettled: "3 messages are not settled"}, errNotProven, "not proven: 3 messages are not settled"},
	} {
		var table, line strings.Builder
		if err := (&proof{output: cli.FormatTable}).tell(&table, nil, test.result); !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, want %v", test.verdict, err, test.err)
		}
		if !strings.Contains(table.String(), "verdict:       "+test.verdict+"\n") || !strings.Contains(table.String(), test.result.Unsettled) {
			t.Errorf("%s: not told in\n%s", test.verdict, table.String())
		}
		if err := (&proof{output: "json"}).tell(&line, nil, test.result); !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, want %v", test.verdict, err, test.err)
		}
		var got struct {
			Held    *bool
			Verdict string
			Seed    *int64
		}
		if err := json.Unmarshal([]byte(line.String()), &got); err != nil || got.Held == nil || *got.Held != (test.err == nil) || got.Verdict != test.verdict || got.Seed == nil {
			t.Errorf("%s: got %s, %v", test.verdict, line.String(), err)
		}
	}
}

func TestProveInterrupted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	in, tmp := setUp(t), t.TempDir()
	p, err := in.Run("prove", []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}, "prove", "--seed", "1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	if _, err := p.Says(ctx, "worker killed"); err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	endsWith(t, p, 128+cli.Code(syscall.SIGINT))
	isEmpty(t, tmp)
}

func endsWith(t *testing.T, p *proving.Process, want cli.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	got, err := p.ExitCode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got != int(want) {
		t.Errorf("exit code: got %d, want %d", got, want)
	}
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		t.Errorf("%s is left behind", entry.Name())
	}
}
