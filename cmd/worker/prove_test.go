package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

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

// As by Ctrl-C in a terminal, which signals the whole process group.
func TestProveInterrupted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	in, tmp := setUp(t), t.TempDir()
	// By this seed a NATS server is killed soon, and prove waits for it.
	p, err := in.Run("prove", []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp}, "prove", "--seed", "162", "--nodes", "3")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), proving.Patience)
	defer cancel()
	if _, err := p.Says(ctx, "NATS killed"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := syscall.Kill(-p.ID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	endsWith(t, p, 128+cli.Code(syscall.SIGINT))
	if took := time.Since(begun); took > proving.Patience/3 { // who waits for servers that never come waits three times as long
		t.Errorf("it ended after %s", took)
	}
	isEmpty(t, tmp)
	for _, name := range runningWith(t, "TMPDIR="+tmp) {
		t.Errorf("%s is left running", name)
	}
}

// runningWith names the processes that have this in their environment, where
// the system tells.
func runningWith(t *testing.T, variable string) (names []string) {
	t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	for _, path := range all {
		env, err := os.ReadFile(filepath.Clean(path))
		if err == nil && slices.Contains(strings.Split(string(env), "\x00"), variable) { // others' cannot be read
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")) // it may have ended
			names = append(names, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return names
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
