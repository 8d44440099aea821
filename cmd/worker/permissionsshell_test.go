package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// What is printed for nsc can be pasted into a shell, whatever a queue's name
// is: each line calls nsc, and each subject is one argument.
func TestPermissionsForShell(t *testing.T) {
	t.Chdir(t.TempDir())
	noEnvironment(t)
	const odd = "Bob's & $(touch made) ; touch made `touch made`"
	printed, stderr, code := runHere("permissions", "producer", "--wait", "--queue", odd, "-o", "nsc")
	if code != cli.ExitOK {
		t.Fatal(stderr)
	}
	if err := os.WriteFile("nsc", []byte("#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done >> called\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-eu")
	shell.Env = []string{"PATH=.:" + os.Getenv("PATH")}
	shell.Stdin = strings.NewReader(printed)
	if out, err := shell.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat("made"); err == nil {
		t.Error("a part of the name was run")
	}
	called, err := os.ReadFile("called")
	if err != nil {
		t.Fatal(err)
	}
	subject := pipeline.Topology{}.RequestSubject(pipeline.Lane{Tenant: "T", Folder: "F", Kind: pipeline.KindItem, Name: odd})
	want := strings.Replace(subject, ".T.F.", ".*.*.", 1)
	if n := strings.Count(string(called), want+"\n"); n != 3 { // an import, with its name, and the right
		t.Errorf("%d arguments are %s, want 3:\n%s", n, want, called)
	}
}
