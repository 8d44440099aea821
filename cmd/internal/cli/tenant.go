package cli

import "strings"

// DefaultTenant is the tenant's name in subjects where nothing says another.
const DefaultTenant = "Default"

// TenantOfURL gives the tenant that a URL of Orchestrator in the cloud or in
// Automation Suite names, as in …/organization/tenant/orchestrator_; empty if
// it names none.
func TenantOfURL(url string) string {
	parts := strings.Split(strings.TrimSuffix(url, "/"), "/")
	if n := len(parts); n >= 6 && parts[n-1] == "orchestrator_" {
		return parts[n-2]
	}
	return ""
}
