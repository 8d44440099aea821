package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const opLogin = "log in"

// loginError makes an *Error of whatever a token source returns.
func loginError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		if u.Timeout() {
			err = errors.New("no answer in time")
		} else {
			err = adviseTLS(u.Err)
		}
	}
	return &Error{Op: opLogin, Kind: Transient, Class: Identity, Err: err}
}

// identityTransport checks the token endpoint's answers before the oauth2
// package sees them, so that they are judged like all others.
type identityTransport struct {
	next      http.RoundTripper
	userAgent string
}

// RoundTrip returns an *Error for every answer that is not a token.
func (t identityTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.userAgent)
	req.Header.Set("Accept", "application/json")
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller is net/http, which wraps it
	}
	defer resp.Body.Close() //nolint:errcheck // the answer has been read, or its error is told
	a, err := read(resp)
	if err != nil {
		return nil, err
	}
	form := formOf(req)
	grant := form.Get("grant_type")
	if req.Header.Get("Authorization") == "" && !form.Has("client_secret") {
		grant = grantOpen + grant
	}
	refusal := a.hiding(secretsOf(req, form), func(a answer) *Error { return a.checkToken(grant) })
	if refusal != nil {
		return nil, refusal
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.withPlainExpiry().body))
	return resp, nil
}

// withPlainExpiry has expires_in as a whole number, or not at all: the oauth2
// package refuses the whole answer for anything else, when a refresh token has
// been used for it.
func (a answer) withPlainExpiry() answer {
	var members map[string]json.RawMessage
	if json.Unmarshal(a.body, &members) != nil || members["expires_in"] == nil {
		return a
	}
	delete(members, "expires_in")
	if life := a.tokenLife(); life > 0 {
		members["expires_in"] = json.RawMessage(strconv.FormatInt(int64(life/time.Second), 10))
	}
	if body, err := json.Marshal(members); err == nil {
		a.body = body
	}
	return a
}

// maxTokenLife keeps a wrong number from becoming a time in the past.
const maxTokenLife = 365 * 24 * time.Hour

// tokenLife is expires_in in whole seconds, however it is written; 0 where there
// is none that makes sense.
func (a answer) tokenLife() time.Duration {
	var members map[string]json.RawMessage
	if json.Unmarshal(a.body, &members) != nil {
		return 0
	}
	seconds, err := strconv.ParseFloat(strings.Trim(string(members["expires_in"]), `"`), 64)
	if err != nil || !(seconds >= 1) { // nor is NaN
		return 0
	}
	return time.Duration(min(seconds, maxTokenLife.Seconds())) * time.Second
}

// formOf is what a request for a token says, as far as it can be read again.
func formOf(req *http.Request) url.Values {
	if req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close() //nolint:errcheck // it is in memory
	text, err := io.ReadAll(body)
	if err != nil {
		return nil
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil
	}
	return form
}

// secretsOf gives what a request for a token has in it that must not be told,
// should the endpoint repeat it.
func secretsOf(req *http.Request, form url.Values) []string {
	_, password, _ := req.BasicAuth()
	encoded, err := url.QueryUnescape(password) // the header has it encoded once more
	if err != nil {
		encoded = password
	}
	_, credentials, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	secrets := []string{credentials, password, encoded}
	for _, field := range []string{"client_secret", "refresh_token", "code", "code_verifier"} {
		secrets = append(secrets, form.Get(field))
	}
	return secrets
}

// The grants, as the form names them; a user key comes as JSON.
const (
	grantRefreshToken      = "refresh_token"
	grantAuthorizationCode = "authorization_code"
	grantUserKey           = "user key"

	grantOpen = "open " // before a grant without a client secret
)

// tokenAnswer is what the token endpoint answers when it agrees.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
}

// longestToken is what servers take in a header, about.
const longestToken = 32 << 10

func (t *tokenAnswer) missing() string { return missingToken("access_token", t.AccessToken) }

// missingToken is what a member lacks that must be a token for a header.
func missingToken(member, token string) string {
	switch {
	case token == "":
		return member
	case len(token) > longestToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "a token in " + member + " that a header can carry"
	}
	return ""
}

