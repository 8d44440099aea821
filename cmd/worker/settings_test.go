package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/tokens"
	"waybill/orchestrator"
)

// settingVariables are all that loadSettings looks at.
var settingVariables = []string{
	"WAYBILL_PREFIX", "UIPATH_URL", "UIPATH_URI", "UIPATH_ORGANIZATION", "UIPATH_TENANT", "UIPATH_IDENTITY_URI",
	"UIPATH_CLIENT_ID", "UIPATH_CLIENT_SECRET", "UIPATH_CLIENT_SECRET_FILE", "UIPATH_SCOPE", "UIPATH_PAT", "UIPATH_PAT_FILE",
	"UIPATH_FOLDER_PATH", "UIPATH_FOLDER_KEY", "UIPATH_FOLDER_ID", "UIPATH_LOGIN", "UIPATH_CLIENT_AUTH", "UIPATH_USERNAME",
	"UIPATH_PASSWORD", "UIPATH_PASSWORD_FILE", "UIPATH_USER_KEY", "UIPATH_USER_KEY_FILE", "UIPATH_REDIRECT_URL", "UIPATH_ACR_VALUES",
	"UIPATH_CA", "UIPATH_CERT", "UIPATH_KEY", "WAYBILL_TOKEN_STORE", "WAYBILL_TOKEN_FOLDER", "XDG_STATE_HOME", "WAYBILL_TOKEN_KEY", "WAYBILL_TOKEN_KEY_FILE",
}

// inFolder moves into a folder with these files and sets the environment to
// these variables, each given as NAME=value, alone.
func inFolder(t *testing.T, files map[string]string, environment ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range settingVariables {
		t.Setenv(name, "")
	}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
}

const cloudURL = "https://cloud.uipath.com/acme/prod/orchestrator_"

