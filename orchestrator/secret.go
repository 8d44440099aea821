package orchestrator

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that no log, error or dump may show. Whatever prints a value
// that holds one prints "[hidden]" in its place; string(s) is the text itself.
type Secret string

const hidden = "[hidden]"

// Format hides the text whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(f, hidden) // fmt has no way to hear of it
	}
}

// MarshalText hides the text from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return fmt.Append(nil, s), nil }

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }
