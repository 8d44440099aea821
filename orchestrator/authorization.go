package orchestrator

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/oauth2"
)

const scopeOffline = "offline_access"

// AuthorizationRequest says what a user is asked to grant an application.
type AuthorizationRequest struct {
	// RedirectURL is where the browser is sent with the code; it must be
	// registered for the application, letter by letter.
	RedirectURL string
	// AuthorizeURL is the identity server's page. Empty: TokenURL with authorize
	// in place of token.
	AuthorizeURL string
	// Scopes are user scopes; none: DefaultScopes. offline_access, which brings
	// the refresh token, is added.
	Scopes []string
	// ACRValues pins the organization, as "tenant:" with its id or "tenantName:"
	// with its name. Empty: the name in BaseURL, where there is one.
	ACRValues string
}

// Authorization is one user's way through the browser: the authorization code
// flow with PKCE (S256), as in the page "External applications (OAuth)" of
// UiPath's API guide. It is good for one code.
type Authorization struct {
	config   oauth2.Config
	http     *http.Client
	acr      string
	state    string
	verifier string
}

// NewAuthorization begins one for a Config whose Login is a [RefreshToken]. It
// checks the configuration and sends nothing.
func NewAuthorization(cfg Config, ask AuthorizationRequest) (*Authorization, error) {
	login, ok := cfg.Login.(RefreshToken)
	if !ok {
		return nil, errors.New("authorization: Login is no RefreshToken: only that begins in a browser")
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	base, err := parseBaseURL(cfg.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	config, err := login.config(base)
	config.Endpoint.AuthURL = cmp.Or(ask.AuthorizeURL, authorizeURL(config.Endpoint.TokenURL))
	config.RedirectURL = ask.RedirectURL
	err = errors.Join(err, checkLoginURL("AuthorizeURL", config.Endpoint.AuthURL), checkRedirectURL(ask.RedirectURL))
	if err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	config.Scopes = slices.Clone(ask.Scopes)
	if len(config.Scopes) == 0 {
		config.Scopes = slices.Clone(DefaultScopes)
	}
	if !slices.Contains(config.Scopes, scopeOffline) {
		config.Scopes = append(config.Scopes, scopeOffline)
	}
	acr := ask.ACRValues
	if org, cloud := organization(base); acr == "" && cloud {
		acr = "tenantName:" + org
	}
	return &Authorization{
		config: config, http: loginClient(cfg.withDefaults()), acr: acr,
		state: uuid.NewString(), verifier: oauth2.GenerateVerifier(),
	}, nil
}

func authorizeURL(tokenURL string) string {
	return strings.TrimSuffix(tokenURL, "/token") + "/authorize"
}

func checkRedirectURL(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return fmt.Errorf("RedirectURL %q is no address to come back to: give the one registered for the application, like http://localhost:8085/callback", redactURL(value))
	}
	return nil
}

// URL is what the user is to open in a browser.
func (a *Authorization) URL() string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.verifier)}
	if a.acr != "" {
		options = append(options, oauth2.SetAuthURLParam("acr_values", a.acr))
	}
	return a.config.AuthCodeURL(a.state, options...)
}

// Answers tells that an address is the answer to this authorization: it has its
// state. Anybody can have a browser call the redirect address.
func (a *Authorization) Answers(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Query().Get("state") == a.state
}

// Exchange gets the tokens for what the browser came back with: the address it
// was sent to, or one of the identity server's error pages. The errors are
// *Error of class Identity, each with what to change.
func (a *Authorization) Exchange(ctx context.Context, address string) (Grant, error) {
	code, err := a.code(address)
	if err != nil {
		return Grant{}, &Error{Op: opLogin, Kind: Denied, Class: Identity, Err: err}
	}
	token, err := a.config.Exchange(withLoginClient(ctx, a.http), code, oauth2.VerifierOption(a.verifier))
	if err != nil {
		return Grant{}, loginError(err)
	}
	if token.RefreshToken == "" {
		return Grant{}, &Error{Op: opLogin, Kind: Denied, Class: Identity, Err: &refusalError{
			advice: "the identity server gave no refresh token: allow the application the scope offline_access",
		}}
	}
	scopes, _ := token.Extra("scope").(string)
	return Grant{
		TokenURL:      a.config.Endpoint.TokenURL,
		ClientID:      a.config.ClientID,
		Confidential:  a.config.ClientSecret != "",
		Login:         a.state,
		RefreshTokens: []Secret{Secret(token.RefreshToken)},
		AccessToken:   Secret(token.AccessToken),
		Expires:       token.Expiry,
		Scopes:        strings.Fields(scopes),
		RenewedAt:     time.Now(),
	}, nil
}

// code finds the code in an address, or says what stands there instead.
func (a *Authorization) code(address string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return "", errors.New("what was given is no address: give the whole address of the page that the browser ended on")
	}
	query := u.Query()
	ours := query.Get("state") == a.state
	switch {
	case query.Get("errorCode") != "":
		return "", errorPage(query)
	case query.Get("error") != "" && ours:
		return "", refusalOf(grantAuthorize, complaint{
			oauth: clean(query.Get("error")), message: clean(query.Get("error_description")),
		}).withWord(clean(query.Get("error_description")))
	case query.Get("code") == "":
		return "", errors.New("there is no code in the address: give the whole address of the page that the browser ended on, which begins with " + a.config.RedirectURL)
	case !ours:
		return "", errors.New("the address is the answer to another login: use the one that the browser was sent to just now")
	}
	return query.Get("code"), nil
}

// errorPage reads what the identity server's own error page has in its address.
func errorPage(query url.Values) error {
	word := clean(query.Get("errorCode"))
	var page struct {
		Data struct{ Error, ErrorDescription string }
	}
	encoded := strings.TrimRight(query.Get("errorId"), "=")
	text, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		text, err = base64.RawURLEncoding.DecodeString(encoded)
	}
	if err == nil && json.Unmarshal(text, &page) == nil && page.Data.Error != "" {
		word = clean(page.Data.Error)
	}
	said := complaint{oauth: word, message: clean(page.Data.ErrorDescription)}
	if strings.Contains(strings.ToLower(said.message), "redirect_uri") {
		said.oauth = wrongRedirect
	}
	return refusalOf(grantAuthorize, said).withWord(said.message)
}

const (
	grantAuthorize = "authorize"
	wrongRedirect  = "Invalid redirect_uri"
)

// withWord puts what the identity server says before what to do about it.
func (r *refusalError) withWord(description string) error {
	said := strings.Trim(r.word+": "+description, ": ")
	if r.word == description {
		said = description
	}
	return fmt.Errorf("%s: %w", short(said), r)
}