func TestLoadSettings(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	for _, test := range []struct { //nolint:paralleltest // the same
		name        string
		files       map[string]string
		environment []string
		want        settings
	}{
		{name: "nothing"},
		{
			name:        "environment alone, the cloud",
			environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=s", "UIPATH_SCOPE=OR.Jobs OR.Queues", "UIPATH_FOLDER_PATH=Finance/Invoices"},
			want: settings{Tenants: []tenant{{
				Name: "prod", URL: cloudURL, ClientID: "id", secrets: secrets{loginApplication: "s"}, Scopes: []string{"OR.Jobs", "OR.Queues"}, Folder: folder{Path: "Finance/Invoices"},
			}}},
		},
		{
			name:        "environment alone, in parts",
			environment: []string{"UIPATH_URI=https://cloud.uipath.com/", "UIPATH_ORGANIZATION=acme", "UIPATH_TENANT=prod", "UIPATH_PAT=rt_1", "UIPATH_FOLDER_ID=7"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, secrets: secrets{loginToken: "rt_1"}, Folder: folder{ID: 7}}}},
		},
		{
			name:        "environment alone, on premises",
			environment: []string{"UIPATH_URI=https://orchestrator.example.net", "UIPATH_IDENTITY_URI=https://orchestrator.example.net/identity/", "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=s", "UIPATH_FOLDER_KEY=k"},
			want: settings{Tenants: []tenant{{
				Name: cli.DefaultTenant, URL: "https://orchestrator.example.net", TokenURL: "https://orchestrator.example.net/identity/connect/token",
				ClientID: "id", secrets: secrets{loginApplication: "s"}, Folder: folder{Key: "k"},
			}}},
		},
		{
			name:        "an identity URI that is the token endpoint already",
			environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_IDENTITY_URI=https://id.example.net/connect/token", "UIPATH_PAT=rt_1"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, TokenURL: "https://id.example.net/connect/token", secrets: secrets{loginToken: "rt_1"}}}},
		},
		{
			name:        "UIPATH_URL goes before UIPATH_URI",
			environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_URI=https://elsewhere.example.net", "UIPATH_PAT=rt_1"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, secrets: secrets{loginToken: "rt_1"}}}},
		},
		{
			name:        "secrets by files that the environment names",
			files:       map[string]string{"secret": "s3cr3t \r\n", "pat": "rt_1\n"},
			environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET_FILE=secret", "UIPATH_PAT_FILE=pat"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, ClientID: "id", secrets: secrets{loginApplication: "s3cr3t ", loginToken: "rt_1"}}}},
		},
		{
			name: "file alone",
			files: map[string]string{"secret": "s\n", "waybill.yaml": `
prefix: acme
replicas: 3
retention: 1440h
worker: first
limits: {ackWait: 5s, callTimeout: 20s, hold: 30s, settle: 20s, patience: 1h, linger: 10ms, drain: 1m, maxAttempts: 7, bulkItems: 100, bulkBytes: 1000000, maxHeld: 2000}
tenants:
  - name: prod
    url: ` + cloudURL + `
    clientId: id
    clientSecretFile: secret
    scopes: [OR.Jobs]
    folder: {path: Finance}
    maxInFlight: 4
    listReadsPerMinute: 30
    itemIds: [Invoices]
    classicFolders: true
  - url: https://orchestrator.example.net
    tokenUrl: https://orchestrator.example.net/token
    patFile: secret
    discoveryUrl: https://legacy.example.net/cloudrpa
`},
			want: settings{
				Prefix: "acme", Replicas: 3, Retention: 1440 * time.Hour, Worker: "first",
				Limits: limits{
					AckWait: 5 * time.Second, CallTimeout: 20 * time.Second, Hold: 30 * time.Second, Settle: 20 * time.Second, Patience: time.Hour,
					Linger: 10 * time.Millisecond, Drain: time.Minute, MaxAttempts: 7, BulkItems: 100, BulkBytes: 1_000_000, MaxHeld: 2000,
				},
				Tenants: []tenant{
					{
						Name: "prod", URL: cloudURL, ClientID: "id", ClientSecretFile: "secret", secrets: secrets{loginApplication: "s"}, Scopes: []string{"OR.Jobs"}, Folder: folder{Path: "Finance"},
						MaxInFlight: 4, ListReadsPerMinute: 30, ItemIDs: []string{"Invoices"}, ClassicFolders: true,
					},
					{Name: cli.DefaultTenant, URL: "https://orchestrator.example.net", TokenURL: "https://orchestrator.example.net/token", PATFile: "secret", secrets: secrets{loginToken: "s"}, DiscoveryURL: "https://legacy.example.net/cloudrpa"},
				},
			},
		},
		{
			name:        "the environment's credentials are for the file's one tenant",
			files:       map[string]string{"waybill.yaml": "tenants:\n  - name: prod\n    url: " + cloudURL + "\n    folder: {path: Finance}\n"},
			environment: []string{"UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=s"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, ClientID: "id", secrets: secrets{loginApplication: "s"}, Folder: folder{Path: "Finance"}}}},
		},
		{
			name:        "the environment goes before the file",
			files:       map[string]string{"waybill.yaml": "prefix: file\ntenants:\n  - name: prod\n    url: https://old.example.net\n    clientId: old\n    clientSecretFile: missing\n    scopes: [old]\n    folder: {id: 1}\n    maxInFlight: 4\n"},
			environment: []string{"WAYBILL_PREFIX=environment", "UIPATH_TENANT=prod", "UIPATH_URL=" + cloudURL, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=s", "UIPATH_SCOPE=new", "UIPATH_FOLDER_PATH=Finance"},
			want: settings{Prefix: "environment", Tenants: []tenant{{
				Name: "prod", URL: cloudURL, ClientID: "id", secrets: secrets{loginApplication: "s"}, ClientSecretFile: "missing", Scopes: []string{"new"}, Folder: folder{Path: "Finance"}, MaxInFlight: 4,
			}}},
		},
		{
			name:        "the environment's secret is that of the application which the file's user logs in through",
			files:       map[string]string{"waybill.yaml": "tenants:\n  - {name: prod, url: " + cloudURL + ", login: user, clientId: id}\n"},
			environment: []string{"UIPATH_CLIENT_SECRET=s"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, Login: loginUser, ClientID: "id", secrets: secrets{loginApplication: "s"}}}},
		},
		{
			name:        "the environment names another login than the file's user",
			files:       map[string]string{"waybill.yaml": "tenants:\n  - {name: prod, url: " + cloudURL + ", login: user, clientId: id}\n"},
			environment: []string{"UIPATH_LOGIN=application", "UIPATH_CLIENT_SECRET=s"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, Login: loginApplication, ClientID: "id", secrets: secrets{loginApplication: "s"}}}},
		},
		{
			name:        "the environment has another way in than the file's user",
			files:       map[string]string{"waybill.yaml": "tenants:\n  - {name: prod, url: " + cloudURL + ", login: user, clientId: id}\n"},
			environment: []string{"UIPATH_PAT=rt_1"},
			want:        settings{Tenants: []tenant{{Name: "prod", URL: cloudURL, ClientID: "id", secrets: secrets{loginToken: "rt_1"}}}},
		},
		{
			name:        "the environment's credentials are for one of the file's tenants",
			files:       map[string]string{"waybill.yaml": "tenants:\n  - {name: prod, url: " + cloudURL + "}\n  - {name: test, url: https://test.example.net}\n"},
			environment: []string{"UIPATH_TENANT=test", "UIPATH_PAT=rt_1"},
			want: settings{Tenants: []tenant{
				{Name: "prod", URL: cloudURL}, {Name: "test", URL: "https://test.example.net", secrets: secrets{loginToken: "rt_1"}},
			}},
		},
		{
			name:        "a tenant more than the file has",
			files:       map[string]string{"secret": "s", "waybill.yaml": "tenants:\n  - {name: test, url: https://test.example.net, patFile: secret}\n"},
			environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_PAT=rt_1"},
			want: settings{Tenants: []tenant{
				{Name: "test", URL: "https://test.example.net", PATFile: "secret", secrets: secrets{loginToken: "s"}},
				{Name: "prod", URL: cloudURL, secrets: secrets{loginToken: "rt_1"}},
			}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFolder(t, test.files, test.environment...)
			got, err := loadSettings("")
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(test.want, got, gocmp.AllowUnexported(tenant{}, tokenPlace{}, tokens.Key{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadSettingsFromNamedFile(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	inFolder(t, map[string]string{"waybill.yaml": "prefix: default\n", "other.yaml": "prefix: other\n"})
	got, err := loadSettings(filepath.Join(".", "other.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Prefix != "other" {
		t.Errorf("prefix %q, want the named file's", got.Prefix)
	}
}

func TestLoadSettingsErrors(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	const several = "tenants:\n  - {name: prod, url: " + cloudURL + "}\n  - {name: test, url: https://test.example.net}\n"
	const forNone = `the environment has credentials (UIPATH_…) for none of the tenants in the settings: set UIPATH_TENANT to one of ["prod" "test"]`
	for _, test := range []struct { //nolint:paralleltest // the same
		name        string
		path        string
		files       map[string]string
		environment []string
		want        string
	}{
		{name: "unknown key", files: map[string]string{"waybill.yaml": "prefix: a\nprefixes: b\n"}, want: `waybill.yaml: [2:1] unknown field "prefixes"`},
		{name: "unknown key of a tenant", files: map[string]string{"waybill.yaml": "tenants:\n  - name: a\n    clientSecret: s\n"}, want: `waybill.yaml: [3:5] unknown field "clientSecret"`},
		{name: "a key twice", files: map[string]string{"waybill.yaml": "prefix: a\nprefix: b\n"}, want: "waybill.yaml: [2:1]"},
		{name: "a duration that is none", files: map[string]string{"waybill.yaml": "limits:\n  settle: soon\n"}, want: "waybill.yaml: "},
		{name: "no YAML", files: map[string]string{"waybill.yaml": "tenants: [\n"}, want: "waybill.yaml: "},
		{name: "no such file", path: "none.yaml", want: "read configuration: open none.yaml"},
		{name: "secret twice", environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_CLIENT_SECRET=s", "UIPATH_CLIENT_SECRET_FILE=f"}, want: "UIPATH_CLIENT_SECRET and UIPATH_CLIENT_SECRET_FILE are both set: unset one"},
		{name: "token twice", environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_PAT=s", "UIPATH_PAT_FILE=f"}, want: "UIPATH_PAT and UIPATH_PAT_FILE are both set: unset one"},
		{name: "secret's file missing", environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_CLIENT_SECRET_FILE=f"}, want: "UIPATH_CLIENT_SECRET_FILE: open f"},
		{name: "secret's file empty", files: map[string]string{"f": "\n"}, environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_PAT_FILE=f"}, want: "UIPATH_PAT_FILE: the file f is empty"},
		{name: "secret's file without end", environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_PAT_FILE=/dev/zero"}, want: "UIPATH_PAT_FILE: /dev/zero is no file"},
		{name: "secret's file too long", files: map[string]string{"f": strings.Repeat("s", 2<<20)}, environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_PAT_FILE=f"}, want: "UIPATH_PAT_FILE: f has more than any secret"},
		{name: "secret's file missing, by the file", files: map[string]string{"waybill.yaml": "tenants:\n  - clientSecretFile: f\n"}, want: "tenant Default: clientSecretFile: open f"},
		{name: "token's file missing, by the file", files: map[string]string{"waybill.yaml": "tenants:\n  - patFile: f\n"}, want: "tenant Default: patFile: open f"},
		{name: "folder id", environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_FOLDER_ID=Finance"}, want: `UIPATH_FOLDER_ID "Finance": it must be a number`},
		{name: "two folders", environment: []string{"UIPATH_URL=" + cloudURL, "UIPATH_FOLDER_ID=7", "UIPATH_FOLDER_PATH=Finance"}, want: "tenant prod: give one of folder path, key and id"},
		{name: "credentials for one of several tenants", files: map[string]string{"waybill.yaml": several}, environment: []string{"UIPATH_CLIENT_SECRET=s"}, want: forNone},
		{name: "an application for one of several tenants", files: map[string]string{"waybill.yaml": several}, environment: []string{"UIPATH_CLIENT_ID=id"}, want: forNone},
		{name: "a user for one of several tenants", files: map[string]string{"waybill.yaml": several}, environment: []string{"UIPATH_USERNAME=ann"}, want: forNone},
		{name: "a login for one of several tenants", files: map[string]string{"waybill.yaml": several}, environment: []string{"UIPATH_LOGIN=user"}, want: forNone},
		{name: "credentials for a tenant that is not there", files: map[string]string{"waybill.yaml": several}, environment: []string{"UIPATH_TENANT=Live", "UIPATH_PAT=rt_1"}, want: forNone},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFolder(t, test.files, test.environment...)
			_, err := loadSettings(test.path)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %q, want %q", err, test.want)
			}
			if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cli.ExitUsage {
				t.Errorf("got %#v, want exit code %d", err, cli.ExitUsage)
			}
		})
	}
}

func TestWaysIn(t *testing.T) {
	t.Parallel()
	app := secrets{loginApplication: "s"}
	for _, test := range []struct {
		name   string
		tenant tenant
		want   orchestrator.Login
		fault  string
		code   cli.Code // 0: of credentials
	}{
		{
			name: "client credentials", tenant: tenant{ClientID: "id", secrets: app, Scopes: []string{"OR.Jobs"}, TokenURL: "https://id.example.net/token"},
			want: orchestrator.ClientCredentials{TokenURL: "https://id.example.net/token", ClientID: "id", ClientSecret: "s", Scopes: []string{"OR.Jobs"}},
		},
		{name: "Basic header", tenant: tenant{ClientID: "id", secrets: app, ClientAuth: "basic"}, want: orchestrator.ClientCredentials{ClientID: "id", ClientSecret: "s", BasicAuth: true}},
		{name: "personal access token", tenant: tenant{secrets: secrets{loginToken: "rt_1"}}, want: orchestrator.PersonalAccessToken("rt_1")},
		{name: "password", tenant: tenant{Name: "Default", Username: "ann", secrets: secrets{loginPassword: "pw"}}, want: orchestrator.Password{TenancyName: "Default", Username: "ann", Password: "pw"}},
		{
			name: "password, a tenant of another name", tenant: tenant{Name: "prod", TenancyName: "Default", Username: "ann", secrets: secrets{loginPassword: "pw"}},
			want: orchestrator.Password{TenancyName: "Default", Username: "ann", Password: "pw"},
		},
		{
			name: "user key", tenant: tenant{ClientID: "id", TokenURL: "https://legacy.example/oauth/token", secrets: secrets{loginUserKey: "k"}},
			want: orchestrator.UserKey{TokenURL: "https://legacy.example/oauth/token", ClientID: "id", Key: "k"},
		},
		{name: "user", tenant: tenant{Login: loginUser, ClientID: "id"}, want: orchestrator.RefreshToken{ClientID: "id"}},
		{name: "user, confidential application", tenant: tenant{Login: loginUser, ClientID: "id", secrets: app, ClientAuth: "basic"}, want: orchestrator.RefreshToken{ClientID: "id", ClientSecret: "s", BasicAuth: true}},
		{name: "one of two, by name", tenant: tenant{Login: loginToken, ClientID: "id", secrets: secrets{loginApplication: "s", loginToken: "rt_1"}}, want: orchestrator.PersonalAccessToken("rt_1")},

		{name: "nothing", tenant: tenant{Name: "prod"}, fault: "tenant prod: no credentials"},
		{name: "no secret", tenant: tenant{Name: "prod", ClientID: "id"}, fault: "tenant prod: there is a client id but no secret"},
		{name: "no id", tenant: tenant{Name: "prod", secrets: app}, fault: "tenant prod: login application lacks the application's id: set UIPATH_CLIENT_ID"},
		{name: "no user name", tenant: tenant{Name: "prod", secrets: secrets{loginPassword: "pw"}}, fault: "tenant prod: login password lacks the user's name: set UIPATH_USERNAME or username"},
		{name: "no password", tenant: tenant{Name: "prod", Login: loginPassword, Username: "ann"}, fault: "tenant prod: login password lacks its secret: set UIPATH_PASSWORD_FILE, UIPATH_PASSWORD, or passwordFile"},
		{name: "no address for a user key", tenant: tenant{Name: "prod", ClientID: "id", secrets: secrets{loginUserKey: "k"}}, fault: "tenant prod: login userKey lacks the address that takes user keys: set UIPATH_IDENTITY_URI or tokenUrl (account.uipath.com is retired"},
		{name: "two secrets", tenant: tenant{Name: "prod", ClientID: "id", secrets: secrets{loginApplication: "s", loginToken: "rt_1"}}, code: cli.ExitUsage, fault: "tenant prod: there are secrets for several ways in (application and token): give one of them"},
		{name: "no such login", tenant: tenant{Name: "prod", Login: "kerberos"}, code: cli.ExitUsage, fault: `tenant prod: login "kerberos": give one of application, user, token, password, userKey`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.tenant.login(tokenPlaces{tokenPlace: tokenPlace{Folder: t.TempDir()}})
			if test.fault != "" {
				if e, ok := errors.AsType[*cli.Error](err); !ok || e.Code != cmp.Or(test.code, cli.ExitCredentials) || !strings.HasPrefix(e.Error(), test.fault) {
					t.Errorf("got %v, want %q with exit code %d", err, test.fault, cmp.Or(test.code, cli.ExitCredentials))
				}
				return
			}
			if user, ok := got.(orchestrator.RefreshToken); ok {
				if user.Store == nil {
					t.Error("there is no place for its tokens")
				}
				user.Store = nil
				got = user
			}
			if diff := gocmp.Diff(test.want, got); err != nil || diff != "" {
				t.Errorf("error %v, login (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestTenancy(t *testing.T) {
	t.Parallel()
	const premises, suite = "https://orchestrator.example.net", "https://suite.example.net/acme/test/orchestrator_"
	for _, test := range []struct {
		name   string
		tenant tenant
		want   string
	}{
		{"cloud", tenant{Name: "prod", URL: cloudURL}, "prod"},
		{"cloud, an alias in subjects", tenant{Name: "live", URL: cloudURL}, "prod"},
		{"Automation Suite, an alias in subjects", tenant{Name: "live", URL: suite + "/"}, "test"},
		{"on-premises", tenant{Name: "Default", URL: premises}, "Default"},
		{"on-premises, another name", tenant{Name: "live", TenancyName: "Finance", URL: premises}, "Finance"},
		{"cloud, another name", tenant{Name: "live", TenancyName: "Finance", URL: cloudURL}, "Finance"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.tenant.secrets = secrets{loginToken: "rt_1"}
			cfg, err := settings{}.clientConfig(test.tenant, surroundings{log: slog.New(slog.DiscardHandler)})
			if err != nil || cfg.Tenant != test.want {
				t.Errorf("got %q, %v; want %q", cfg.Tenant, err, test.want)
			}
		})
	}
}

func TestTokenPlaces(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	key, err := tokens.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	const user = "UIPATH_LOGIN=user"
	for _, test := range []struct { //nolint:paralleltest // the same
		name        string
		yaml        string
		environment []string
		want        string // the place
		fault       string
	}{
		{"state folder", "", []string{user, "XDG_STATE_HOME=/state"}, "/state/waybill/prod-", ""},
		{"state folder that is no path", "", []string{user, "XDG_STATE_HOME=state", "HOME=/home/ann"}, "/home/ann/.local/state/waybill/prod-", ""},
		{"home", "", []string{user, "XDG_STATE_HOME=", "HOME=/home/ann"}, "/home/ann/.local/state/waybill/prod-", ""},
		{"folder of the file", "tokens: {folder: /tokens}\n", []string{user}, "/tokens/prod-", ""},
		{"folder of the environment", "tokens: {folder: /tokens}\n", []string{user, "WAYBILL_TOKEN_FOLDER=/other"}, "/other/prod-", ""},
		{"bucket without NATS", "tokens: {store: bucket}\n", []string{user, "WAYBILL_TOKEN_KEY=" + key}, "", "its login is kept in NATS"},
		{"no such store", "tokens: {store: redis}\n", []string{user}, "", `tokens store "redis" (WAYBILL_TOKEN_STORE): give file or bucket`},
		{"no key", "tokens: {keyFile: key}\n", []string{user}, "", "tokens keyFile: open key"},
		{"a key that is none", "", []string{user, "WAYBILL_TOKEN_KEY=hunter2"}, "", "WAYBILL_TOKEN_KEY: it holds no age identity"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFolder(t, map[string]string{"waybill.yaml": test.yaml + "tenants:\n  - {name: prod, url: " + cloudURL + ", clientId: id}\n"}, test.environment...)
			place, err := func() (orchestrator.TokenStore, error) {
				s, err := loadSettings("")
				if err != nil {
					return nil, err
				}
				return s.tokenPlaces(nil).of(s.Tenants[0])
			}()
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v, want %q", err, test.fault)
				}
				return
			}
			if err != nil || !strings.HasPrefix(fmt.Sprint(place), test.want) {
				t.Errorf("got %v, %v; want %s…", place, err, test.want)
			}
		})
	}
}

func TestFlagsGoBeforeFile(t *testing.T) {
	t.Parallel()
	file := limits{AckWait: time.Second, CallTimeout: time.Second, Hold: time.Second, Settle: time.Second, Patience: time.Second, Linger: time.Second, Drain: time.Second, BulkItems: 1, BulkBytes: 1, MaxHeld: 1, MaxAttempts: 1}
	var none serviceFlags
	if diff := gocmp.Diff(file, none.over(file)); diff != "" {
		t.Errorf("without flags (-want +got):\n%s", diff)
	}
	cmd := newRunCommand()
	if err := cmd.ParseFlags([]string{"--ack-wait=2s", "--call-timeout=2s", "--hold=2s", "--settle=2s", "--patience=2s", "--linger=2s", "--drain=2s", "--bulk-items=2"}); err != nil {
		t.Fatal(err)
	}
	all := serviceFlags{limits: limits{AckWait: 2 * time.Second, CallTimeout: 2 * time.Second, Hold: 2 * time.Second, Settle: 2 * time.Second, Patience: 2 * time.Second, Linger: 2 * time.Second, Drain: 2 * time.Second, BulkItems: 2}}
	want := all.limits
	want.BulkBytes, want.MaxHeld, want.MaxAttempts = 1, 1, 1 // there are no flags for these
	if diff := gocmp.Diff(want, all.over(file)); diff != "" {
		t.Errorf("with every flag (-want +got):\n%s", diff)
	}
}

// FuzzSettings: whatever stands in waybill.yaml is refused in words or means
// the same when it is written and read again, and no secret is taken from it.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		"", "prefix: uipath\nreplicas: 3\nretention: 720h\n", "tenants:\n- name: prod\n  url: " + cloudURL + "\n  clientId: id\n  folder: {path: Finance}\n",
		"limits: {hold: 45s, bulkItems: 1}\n", "limits: {hold: 45}\n", "prefix: [a]\n", "a: &a [*a]\n", "prefix: &p x\nworker: *p\n", "prefix: x\nprefix: y\n",
		"tenants: null\n", "{", "\t", "---\n---\n", "prefix: \"\\u0000\"\n", "tenants:\n- clientSecret: s\n", "? a\n: b\n", "replicas: 0x7f\n", "replicas: 1e3\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSettings(data)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("refused without a word")
			}
			return
		}
		for _, tenant := range s.Tenants {
			if len(tenant.secrets) > 0 {
				t.Error("the file gave a secret itself")
			}
		}
		written, err := yaml.Marshal(s)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := parseSettings(written)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, written)
		}
		if diff := gocmp.Diff(s, again, gocmp.AllowUnexported(tenant{}, tokenPlace{}, tokens.Key{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written and read again it means something else:\n%s", diff)
		}
	})
}
