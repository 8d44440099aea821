package main

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
)

// tenant is one Orchestrator tenant and how to log in to it. Secrets are named
// by file, or come from the environment.
type tenant struct {
	Name        string `yaml:"name"`
	URL         string `yaml:"url"`         // where the API begins, without /odata
	TenancyName string `yaml:"tenancyName"` // the tenant's name in Orchestrator; the URL's, or the one in subjects, if empty

	Login            loginKind `yaml:"login"`    // how to log in; what the secrets given are for, if empty
	TokenURL         string    `yaml:"tokenUrl"` // derived from url if empty
	ClientID         string    `yaml:"clientId"`
	ClientSecretFile string    `yaml:"clientSecretFile"`
	ClientAuth       string    `yaml:"clientAuth"` // body, the default, or basic
	Scopes           []string  `yaml:"scopes"`
	PATFile          string    `yaml:"patFile"` // personal access token
	Username         string    `yaml:"username"`
	PasswordFile     string    `yaml:"passwordFile"`
	UserKeyFile      string    `yaml:"userKeyFile"`
	AuthorizeURL     string    `yaml:"authorizeUrl"` // derived from tokenUrl if empty
	RedirectURL      string    `yaml:"redirectUrl"`  // as registered for the application
	ACRValues        string    `yaml:"acrValues"`    // the organization; derived from url if empty

	CAFile   string `yaml:"caFile"`   // PEM: who signs the server's certificate
	CertFile string `yaml:"certFile"` // PEM: the client certificate, with keyFile
	KeyFile  string `yaml:"keyFile"`

	Folder       folder `yaml:"folder"`
	DiscoveryURL string `yaml:"discoveryUrl"` // of a legacy tenant: where worker discover asks for accounts

	MaxInFlight        int      `yaml:"maxInFlight"`
	ListReadsPerMinute int      `yaml:"listReadsPerMinute"`
	ItemIDs            []string `yaml:"itemIds"`
	ClassicFolders     bool     `yaml:"classicFolders"`

	secrets secrets
}

// folder is the tenant's default folder: one of the three.
type folder struct {
	Path string `yaml:"path"`
	Key  string `yaml:"key"`
	ID   int64  `yaml:"id"`
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
	switch {
	case i >= 0:
		s.Tenants[i].override(env)
	case env.URL != "":
		s.Tenants = append(s.Tenants, env)
	case len(s.Tenants) > 0 && env.hasCredentials():
		return cli.Errorf(cli.ExitUsage, "the environment has credentials (UIPATH_…) for none of the tenants in the settings: set UIPATH_TENANT to one of %q, or unset them", s.names())
	}
	return nil
}

// hasCredentials tells that something is said of how to log in.
func (t tenant) hasCredentials() bool {
	return len(t.secrets) > 0 || t.Login != "" || t.ClientID != "" || t.Username != ""
}

func (s settings) names() []string {
	var names []string
	for _, t := range s.Tenants {
		names = append(names, t.Name)
	}
	return names
}

// override puts what the environment says over what the file does.
func (t *tenant) override(env tenant) {
	for _, text := range []struct{ file, env *string }{
		{&t.URL, &env.URL},
		{&t.TokenURL, &env.TokenURL},
		{&t.ClientID, &env.ClientID},
		{&t.ClientAuth, &env.ClientAuth},
		{&t.Username, &env.Username},
		{&t.RedirectURL, &env.RedirectURL},
		{&t.ACRValues, &env.ACRValues},
		{&t.CAFile, &env.CAFile},
		{&t.CertFile, &env.CertFile},
		{&t.KeyFile, &env.KeyFile},
	} {
		*text.file = cmp.Or(*text.env, *text.file)
	}
	t.Login = cmp.Or(env.Login, t.Login)
	if len(env.Scopes) > 0 {
		t.Scopes = env.Scopes
	}
	if env.Folder != (folder{}) {
		t.Folder = env.Folder
	}
	t.secrets = env.secrets
	if kinds := env.secrets.kinds(); len(kinds) > 0 {
		if t.Login != loginUser || !slices.Equal(kinds, []loginKind{loginApplication}) { // another way in than the file's
			t.Login = env.Login
		}
		for kind, file := range t.secretFiles() {
			if !slices.Contains(kinds, kind) {
				*file = ""
			}
		}
	}
}

func tenantFromEnvironment() (tenant, error) {
	t := tenant{
		URL:         os.Getenv("UIPATH_URL"),
		Login:       loginKind(os.Getenv("UIPATH_LOGIN")),
		ClientID:    os.Getenv("UIPATH_CLIENT_ID"),
		ClientAuth:  os.Getenv("UIPATH_CLIENT_AUTH"),
		Scopes:      strings.Fields(os.Getenv("UIPATH_SCOPE")),
		Username:    os.Getenv("UIPATH_USERNAME"),
		RedirectURL: os.Getenv("UIPATH_REDIRECT_URL"),
		ACRValues:   os.Getenv("UIPATH_ACR_VALUES"),
		CAFile:      os.Getenv("UIPATH_CA"),
		CertFile:    os.Getenv("UIPATH_CERT"),
		KeyFile:     os.Getenv("UIPATH_KEY"),
		Folder:      folder{Path: os.Getenv("UIPATH_FOLDER_PATH"), Key: os.Getenv("UIPATH_FOLDER_KEY")},
	}
	organization, name := os.Getenv("UIPATH_ORGANIZATION"), os.Getenv("UIPATH_TENANT")
	if base := os.Getenv("UIPATH_URI"); t.URL == "" && base != "" {
		t.URL = strings.TrimSuffix(base, "/")
		if organization != "" && name != "" {
			t.URL += "/" + organization + "/" + name + "/orchestrator_"
		}
	}
	if identity := os.Getenv("UIPATH_IDENTITY_URI"); identity != "" {
		t.TokenURL = tokenURLOf(identity)
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
	t.secrets, err = secretsFromEnvironment()
	return t, errors.Join(append(faults, err)...)
}

// tokenURLOf makes the token endpoint of an identity server's address, which may
// be the endpoint already: /connect/token, or /oauth/token for user keys.
func tokenURLOf(identity string) string {
	identity = strings.TrimSuffix(identity, "/")
	if strings.HasSuffix(identity, "/connect/token") || strings.HasSuffix(identity, "/oauth/token") {
		return identity
	}
	return identity + "/connect/token"
}

// complete reads the secrets that the file names and checks the tenant.
func (t *tenant) complete() error {
	for kind, file := range t.secretFiles() {
		if *file == "" || t.secrets[kind] != "" {
			continue
		}
		value, err := secretFile(secretFileNames[kind], *file)
		if err != nil {
			return cli.Errorf(cli.ExitUsage, "tenant %s: %w", t.Name, err)
		}
		if t.secrets == nil {
			t.secrets = make(secrets)
		}
		t.secrets[kind] = value
	}
	set := 0
	for _, is := range []bool{t.Folder.Path != "", t.Folder.Key != "", t.Folder.ID != 0} {
		if is {
			set++
		}
	}
	switch {
	case set > 1:
		return cli.Errorf(cli.ExitUsage, "tenant %s: give one of folder path, key and id", t.Name)
	case t.ClientAuth != "" && t.ClientAuth != clientAuthBody && t.ClientAuth != clientAuthBasic:
		return cli.Errorf(cli.ExitUsage, "tenant %s: clientAuth %q: give body or basic", t.Name, t.ClientAuth)
	case (t.CertFile == "") != (t.KeyFile == ""):
		return cli.Errorf(cli.ExitUsage, "tenant %s: a client certificate needs both certFile (UIPATH_CERT) and keyFile (UIPATH_KEY)", t.Name)
	}
	return nil
}

// tenancy is the tenant's name in Orchestrator: where the URL has it, as in the
// cloud, the name in subjects may be another.
func (t tenant) tenancy() string { return cmp.Or(t.TenancyName, cli.TenantOfURL(t.URL), t.Name) }

func (t tenant) folderRef() orchestrator.FolderRef {
	return orchestrator.FolderRef{Path: t.Folder.Path, Key: t.Folder.Key, ID: t.Folder.ID}
}
