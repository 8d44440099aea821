package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const (
	testHost     = "https://orchestrator.test"
	authorizeURL = testHost + "/acme/identity_/connect/authorize"
	redirectURI  = "http://localhost:8085/callback?from=login"
	verifier     = "a-verifier-of-more-than-forty-three-characters"
)

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// browser keeps cookies and follows redirects, as long as they stay with the Server.
type browser struct {
	tb   testing.TB
	http *http.Client
}

// visit is where a browser has come to: a page of the Server, or the redirect URI, which has none.
type visit struct {
	url  *url.URL
	body string
}

func newBrowser(tb testing.TB, s *Server) *browser {
	tb.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return &browser{tb: tb, http: &http.Client{
		Transport: s.RoundTripper(), Jar: jar,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if r.URL.Hostname() != "orchestrator.test" {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}}
}

func (b *browser) do(r *http.Request) visit {
	b.tb.Helper()
	response, err := b.http.Do(r)
	if err != nil {
		b.tb.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.tb.Fatal(err)
	}
	if response.StatusCode == http.StatusFound {
		to, err := response.Location()
		if err != nil {
			b.tb.Fatal(err)
		}
		return visit{url: to}
	}
	if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(got, "text/html") {
		b.tb.Fatalf("%s: got %s, %s; want a page", r.URL, response.Status, got)
	}
	return visit{url: response.Request.URL, body: string(body)}
}

// authorize asks for a code, with the usual parameters unless they are given; a nil one is left out.
func (b *browser) authorize(address string, more url.Values) visit {
	b.tb.Helper()
	query := url.Values{
		"client_id": {"app"}, "response_type": {"code"}, "redirect_uri": {redirectURI}, "state": {"s & t"},
		"scope": {"OR.Queues OR.Folders.Read offline_access"}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	maps.Copy(query, more)
	r, err := http.NewRequestWithContext(b.tb.Context(), http.MethodGet, address+"?"+query.Encode(), http.NoBody)
	if err != nil {
		b.tb.Fatal(err)
	}
	return b.do(r)
}

var (
	formAction = regexp.MustCompile(`<form [^>]*action="([^"]*)"`)
	formReturn = regexp.MustCompile(`name="returnUrl" value="([^"]*)"`)
)

// submit fills a login page in.
func (b *browser) submit(p visit, fields url.Values) visit {
	b.tb.Helper()
	action, back := formAction.FindStringSubmatch(p.body), formReturn.FindStringSubmatch(p.body)
	if action == nil || back == nil {
		b.tb.Fatalf("%s is no login page: %s", p.url, p.body)
	}
	form := url.Values{"returnUrl": {html.UnescapeString(back[1])}}
	maps.Copy(form, fields)
	to := p.url.ResolveReference(&url.URL{Path: html.UnescapeString(action[1])})
	r, err := http.NewRequestWithContext(b.tb.Context(), http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r)
}

func (b *browser) logIn(p visit, username, password string) visit {
	b.tb.Helper()
	return b.submit(p, url.Values{"username": {username}, "password": {password}})
}

// code is what the redirect URI was given.
func (p visit) code(tb testing.TB) string {
	tb.Helper()
	if p.url.Hostname() != "localhost" || p.url.Query().Get("code") == "" {
		tb.Fatalf("got to %s, want the redirect URI with a code; body %s", p.url, p.body)
	}
	return p.url.Query().Get("code")
}

// codeOf goes the whole way to a code for the user jane.
func codeOf(tb testing.TB, s *Server, more url.Values) string {
	tb.Helper()
	b := newBrowser(tb, s)
	return b.logIn(b.authorize(authorizeURL, more), "jane", "p").code(tb)
}

// redeem hands a code in.
func (c *client) redeem(status int, code string, more url.Values) exchange {
	c.tb.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"app"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	}
	maps.Copy(form, more)
	return c.token(status, tokenURL, formType, form.Encode())
}

// refresh hands a refresh token in.
func (c *client) refresh(status int, token string, more url.Values) exchange {
	c.tb.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "refresh_token": {token}}
	maps.Copy(form, more)
	return c.token(status, tokenURL, formType, form.Encode())
}

func (x exchange) granted(tb testing.TB) tokenBody {
	tb.Helper()
	var body tokenBody
	x.decode(tb, &body)
	return body
}

func (x exchange) oauthError(tb testing.TB) string {
	tb.Helper()
	var body oauthBody
	x.decode(tb, &body)
	return body.Error
}