// checkToken gives nil for a token and the reason for anything else.
func (a answer) checkToken(grant string) *Error {
	said := a.complaint()
	if a.ok() && said.oauth == "" {
		err := a.decode(new(tokenAnswer))
		if err == nil {
			return nil
		}
		return a.notALogin(err, "something other than the token endpoint answers: check the token URL, and proxies on the way")
	}
	e := a.failure(opLogin, Identity, false)
	if e.Kind != Transient || a.status <= 399 {
		// Whatever the number: the endpoint was reached and gives no token.
		e.Kind, e.Err = Denied, refusalOf(grant, said)
	}
	return e
}

// notALogin is the error for a 2xx that has no token in it.
func (a answer) notALogin(err error, advice string) *Error {
	return &Error{Op: opLogin, Kind: Denied, Class: Identity, StatusCode: a.status, Message: err.Error(), Err: errors.New(advice)}
}

// refusalError says in one sentence what is wrong about a login and what to
// change.
type refusalError struct {
	word   string // the token endpoint's: invalid_grant, …
	advice string
}

func (r *refusalError) Error() string { return r.advice }

// errGrantUsed is what errors.Is finds where a code or a refresh token is not
// accepted any more.
var errGrantUsed = errors.New("the grant is not accepted any more")

// Is makes errors.Is find errGrantUsed.
func (r *refusalError) Is(target error) bool {
	return target == errGrantUsed && r.word == "invalid_grant"
}

func refusalOf(grant string, said complaint) *refusalError {
	open := strings.HasPrefix(grant, grantOpen)
	advice, ok := grantAdvice[strings.TrimPrefix(grant, grantOpen)+" "+said.oauth]
	if open && said.oauth == "invalid_client" {
		advice, ok = "the identity server wants a client secret, or does not know this client id: check it, give the secret of a confidential application, and check that the token URL belongs to the application's organization", true
	}
	if !ok {
		advice, ok = loginAdvice[said.oauth]
	}
	if !ok && strings.Contains(strings.ToLower(said.message), "scope") {
		advice, ok = loginAdvice["invalid_scope"], true
	}
	if !ok {
		advice = "the identity server refuses the login: check the token URL, client id, client secret and scopes"
	}
	return &refusalError{word: said.oauth, advice: advice}
}

// loginAdvice is by the token endpoint's word, grantAdvice by grant and word.
var (
	loginAdvice = map[string]string{
		"invalid_client":         "the identity server does not know this client id with this client secret: check both, and that the token URL belongs to the application's organization",
		"invalid_scope":          "the application may not have one of the scopes asked for: add them to the application or ask for fewer, and of X, X.Read and X.Write for one only",
		"invalid_grant":          "what the login presents has expired, was revoked or was used before: log in anew",
		"unauthorized_client":    "the application may not log in this way: a confidential application with application scopes may by its secret, one with user scopes after a user's login (worker login)",
		"unsupported_grant_type": "the token endpoint does not offer this login: check the token URL",
	}
	grantAdvice = map[string]string{
		grantRefreshToken + " invalid_grant":      "the refresh token has expired (after 60 days), was revoked, or was used elsewhere before: log in again with worker login, and have all workers share one token store",
		grantAuthorizationCode + " invalid_grant": "the code has expired, was used before, or belongs to another application or redirect address: log in again, and check that RedirectURL is spelled as it is registered for the application",
		grantAuthorize + " " + wrongRedirect:      "the redirect address is not registered for the application: register it in UiPath, letter by letter, or set redirectUrl to one that is",
		grantAuthorize + " 219":                   "the user does not belong to the organization of the tenant's URL: log in as one who does, or leave the other organization in the browser first",
		grantAuthorize + " access_denied":         "the user, or a policy, has refused the application: log in again and agree",
		grantAuthorize + " unauthorized_client":   "the application may not log users in: give it user scopes and this redirect address",
		grantUserKey + " invalid_grant":           "the user key is not accepted: check it and the client id beside it, or make a new one",
	}
)
