package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Who names what cannot be planted gets no overlay, and the go command none that
// it could do without.
func TestOverlayOfNothing(t *testing.T) {
	t.Parallel()
	changed := mutation{name: "changed", replacements: []replacement{{"go.mod", []byte("stands nowhere"), nil}}}
	for _, name := range []string{"changed", "misspelt"} {
		if overlay, err := overlayOf([]mutation{changed}, name); overlay != nowhere || err == nil {
			t.Errorf("%s: got %q, %v, want %q and an error", name, overlay, err, nowhere)
		}
	}
	var stdout strings.Builder
	if err := run([]string{"misspelt"}, &stdout); err == nil || stdout.String() != nowhere+"\n" {
		t.Errorf("got %q, %v, want %q and an error", stdout.String(), err, nowhere)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Env = append(os.Environ(), "GOFLAGS=-overlay="+strings.TrimSpace(stdout.String()))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), nowhere) {
		t.Errorf("go run: got %v, want an error about %s\n%s", err, nowhere, out)
	}
}

// Every mutation is found by the tests that it names: they fail, and only
// because of what they check, since without it they pass.
func TestMutationsAreFound(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and runs tests once for each mutation")
	}
	all, err := mutations()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 8 {
		t.Errorf("%d mutations, want 8 or more", len(all))
	}
	guarantees, err := os.ReadFile("../../docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	for pkg, tests := range testsByPackage(all) {
		if out, err := goTest(t.Context(), pkg, tests); err != nil {
			t.Fatalf("%s: the tests fail without any mutation: %v\n%s", pkg, err, out)
		}
	}
	for _, m := range all {
		if !strings.Contains(string(guarantees), "`"+m.name+"`") {
			t.Errorf("docs/guarantees.md does not tell of %s", m.name)
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			overlay, err := m.plant(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			out, err := goTest(t.Context(), m.pkg, m.tests, "-overlay", overlay)
			failed := regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindStringSubmatch(out)
			if err == nil || failed == nil {
				t.Fatalf("%s\nnot found by %s: %v\n%s", m.what, m.tests, err, out)
			}
			if strings.Contains(out, "panic:") || strings.Contains(out, "test timed out") {
				t.Fatalf("%s\n%s did not find it, but came to grief by it: %v\n%s", m.what, m.tests, err, out)
			}
			said := regexp.MustCompile(`(?m)^ +\w+_test\.go:.*`).FindString(out)
			t.Logf("%s: found by %s: %s", m.what, failed[1], strings.TrimSpace(said))
		})
	}
}

// testsByPackage gives an expression for all tests that find mutations, for each
// package.
func testsByPackage(all []mutation) map[string]string {
	tests := make(map[string]string)
	for _, m := range all {
		if tests[m.pkg] != "" {
			tests[m.pkg] += "|"
		}
		tests[m.pkg] += m.tests
	}
	return tests
}

func goTest(ctx context.Context, pkg, tests string, flags ...string) (out string, err error) {
	args := append([]string{"test", "-count=1", "-run", "^(" + tests + ")$"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg, "-rapid.nofailfile")...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOFLAGS=") // nothing that is meant for this test itself
	text, err := cmd.CombinedOutput()
	return string(text), err
}
