package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// defaultFile is read when no other is named and it is there.
const defaultFile = "waybill.yaml"

// settings is what waybill.yaml may hold. An unknown member is an error.
type settings struct {
	Prefix    string        `yaml:"prefix"`    // first token of all subjects; uipath
	Replicas  int           `yaml:"replicas"`  // of each stream; 1
	Retention time.Duration `yaml:"retention"` // of the ledger; 720h
	Worker    string        `yaml:"worker"`    // this process's name in the ledger
	Limits    limits        `yaml:"limits"`
	Tenants   []tenant      `yaml:"tenants"`
}

// limits are the times and sizes of pipeline.Config.
type limits struct {
	AckWait     time.Duration `yaml:"ackWait"`
	CallTimeout time.Duration `yaml:"callTimeout"`
	Hold        time.Duration `yaml:"hold"`
	Settle      time.Duration `yaml:"settle"`
	Patience    time.Duration `yaml:"patience"`
	Linger      time.Duration `yaml:"linger"`
	Drain       time.Duration `yaml:"drain"`
	MaxAttempts int           `yaml:"maxAttempts"`
	BulkItems   int           `yaml:"bulkItems"`
	BulkBytes   int           `yaml:"bulkBytes"`
	MaxHeld     int           `yaml:"maxHeld"`
}

// tenant is one Orchestrator tenant and how to log in to it. Secrets are named
// by file, or come from the environment.
type tenant struct {
	Name             string   `yaml:"name"`
	URL              string   `yaml:"url"`      // where the API begins, without /odata
	TokenURL         string   `yaml:"tokenUrl"` // derived from url if empty
	ClientID         string   `yaml:"clientId"`
	ClientSecretFile string   `yaml:"clientSecretFile"`
	Scopes           []string `yaml:"scopes"`
	PATFile          string   `yaml:"patFile"` // personal access token, in place of client id and secret
	Folder           folder   `yaml:"folder"`
	DiscoveryURL     string   `yaml:"discoveryUrl"` // of a legacy tenant: where worker discover asks for accounts

	MaxInFlight        int      `yaml:"maxInFlight"`
	ListReadsPerMinute int      `yaml:"listReadsPerMinute"`
	ItemIDs            []string `yaml:"itemIds"`
	ClassicFolders     bool     `yaml:"classicFolders"`

	clientSecret string
	pat          string
}

// folder is the tenant's default folder: one of the three.
type folder struct {
	Path string `yaml:"path"`
	Key  string `yaml:"key"`
	ID   int64  `yaml:"id"`
}

