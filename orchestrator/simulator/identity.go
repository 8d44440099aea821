package simulator

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

// identityPage answers at one path of the identity server.
type identityPage func(*Server, http.ResponseWriter, *http.Request, target)

// identityPages are found below /identity, /identity_ and /{org}/identity_.
var identityPages = map[string]identityPage{
	"/connect/token":              (*Server).serveToken,
	"/connect/authorize":          (*Server).serveAuthorize,
	"/connect/authorize/callback": (*Server).serveAuthorize, // where the login page returns to
	"/web/login":                  (*Server).serveLogin,
	"/web/":                       (*Server).serveErrorPage,
}

const (
	authenticatePath     = "/api/Account/Authenticate"
	serviceInstancesPath = "/cloudrpa/api/account/{account}/getAllServiceInstances"
)

// loginPages are found at the top of the host: on-premises, and where the cloud once had them.
var loginPages = map[string]identityPage{
	authenticatePath:                   (*Server).serveAuthenticate,
	"/oauth/token":                     (*Server).serveLegacyToken,
	"/cloudrpa/api/getAccountsForUser": (*Server).serveAccounts,
	serviceInstancesPath:               (*Server).serveServiceInstances,
}

// locateIdentity finds the identity server in its three forms of URL, and the older logins.
func (s *Server) locateIdentity(path string) (target, bool) {
	t := target{service: serviceIdentity, path: path}
	before, after, _ := strings.Cut(serviceInstancesPath, "{account}")
	if rest, ok := strings.CutPrefix(path, before); ok {
		t.org, ok = strings.CutSuffix(rest, after)
		t.path = serviceInstancesPath
		return t, ok && named(s.cfg.Org, t.org)
	}
	if _, ok := loginPages[path]; ok {
		return t, true
	}
	segment, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	t.prefix, t.path = "/"+segment, "/"+rest
	if segment != "identity" && segment != "identity_" {
		below, ok := strings.CutPrefix(rest, "identity_/")
		if !ok || !named(s.cfg.Org, segment) {
			return target{}, false
		}
		t.prefix, t.path, t.org = "/"+segment+"/identity_", "/"+below, segment
	}
	_, ok := identityPages[t.path]
	return t, ok
}

func (s *Server) serveIdentity(w http.ResponseWriter, r *http.Request, t target) {
	pages := identityPages
	if t.prefix == "" {
		pages = loginPages
	}
	pages[t.path](s, w, r, t)
}

type tokenBody struct {
	AccessToken  string `json:"access_token"`
	IDToken      string `json:"id_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	ExpiresIn    int    `json:"expires_in"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope"`
}

// serveToken is the token endpoint.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request, _ target) {
	s.calls.count("Token")
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what cannot be parsed is not the form either
	if r.Method != http.MethodPost || media != "application/x-www-form-urlencoded" {
		// Not the form: the identity server takes the caller for a browser and shows its login page.
		s.writeHTML(w)
		return
	}
	prepared, err := s.prepareToken(r)
	s.serveGrant(w, r, "Token", prepared, err)
}

// serveGrant answers a call for tokens: past faults and holds, which are the same for every way to log in.
func (s *Server) serveGrant(w http.ResponseWriter, r *http.Request, operation string, prepared effect, err *refusal) {
	if err != nil {
		s.writeRefusal(w, err)
		return
	}
	granted, err, ok := s.carryOut(w, r, operation, s.faults.drawToken(), prepared)
	switch {
	case !ok:
	case err != nil:
		s.writeRefusal(w, err)
	default:
		w.Header().Set("Cache-Control", "no-store, no-cache, max-age=0")
		s.writeJSON(w, granted.status, granted.body)
	}
}

// The grant types of the token endpoint.
const (
	grantClientCredentials = "client_credentials"
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
)

func (s *Server) prepareToken(r *http.Request) (effect, *refusal) {
	if r.ParseForm() != nil {
		return effect{}, oauthError(http.StatusBadRequest, "invalid_request")
	}
	form := r.PostForm
	grant := form.Get("grant_type")
	if !slices.Contains([]string{grantClientCredentials, grantAuthorizationCode, grantRefreshToken}, grant) {
		return effect{}, oauthError(http.StatusBadRequest, "unsupported_grant_type")
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	// Only an application by itself needs a secret; for a user it has one or not.
	isPublic := grant != grantClientCredentials && s.cfg.ClientSecret == ""
	if !accepts(s.cfg.ClientID, id) || (!isPublic && !accepts(s.cfg.ClientSecret, secret)) {
		return effect{}, oauthError(s.cfg.InvalidClientStatus, "invalid_client")
	}
	switch grant {
	case grantAuthorizationCode:
		given := redemption{
			code: form.Get("code"), client: id, redirectURI: form.Get("redirect_uri"), verifier: form.Get("code_verifier"),
		}
		return granting(func() (tokenBody, bool) { return s.tokens.redeem(given, s.cfg.TokenLife, s.cfg.RefreshTokenLife) }), nil
	case grantRefreshToken:
		return granting(func() (tokenBody, bool) { return s.tokens.renew(form.Get("refresh_token"), id, &s.cfg) }), nil
	default:
		return s.prepareClientCredentials(id, strings.Fields(form.Get("scope")))
	}
}

func (s *Server) prepareClientCredentials(id string, scopes []string) (effect, *refusal) {
	if slices.Contains(scopes, offlineAccess) || !scopesFit(scopes) {
		return effect{}, oauthError(http.StatusBadRequest, "invalid_scope")
	}
	l := &login{grant: grantClientCredentials, client: id, scopes: scopes}
	return granting(func() (tokenBody, bool) { return s.tokens.enter(l, s.cfg.TokenLife), true }), nil
}

// granting makes a call's effect of what issues the tokens, or finds that there is nothing to issue them for.
func granting(issue func() (tokenBody, bool)) effect {
	return effect{carries: neverCarries, apply: func() (answer, *refusal) {
		body, ok := issue()
		if !ok {
			return answer{}, oauthError(http.StatusBadRequest, "invalid_grant")
		}
		return answer{status: http.StatusOK, body: body}, nil
	}}
}

func oauthError(status int, code string) *refusal {
	return &refusal{status: status, message: code, shape: shapeOAuth}
}

// accepts says whether what was given is what is wanted, where anything but nothing is wanted if want is empty.
func accepts(want, got string) bool {
	if want == "" {
		return got != ""
	}
	return want == got
}

// scopesFit refuses what the identity server refuses: a resource asked for as a whole together with its parts.
func scopesFit(scopes []string) bool {
	for _, scope := range scopes {
		whole, isPart := strings.CutSuffix(scope, ".Read")
		if !isPart {
			whole, isPart = strings.CutSuffix(scope, ".Write")
		}
		if isPart && slices.Contains(scopes, whole) {
			return false
		}
	}
	return true
}
