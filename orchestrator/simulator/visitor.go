package simulator

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// Visitor is a user in front of a browser, for tests of logins without one: it keeps its session, goes where the identity
// server sends it, and fills in the login page.
type Visitor struct {
	server             *Server
	username, password string
	http               *http.Client
}

// Visitor returns a user who has not logged in yet. It calls the Server in this process, as RoundTripper does.
func (s *Server) Visitor(username, password string) *Visitor {
	v := &Visitor{server: s, username: username, password: password}
	v.http = &http.Client{Transport: s.RoundTripper(), Jar: &sessionJar{}, CheckRedirect: v.staysHere}
	return v
}

// Open follows an address to the one that the browser ends on: the redirect URI, with a code or an error, or a page of the
// identity server's that says what is wrong. Its errors are those of the network.
func (v *Visitor) Open(ctx context.Context, address string) (end string, err error) {
	end, page, err := v.fetch(ctx, http.MethodGet, address, nil)
	form := loginForm.FindStringSubmatch(page)
	if err != nil || form == nil {
		return end, err
	}
	shown, err := url.Parse(end)
	if err != nil {
		return end, fmt.Errorf("address of the login page: %w", err)
	}
	action := shown.ResolveReference(&url.URL{Path: html.UnescapeString(form[1])})
	end, _, err = v.fetch(ctx, http.MethodPost, action.String(), url.Values{
		"returnUrl": {html.UnescapeString(form[2])}, "username": {v.username}, "password": {v.password},
	})
	return end, err
}

var loginForm = regexp.MustCompile(`(?s)<form [^>]*action="([^"]*)".*name="returnUrl" value="([^"]*)"`)

func (v *Visitor) fetch(ctx context.Context, method, address string, form url.Values) (end, page string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", fmt.Errorf("visit: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := v.http.Do(r)
	if err != nil {
		return "", "", fmt.Errorf("visit: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", "", fmt.Errorf("visit: %w", err)
	}
	if to, err := response.Location(); err == nil {
		return to.String(), "", nil
	}
	return response.Request.URL.String(), string(text), nil
}

// staysHere stops at the first redirect that leaves the identity server, which nothing answers in this process.
func (v *Visitor) staysHere(r *http.Request, _ []*http.Request) error {
	if v.server.locate(r.URL.Path).service != serviceIdentity {
		return http.ErrUseLastResponse
	}
	return nil
}

// sessionJar keeps the one cookie there is, whatever the host that the Server is called by.
type sessionJar struct {
	mu      sync.Mutex
	session []*http.Cookie
}

// SetCookies keeps the session.
func (j *sessionJar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.session = cookies
}

// Cookies gives it back.
func (j *sessionJar) Cookies(*url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.session
}
