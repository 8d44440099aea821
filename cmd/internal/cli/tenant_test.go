package cli

import "testing"

func TestTenantOfURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://cloud.uipath.com/acme/prod/orchestrator_":  "prod",
		"https://cloud.uipath.com/acme/prod/orchestrator_/": "prod",
		"https://suite.example.net/acme/test/orchestrator_": "test",
		"https://orchestrator.example.net":                  "",
		"https://orchestrator.example.net/odata":            "",
		"":                                                  "",
	} {
		if got := TenantOfURL(url); got != want {
			t.Errorf("tenant of %q: got %q, want %q", url, got, want)
		}
	}
}
