package orchestrator

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Password is the login with a user's name and password, which standalone
// Orchestrator offers, as in the page "ROPC authentication" of its API guide.
// UiPath advises against it where an external application can be had.
type Password struct {
	TenancyName string // the tenant's name; default Config.Tenant
	Username    string // user name or e-mail address
	Password    Secret
}

// passwordTokenLife is how long such a token is good by default; the answer does
// not say. Where an administrator has set less, the first 401 renews it.
const passwordTokenLife = 30 * time.Minute

const pathAuthenticate = "/api/Account/Authenticate"

// authenticateRequest is the body that Orchestrator wants.
type authenticateRequest struct {
	TenancyName string `json:"tenancyName,omitempty"`
	Username    string `json:"usernameOrEmailAddress"`
	Password    string `json:"password"`
}

// authenticateAnswer is the envelope that has the token in it.
type authenticateAnswer struct {
	Result  string `json:"result"`
	Success *bool  `json:"success"`
}

func (a *authenticateAnswer) missing() string { return missingToken("result", a.Result) }

func (l Password) tokenSource(cfg Config, base *url.URL) (oauth2.TokenSource, error) {
	faults := []error{required(
		requiredField{"Username", l.Username, "the user's name or e-mail address"},
		requiredField{"Password", string(l.Password), "the user's password"},
	)}
	if _, cloud := organization(base); cloud {
		faults = append(faults, fmt.Errorf("login by password at BaseURL %q: only standalone Orchestrator, https://host, has it; use an external application", base))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	poster := jsonPoster{client: plainClient(cfg), address: strings.TrimSuffix(base.String(), "/") + pathAuthenticate, userAgent: cfg.UserAgent}
	body := authenticateRequest{TenancyName: cmp.Or(l.TenancyName, cfg.Tenant), Username: l.Username, Password: string(l.Password)}
	return tokenFunc(func() (*oauth2.Token, error) {
		asked := time.Now()
		a, err := poster.post(body)
		if err != nil {
			return nil, err
		}
		var token string
		refusal := a.hiding([]string{string(l.Password)}, func(a answer) (e *Error) {
			token, e = a.authenticated()
			return e
		})
		if refusal != nil {
			return nil, refusal
		}
		return &oauth2.Token{AccessToken: token, Expiry: asked.Add(passwordTokenLife)}, nil
	}), nil
}

func (Password) refused() string {
	return "a freshly issued token is refused too: check that the user belongs to the tenant, and its tenancy name"
}

// betweenWrongPasswords keeps a worker that has a wrong password from locking
// its user: everybody else who uses that user would be locked out too.
const betweenWrongPasswords = 15 * time.Minute

// authenticated gives the token, or what came instead of it.
func (a answer) authenticated() (string, *Error) {
	var envelope authenticateAnswer
	if a.ok() {
		switch err := a.decode(&envelope); {
		case err == nil && (envelope.Success == nil || *envelope.Success):
			return envelope.Result, nil
		case envelope.Success == nil || *envelope.Success:
			return "", a.notALogin(err, "something other than Orchestrator answers: check the tenant's URL, and proxies on the way; Automation Cloud has no login by password")
		}
	}
	said := a.complaint()
	e := a.failure(opLogin, Identity, false)
	if e.Kind == Transient && a.status > 399 {
		return "", e
	}
	e.Kind, e.Err = Denied, errors.New("the login by password is refused: check that Orchestrator offers it, user name, password and tenancy name")
	if said.code == codeInvalidCredentials || a.status == http.StatusUnauthorized {
		e.RetryAfter = betweenWrongPasswords
		e.Err = errors.New("there is no such user with this password in this tenant: check user name, password and tenancy name; since Orchestrator locks users after some attempts, the next one is made in " + betweenWrongPasswords.String() + ", or by a worker that is started anew")
	}
	return "", e
}
