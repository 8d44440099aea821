package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestLogging(t *testing.T) {
	t.Parallel()
	tests := []struct {
		logging Logging
		want    string
	}{
		{Logging{}, "level=WARN msg=careful key=value\n"},
		{Logging{Format: "json"}, `"level":"WARN","msg":"careful","key":"value"}` + "\n"},
		{Logging{Format: "auto", Level: "error"}, ""},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		tt.logging.New(&b).Warn("careful", "key", "value")
		if !strings.HasSuffix(b.String(), tt.want) || (tt.want == "") != (b.Len() == 0) {
			t.Errorf("%+v logs %q, want it to end in %q", tt.logging, b.String(), tt.want)
		}
	}
}
