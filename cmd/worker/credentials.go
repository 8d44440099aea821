package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
)

// loginKind is a way in, as waybill.yaml and UIPATH_LOGIN name it.
type loginKind string

const (
	loginApplication loginKind = "application" // an external application's secret
	loginUser        loginKind = "user"        // what worker login has stored
	loginToken       loginKind = "token"       // a personal access token
	loginPassword    loginKind = "password"    // user name and password, on-premises
	loginUserKey     loginKind = "userKey"     // a user key of the former cloud
)

var loginKinds = []loginKind{loginApplication, loginUser, loginToken, loginPassword, loginUserKey}

// How an application proves who it is.
const (
	clientAuthBody  = "body"
	clientAuthBasic = "basic"
)

// secrets are those of a tenant, by what they are for.
type secrets map[loginKind]orchestrator.Secret

// secretVariables are where secrets come from; each may be in a file that the
// variable with _FILE names.
var secretVariables = map[loginKind]string{
	loginApplication: "UIPATH_CLIENT_SECRET",
	loginToken:       "UIPATH_PAT",
	loginPassword:    "UIPATH_PASSWORD",
	loginUserKey:     "UIPATH_USER_KEY",
}

var secretFileNames = map[loginKind]string{
	loginApplication: "clientSecretFile",
	loginToken:       "patFile",
	loginPassword:    "passwordFile",
	loginUserKey:     "userKeyFile",
}

func (t *tenant) secretFiles() map[loginKind]*string {
	return map[loginKind]*string{
		loginApplication: &t.ClientSecretFile,
		loginToken:       &t.PATFile,
		loginPassword:    &t.PasswordFile,
		loginUserKey:     &t.UserKeyFile,
	}
}

func secretsFromEnvironment() (secrets, error) {
	var found secrets
	var faults []error
	for _, kind := range slices.Sorted(maps.Keys(secretVariables)) {
		value, err := secret(secretVariables[kind])
		faults = append(faults, err)
		if value != "" {
			if found == nil {
				found = make(secrets)
			}
			found[kind] = value
		}
	}
	return found, errors.Join(faults...)
}

// forgetSecrets takes what may have secrets in it out of the environment, before
// another program is started there.
func forgetSecrets() {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		for _, ours := range []string{"UIPATH_", "WAYBILL_", "NATS_"} {
			if strings.HasPrefix(name, ours) {
				_ = os.Unsetenv(name) // it fails for names that are none
			}
		}
	}
}

// kinds are the ways in that there is a secret for.
func (s secrets) kinds() []loginKind { return slices.Sorted(maps.Keys(s)) }

// secret reads a secret from the variable, or from the file that the variable
// with _FILE names.
func secret(variable string) (orchestrator.Secret, error) {
	value, path := os.Getenv(variable), os.Getenv(variable+"_FILE")
	if value != "" && path != "" {
		return "", cli.Errorf(cli.ExitUsage, "%s and %s_FILE are both set: unset one", variable, variable)
	}
	if path == "" {
		return orchestrator.Secret(value), nil
	}
	return secretFile(variable+"_FILE", path)
}

// standardInput names standard input in place of a secret's file.
const standardInput = "-"

// longestSecret is far more than any secret has.
const longestSecret = 1 << 20

// secretFile reads a secret's file; the line break that editors add at its end
// is not part of it.
func secretFile(what, path string) (orchestrator.Secret, error) {
	data, err := readSecret(path)
	if err != nil {
		return "", cli.Errorf(cli.ExitUsage, "%s: %w", what, err)
	}
	value := strings.TrimRight(strings.TrimPrefix(string(data), "\ufeff"), "\r\n")
	switch {
	case value == "" && path == standardInput:
		return "", cli.Errorf(cli.ExitUsage, "%s: standard input has nothing, or has been read already: it holds one secret", what)
	case value == "":
		return "", cli.Errorf(cli.ExitUsage, "%s: the file %s is empty", what, path)
	case len(data) > longestSecret:
		return "", cli.Errorf(cli.ExitUsage, "%s: %s has more than any secret: name a file that has the secret alone", what, path)
	}
	return orchestrator.Secret(value), nil
}

// readSecret reads a little more than a secret may have. Devices and folders are
// not read at all; pipes are, as <(…) of a shell makes them.
func readSecret(path string) ([]byte, error) {
	if path == standardInput {
		return io.ReadAll(io.LimitReader(os.Stdin, longestSecret+1)) //nolint:wrapcheck // the caller says of what
	}
	file, err := os.Open(path) //nolint:gosec // G304: the user names the file
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeNamedPipe == 0 {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(file, longestSecret+1)) //nolint:wrapcheck // it names the file
}

