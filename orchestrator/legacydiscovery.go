package orchestrator

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// legacyDiscoveryPath is where the discovery calls begin on their host.
const legacyDiscoveryPath = "/cloudrpa"

// Account is an organization that the login belongs to, as the discovery service
// of legacy tenants tells it.
type Account struct {
	Name        string `json:"accountName"`
	LogicalName string `json:"accountLogicalName"` // its name in addresses
}

// ServiceInstance is a tenant of an account there.
type ServiceInstance struct {
	Name        string   `json:"serviceInstanceName"`
	LogicalName string   `json:"serviceInstanceLogicalName"` // its name in addresses
	Type        string   `json:"serviceType"`
	URL         string   `json:"serviceUrl"`
	State       string   `json:"serviceState"` // ENABLED, …
	UserRoles   []string `json:"userRolesInService"`
}

// Accounts asks the discovery service of legacy tenants for the login's accounts.
// address is where that service is, such as https://host/cloudrpa: a host of its
// own, to which the client's token is sent. UiPath's own has been retired with the
// API keys it was for, and is refused, as is an address that is none; such an
// error is of kind Rejected. Where that service does not take the token (401) the
// login may be good for Orchestrator all the same. It follows the page "Consuming
// cloud API" of the older API guide.
func (c *Client) Accounts(ctx context.Context, address string) ([]Account, error) {
	var body accountsBody
	if err := c.discover(ctx, "list accounts", address, "/api/getAccountsForUser", &body); err != nil {
		return nil, err
	}
	return *body.Accounts, nil
}

// ServiceInstances asks the discovery service of legacy tenants for the tenants of
// an account, by its logical name. The address is that of Accounts.
func (c *Client) ServiceInstances(ctx context.Context, address, account string) ([]ServiceInstance, error) {
	const op = "list service instances"
	if account == "" || strings.ContainsFunc(account, notInLogicalName) {
		return nil, rejected(op, Reads, nil, "account %q is no logical name: give one that Accounts returned", account)
	}
	var body serviceInstances
	if err := c.discover(ctx, op, address, "/api/account/"+account+"/getAllServiceInstances", &body); err != nil {
		return nil, err
	}
	return body, nil
}

// notInLogicalName keeps a name within its part of the path. Logical names are
// made for addresses.
func notInLogicalName(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r)
}

func (c *Client) discover(ctx context.Context, op, address, path string, into answerBody) error {
	base, err := parseDiscoveryURL(address)
	if err != nil {
		return rejected(op, Reads, err, "")
	}
	return c.do(ctx, call{op: op, class: Reads, method: http.MethodGet, base: base, path: path, into: into})
}

// parseDiscoveryURL checks where the discovery service is.
func parseDiscoveryURL(value string) (*url.URL, error) {
	base, err := url.Parse(strings.TrimRight(value, "/?#"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("discovery address %q is no web address: give one like https://host%s", redactURL(value), legacyDiscoveryPath)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("discovery address %q holds more than host and path: leave out user, query and fragment", redactURL(value))
	}
	if slices.Contains([]string{"platform.uipath.com", "account.uipath.com"}, strings.ToLower(base.Hostname())) {
		return nil, fmt.Errorf("discovery address %q points at a retired service: leave it out, and use https://cloud.uipath.com/org/tenant/orchestrator_ as BaseURL", value)
	}
	if !strings.HasSuffix(base.Path, legacyDiscoveryPath) {
		base.Path, base.RawPath = base.Path+legacyDiscoveryPath, ""
	}
	return base, nil
}

type accountsBody struct {
	Accounts *[]Account `json:"accounts"`
}

func (b *accountsBody) missing() string {
	if b.Accounts == nil {
		return "accounts"
	}
	return ""
}

type serviceInstances []ServiceInstance

func (s *serviceInstances) missing() string {
	if *s == nil {
		return "its list"
	}
	return ""
}
