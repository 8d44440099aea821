package shell

import (
	"os/exec"
	"testing"
)

// A shell reads what is quoted as one word, and nothing else.
func TestQuote(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "plain", "INV-1", "a b", "a';touch${IFS}pwned;'", "$(id)`id`", `\`, "~", "*", "#x", "Straße", "a\nb"} {
		said, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil || string(said) != s {
			t.Errorf("%s is read as %q (%v), want %q", Quote(s), said, err, s)
		}
	}
	if got := Quote("uipath.INV-1"); got != "uipath.INV-1" {
		t.Errorf("got %s, want nothing done to what means nothing", got)
	}
}

func TestPastable(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"Straße 1": true, "a';b;'": true, "\x1b[201~": false, "a\tb": false, "\xff": false, "a\u202eb": false, "a\u00a0b": false} {
		if got := Pastable(s); got != want {
			t.Errorf("%q: got %t", s, got)
		}
	}
}
