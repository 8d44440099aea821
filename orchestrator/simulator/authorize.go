package simulator

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// authorization is a request for a code: the parameters of the authorize endpoint, in its own query or in the return
// URL of the login page.
type authorization struct {
	url.Values
	org string // the organisation to log in to; empty: the user's
}

func (s *Server) newAuthorization(query url.Values, t target) authorization {
	a := authorization{Values: query, org: cmp.Or(t.org, s.cfg.Org)}
	for value := range strings.FieldsSeq(query.Get("acr_values")) {
		kind, org, _ := strings.Cut(value, ":")
		isOther := kind == "tenant" && s.cfg.OrgID != "" && !strings.EqualFold(org, s.cfg.OrgID)
		if kind == "tenantName" || isOther {
			a.org = org
		}
	}
	return a
}

func (a authorization) scopes() []string { return strings.Fields(a.Get("scope")) }

// serveAuthorize is the authorize endpoint, which a browser is sent to.
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request, t target) {
	s.calls.count("Authorize")
	if r.Method != http.MethodGet {
		s.writeHTML(w)
		return
	}
	a := s.newAuthorization(r.URL.Query(), t)
	if !s.admitAuthorization(w, r, t, a) {
		return
	}
	user, ok := s.tokens.userOf(r)
	if !ok {
		s.writeLoginPage(w, loginPage{Action: t.prefix + "/web/login", ReturnURL: returnURL(t, a)})
		return
	}
	if !s.belongsTo(user, a.org) {
		s.redirectStranger(w, r, t, a)
		return
	}
	s.redirectWithCode(w, r, a, user)
}

// admitAuthorization checks a request before anybody is asked to log in, and answers the one that is wrong. Where the
// redirect URI is in doubt the browser must not be sent there.
func (s *Server) admitAuthorization(w http.ResponseWriter, r *http.Request, t target, a authorization) bool {
	switch {
	case !accepts(s.cfg.ClientID, a.Get("client_id")):
		s.redirectToErrorPage(w, r, t, a, "unauthorized_client", "Unknown client or client not enabled")
		return false
	case !s.isRedirectURI(a.Get("redirect_uri")):
		s.redirectToErrorPage(w, r, t, a, "invalid_request", "Invalid redirect_uri")
		return false
	}
	if code, description := s.faultOf(a); code != "" {
		redirectBack(w, r, a, url.Values{"error": {code}, "error_description": {description}})
		return false
	}
	return true
}

// faultOf finds what is wrong about a request that is the application's to hear.
func (s *Server) faultOf(a authorization) (code, description string) {
	isPublic := s.cfg.ClientSecret == ""
	challenge := a.Get("code_challenge")
	const hashLength = 43 // of SHA-256 in base64url
	switch {
	case a.Get("response_type") != "code":
		return "unsupported_response_type", "Response type not supported"
	case challenge == "" && isPublic:
		return "invalid_request", "code challenge required"
	case challenge != "" && a.Get("code_challenge_method") != "S256":
		return "invalid_request", "Transform algorithm not supported"
	case challenge != "" && len(challenge) != hashLength:
		return "invalid_request", "Invalid code_challenge"
	case !scopesFit(a.scopes()):
		return "invalid_scope", "Invalid scope"
	}
	return "", ""
}

// isRedirectURI says whether a browser may be sent there with a code.
func (s *Server) isRedirectURI(uri string) bool {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Fragment != "" {
		return false
	}
	if len(s.cfg.RedirectURIs) > 0 {
		return slices.Contains(s.cfg.RedirectURIs, uri)
	}
	isWeb := parsed.Scheme == "http" || parsed.Scheme == "https"
	return isWeb && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, parsed.Hostname())
}

// redirectWithCode is what the endpoint is there for.
func (s *Server) redirectWithCode(w http.ResponseWriter, r *http.Request, a authorization, user User) {
	s.pauseAt(r, "Authorize", Before, neverCarries)
	issued := s.tokens.issueCode(code{
		login: &login{
			grant: grantAuthorizationCode, client: a.Get("client_id"), scopes: a.scopes(),
			org: cmp.Or(user.Org, s.cfg.Org, a.org),
		},
		redirectURI: a.Get("redirect_uri"),
		challenge:   a.Get("code_challenge"),
	})
	s.pauseAt(r, "Authorize", After, neverCarries)
	redirectBack(w, r, a, url.Values{"code": {issued}})
}

// redirectBack sends the browser to the application, with the state that it gave.
func redirectBack(w http.ResponseWriter, r *http.Request, a authorization, answer url.Values) {
	uri, _ := url.Parse(a.Get("redirect_uri")) // it has been parsed before
	query := uri.Query()
	for name := range answer {
		query.Set(name, answer.Get(name))
	}
	if a.Has("state") {
		query.Set("state", a.Get("state"))
	}
	uri.RawQuery = query.Encode()
	http.Redirect(w, r, uri.String(), http.StatusFound)
}

// returnURL brings a browser that has logged in back to its request.
func returnURL(t target, a authorization) string {
	return t.prefix + "/connect/authorize/callback?" + a.Encode()
}
