package cli

import (
	"cmp"
	"runtime/debug"
	"strings"
)

// version tells builds apart: the module's version, which says whether files
// were changed, and the revision, where it was built from a repository.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	parts := []string{info.Main.Version}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			parts = append(parts, setting.Value)
		}
	}
	return cmp.Or(strings.TrimSpace(strings.Join(parts, " ")), "unknown")
}