// kind is the way in: the one that is named, or the one there is a secret for.
func (t tenant) kind() (loginKind, error) {
	given := t.secrets.kinds()
	switch {
	case t.Login != "" && !slices.Contains(loginKinds, t.Login):
		return "", cli.Errorf(cli.ExitUsage, "tenant %s: login %q: give one of %s", t.Name, t.Login, words(loginKinds, ", "))
	case t.Login != "":
		return t.Login, nil
	case len(given) > 1:
		return "", cli.Errorf(cli.ExitUsage, "tenant %s: there are secrets for several ways in (%s): give one of them, or say which with login or UIPATH_LOGIN", t.Name, words(given, " and "))
	case len(given) == 1:
		return given[0], nil
	case t.ClientID != "":
		return "", cli.Errorf(cli.ExitCredentials, "tenant %s: there is a client id but no secret: set UIPATH_CLIENT_SECRET_FILE, UIPATH_CLIENT_SECRET, or clientSecretFile in %s; where a user is to log in with worker login, set login: user or UIPATH_LOGIN=user", t.Name, defaultFile)
	}
	return "", cli.Errorf(cli.ExitCredentials, "tenant %s: no credentials: set UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET_FILE of an external application, or UIPATH_PAT_FILE with a personal access token", t.Name)
}

func words(kinds []loginKind, between string) string {
	var texts []string
	for _, kind := range kinds {
		texts = append(texts, string(kind))
	}
	return strings.Join(texts, between)
}

// login is the way in that the settings describe. places has what users' logins
// have left.
func (t tenant) login(places tokenPlaces) (orchestrator.Login, error) {
	kind, err := t.kind()
	if err != nil {
		return nil, err
	}
	if err := t.complain(kind); err != nil {
		return nil, err
	}
	basic := t.ClientAuth == clientAuthBasic
	switch kind {
	case loginToken:
		return orchestrator.PersonalAccessToken(t.secrets[kind]), nil
	case loginPassword:
		return orchestrator.Password{TenancyName: t.tenancy(), Username: t.Username, Password: t.secrets[kind]}, nil
	case loginUserKey:
		return orchestrator.UserKey{TokenURL: t.TokenURL, ClientID: t.ClientID, Key: t.secrets[kind]}, nil
	case loginUser:
		store, err := places.of(t)
		if err != nil {
			return nil, cli.Errorf(cli.ExitUsage, "tenant %s: %w", t.Name, err)
		}
		return orchestrator.RefreshToken{TokenURL: t.TokenURL, ClientID: t.ClientID, ClientSecret: t.secrets[loginApplication], BasicAuth: basic, Store: store}, nil
	case loginApplication:
	}
	return orchestrator.ClientCredentials{TokenURL: t.TokenURL, ClientID: t.ClientID, ClientSecret: t.secrets[kind], Scopes: t.Scopes, BasicAuth: basic}, nil
}

// checkLogins finds what is wrong about the ways in before anything is connected
// to.
func (s settings) checkLogins() error {
	if len(s.Tenants) == 0 {
		return noTenant()
	}
	for _, t := range s.Tenants {
		kind, err := t.kind()
		if err == nil {
			err = t.complain(kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// complain says which setting a way in lacks.
func (t tenant) complain(kind loginKind) error {
	lacks := func(what, where string) error {
		return cli.Errorf(cli.ExitCredentials, "tenant %s: login %s lacks %s: set %s", t.Name, kind, what, where)
	}
	if variable, wanted := secretVariables[kind]; wanted && t.secrets[kind] == "" {
		return lacks("its secret", fmt.Sprintf("%s_FILE, %s, or %s in %s", variable, variable, secretFileNames[kind], defaultFile))
	}
	switch kind {
	case loginPassword:
		if t.Username == "" {
			return lacks("the user's name", "UIPATH_USERNAME or username")
		}
	case loginUserKey:
		if t.TokenURL == "" {
			return lacks("the address that takes user keys", "UIPATH_IDENTITY_URI or tokenUrl (account.uipath.com is retired; in Automation Cloud use an external application)")
		}
	case loginToken:
		return nil
	case loginApplication, loginUser:
	}
	if kind != loginPassword && t.ClientID == "" {
		return lacks("the application's id", "UIPATH_CLIENT_ID or clientId")
	}
	return nil
}
