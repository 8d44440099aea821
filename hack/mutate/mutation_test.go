package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Every mutation is found by the tests that it names: they fail, and only
// because of what they check.
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
			cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-overlay", overlay, "-run", "^("+m.tests+")$", m.pkg, "-rapid.nofailfile")
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "GOFLAGS=") // nothing that is meant for this test itself
			out, err := cmd.CombinedOutput()
			failed := regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindStringSubmatch(string(out))
			if err == nil || failed == nil {
				t.Fatalf("%s\nnot found by %s: %v\n%s", m.what, m.tests, err, out)
			}
			said := regexp.MustCompile(`(?m)^ +\w+_test\.go:.*`).FindString(string(out))
			t.Logf("%s: found by %s: %s", m.what, failed[1], strings.TrimSpace(said))
		})
	}
}