// loadSettings reads the file, if there is one, and what the environment says
// over it.
func loadSettings(path string) (settings, error) {
	s, err := readSettings(path)
	if err != nil {
		return s, err
	}
	s.Prefix = cmp.Or(os.Getenv("WAYBILL_PREFIX"), s.Prefix)
	for i := range s.Tenants {
		s.Tenants[i].Name = cmp.Or(s.Tenants[i].Name, cli.TenantOfURL(s.Tenants[i].URL), cli.DefaultTenant)
	}
	if err := s.addTenantFromEnvironment(); err != nil {
		return s, err
	}
	for i := range s.Tenants {
		if err := s.Tenants[i].complete(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func readSettings(path string) (settings, error) {
	var s settings
	data, err := os.ReadFile(cmp.Or(path, defaultFile))
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, cli.Errorf(cli.ExitUsage, "read configuration: %w", err)
	}
	if s, err = parseSettings(data); err != nil {
		return s, cli.Errorf(cli.ExitUsage, "%s: %w", cmp.Or(path, defaultFile), err)
	}
	return s, nil
}

// parseSettings reads the file's text strictly; the error shows the place.
func parseSettings(data []byte) (settings, error) {
	var s settings
	if err := yaml.UnmarshalWithOptions(data, &s, yaml.Strict()); err != nil {
		return settings{}, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return s, nil
}

// addTenantFromEnvironment takes the one tenant that the environment describes
// by the names UiPath's users have for them. It goes before the file's tenant
// of the same name.
func (s *settings) addTenantFromEnvironment() error {
	env, err := tenantFromEnvironment()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.Tenants, func(t tenant) bool { return t.Name == env.Name })
	if i < 0 && len(s.Tenants) == 1 && os.Getenv("UIPATH_TENANT") == "" && env.URL == "" {
		i = 0 // only credentials are in the environment
	}
	if i < 0 {
		if env.URL != "" {
			s.Tenants = append(s.Tenants, env)
		}
		return nil
	}
	t := &s.Tenants[i]
	t.URL = cmp.Or(env.URL, t.URL)
	t.TokenURL = cmp.Or(env.TokenURL, t.TokenURL)
	t.ClientID = cmp.Or(env.ClientID, t.ClientID)
	t.clientSecret, t.pat = env.clientSecret, env.pat
	if env.clientSecret != "" {
		t.PATFile = "" // another way in than the environment's
	}
	if env.pat != "" {
		t.ClientID, t.ClientSecretFile = env.ClientID, ""
	}
	if len(env.Scopes) > 0 {
		t.Scopes = env.Scopes
	}
	if env.Folder != (folder{}) {
		t.Folder = env.Folder
	}
	return nil
}

func tenantFromEnvironment() (tenant, error) {
	t := tenant{
		URL:      os.Getenv("UIPATH_URL"),
		ClientID: os.Getenv("UIPATH_CLIENT_ID"),
		Scopes:   strings.Fields(os.Getenv("UIPATH_SCOPE")),
		Folder:   folder{Path: os.Getenv("UIPATH_FOLDER_PATH"), Key: os.Getenv("UIPATH_FOLDER_KEY")},
	}
	organization, name := os.Getenv("UIPATH_ORGANIZATION"), os.Getenv("UIPATH_TENANT")
	if base := os.Getenv("UIPATH_URI"); t.URL == "" && base != "" {
		t.URL = strings.TrimSuffix(base, "/")
		if organization != "" && name != "" {
			t.URL += "/" + organization + "/" + name + "/orchestrator_"
		}
	}
	if identity := os.Getenv("UIPATH_IDENTITY_URI"); identity != "" {
		t.TokenURL = strings.TrimSuffix(strings.TrimSuffix(identity, "/"), "/connect/token") + "/connect/token"
	}
	t.Name = cmp.Or(name, cli.TenantOfURL(t.URL), cli.DefaultTenant)
	var faults []error
	if id := os.Getenv("UIPATH_FOLDER_ID"); id != "" {
		var err error
		if t.Folder.ID, err = strconv.ParseInt(id, 10, 64); err != nil {
			faults = append(faults, cli.Errorf(cli.ExitUsage, "UIPATH_FOLDER_ID %q: it must be a number", id))
		}
	}
	var err error
	t.clientSecret, err = secret("UIPATH_CLIENT_SECRET")
	faults = append(faults, err)
	t.pat, err = secret("UIPATH_PAT")
	return t, errors.Join(append(faults, err)...)
}

// secret reads a secret from the variable, or from the file that the variable
// with _FILE names.
func secret(variable string) (string, error) {
	value, path := os.Getenv(variable), os.Getenv(variable+"_FILE")
	if value != "" && path != "" {
		return "", cli.Errorf(cli.ExitUsage, "%s and %s_FILE are both set: unset one", variable, variable)
	}
	if path == "" {
		return value, nil
	}
	return secretFile(variable+"_FILE", path)
}

// secretFile reads a secret's file; the line break that editors add at its end
// is not part of it.
func secretFile(what, path string) (string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // G304: the user names the file
	if err != nil {
		return "", cli.Errorf(cli.ExitUsage, "%s: %w", what, err)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" {
		return "", cli.Errorf(cli.ExitUsage, "%s: the file %s is empty", what, path)
	}
	return value, nil
}

// complete reads the secrets that the file names and checks the tenant.
func (t *tenant) complete() error {
	var err error
	if t.clientSecret == "" && t.ClientSecretFile != "" {
		if t.clientSecret, err = secretFile("clientSecretFile", t.ClientSecretFile); err != nil {
			return err
		}
	}
	if t.pat == "" && t.PATFile != "" {
		if t.pat, err = secretFile("patFile", t.PATFile); err != nil {
			return err
		}
	}
	set := 0
	for _, is := range []bool{t.Folder.Path != "", t.Folder.Key != "", t.Folder.ID != 0} {
		if is {
			set++
		}
	}
	if set > 1 {
		return cli.Errorf(cli.ExitUsage, "tenant %s: give one of folder path, key and id", t.Name)
	}
	return nil
}

// login is the way in that the settings describe.
func (t tenant) login() (orchestrator.Login, error) {
	switch {
	case t.pat != "" && t.clientSecret != "":
		return nil, cli.Errorf(cli.ExitUsage, "tenant %s: there are a personal access token and a client secret: give one of them", t.Name)
	case t.pat != "":
		return orchestrator.PersonalAccessToken(t.pat), nil
	case t.ClientID != "" && t.clientSecret != "":
		return orchestrator.ClientCredentials{TokenURL: t.TokenURL, ClientID: t.ClientID, ClientSecret: t.clientSecret, Scopes: t.Scopes}, nil
	case t.ClientID != "":
		return nil, cli.Errorf(cli.ExitCredentials, "tenant %s: there is a client id but no secret: set UIPATH_CLIENT_SECRET_FILE, UIPATH_CLIENT_SECRET, or clientSecretFile in %s", t.Name, defaultFile)
	}
	return nil, cli.Errorf(cli.ExitCredentials, "tenant %s: no credentials: set UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET_FILE of an external application, or UIPATH_PAT_FILE with a personal access token", t.Name)
}

func (t tenant) folderRef() orchestrator.FolderRef {
	return orchestrator.FolderRef{Path: t.Folder.Path, Key: t.Folder.Key, ID: t.Folder.ID}
}

// applyTo sets what the file says.
func (l limits) applyTo(c *pipeline.Config) {
	c.AckWait, c.CallTimeout, c.Hold, c.Settle = l.AckWait, l.CallTimeout, l.Hold, l.Settle
	c.Patience, c.Linger, c.Drain, c.MaxAttempts = l.Patience, l.Linger, l.Drain, l.MaxAttempts
	c.BulkItems, c.BulkBytes, c.MaxHeld = l.BulkItems, l.BulkBytes, l.MaxHeld
}

// noTenant is what to do where nothing says which Orchestrator to call.
func noTenant() error {
	return cli.Errorf(cli.ExitUsage, "no Orchestrator to call: set UIPATH_URL (such as https://cloud.uipath.com/organization/tenant/orchestrator_) with UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET_FILE, or list tenants in %s; to try things out, use worker dev", defaultFile)
}
