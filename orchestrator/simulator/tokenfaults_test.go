package simulator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tryRefresh hands a refresh token in where the failure is part of the test.
func (c *client) tryRefresh(ctx context.Context, token string) (exchange, error) {
	c.tb.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "refresh_token": {token}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		c.tb.Fatal(err)
	}
	r.Header.Set("Content-Type", formType)
	response, err := c.http.Do(r)
	if err != nil {
		return exchange{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return exchange{url: tokenURL, status: response.StatusCode, answer: response.Header, body: body}, err
}

// TestTokenFaults sees a refresh token used up, or not, behind an answer that does not come.
func TestTokenFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind FaultKind
		want string
		used bool // at once
		late bool // after LateBy
	}{
		{Throttle, "429", false, false},
		{ErrorBefore, "500", false, false},
		{ErrorAfter, "500", true, true},
		{Unavailable, "503", false, false},
		{GatewayTimeoutAfter, "504", true, true},
		{CutBefore, "reset", false, false},
		{CutAfter, "reset", true, true},
		{Late, "reset", false, true},
		{HTML, "200 HTML", true, true},
		{HTMLBefore, "200 HTML", false, false},
		{ExpiredToken, "200", true, true}, // there is none that could expire
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, c := setup(t, Config{})
				token := logInOffline(t, s, c).RefreshToken
				if err := s.SetFaults(Faults{TokenRate: 1, Kinds: []FaultKind{tt.kind}, LateBy: time.Hour}); err != nil {
					t.Fatal(err)
				}
				if got := outcome(c.tryRefresh(t.Context(), token)); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if got := s.TokenCounts().Refreshes == 1; got != tt.used {
					t.Errorf("used up: got %t, want %t", got, tt.used)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := s.TokenCounts().Refreshes == 1; got != tt.late {
					t.Errorf("used up an hour later: got %t, want %t", got, tt.late)
				}
				c.get(http.StatusOK, "/odata/QueueItems") // the API is spared
			})
		})
	}
}

// TestTokenFaultsStrikeEveryLogin sees the share and the seed honoured, and the other logins struck too.
func TestTokenFaultsStrikeEveryLogin(t *testing.T) {
	t.Parallel()
	run := func(rate float64) []string {
		_, c := setup(t, Config{Seed: 7, Faults: Faults{TokenRate: rate, Kinds: []FaultKind{Unavailable}}})
		c.base = testHost
		got := []string{}
		for range 20 {
			got = append(got, outcome(c.try(t.Context(), http.MethodPost, "/oauth/token", legacyBody)))
			got = append(got, outcome(c.try(t.Context(), http.MethodPost, authenticatePath, passwordLogin("", "admin", "p"))))
		}
		return got
	}
	first := run(0.5)
	if diff := cmp.Diff(first, run(0.5)); diff != "" {
		t.Errorf("two runs of one seed differ:\n%s", diff)
	}
	struck := strings.Count(strings.Join(first, " "), "503")
	if struck < 10 || struck > 30 {
		t.Errorf("struck: got %d of 40, want about half", struck)
	}
	for i, got := range run(1) {
		if got != strconv.Itoa(http.StatusServiceUnavailable) {
			t.Errorf("login %d: got %s, want 503", i, got)
		}
	}
}

// TestHoldToken kills a caller between the use of its refresh token and its receipt of the next.
func TestHoldToken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hold  Hold
		used  bool // while held
		after bool // after release, the caller having hung up
	}{
		{Hold{Operation: "Token"}, false, false},
		{Hold{Operation: "Token", Outlives: true}, false, true},
		{Hold{Operation: "Token", When: After}, true, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, c := setup(t, Config{})
			token := logInOffline(t, s, c).RefreshToken
			if err := tt.hold.Validate(); err != nil {
				t.Fatal(err)
			}
			held := s.Hold(tt.hold)
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			ended := make(chan error)
			go func() {
				_, err := c.tryRefresh(ctx, token)
				ended <- err
			}()
			<-held.Arrived()
			synctest.Wait()
			if got := s.TokenCounts().Refreshes == 1; got != tt.used {
				t.Errorf("%+v: used while held: got %t, want %t", tt.hold, got, tt.used)
			}
			kill()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("%+v: the caller got %v, want its own end", tt.hold, err)
			}
			synctest.Wait()
			held.Release()
			synctest.Wait()
			if got := s.TokenCounts().Refreshes == 1; got != tt.after {
				t.Errorf("%+v: used after release: got %t, want %t", tt.hold, got, tt.after)
			}
			status := http.StatusOK
			if tt.after {
				status = http.StatusBadRequest
			}
			c.refresh(status, token, nil)
		})
	}
}

// TestHoldLogins sees the other ways in wait, and go on when released.
func TestHoldLogins(t *testing.T) {
	t.Parallel()
	for operation, call := range map[string]func(*Server, *client){
		"Authorize":    func(s *Server, c *client) { codeOf(c.tb, s, nil) },
		"Authenticate": func(_ *Server, c *client) { c.post(http.StatusOK, authenticatePath, passwordLogin("", "jane", "p")) },
		"Token": func(_ *Server, c *client) {
			c.token(http.StatusOK, legacyURL, "application/json", legacyBody)
		},
	} {
		for _, when := range []HoldPoint{Before, After} {
			synctest.Test(t, func(t *testing.T) {
				s, c := setup(t, Config{})
				c.base = testHost
				held := s.Hold(Hold{Operation: operation, When: when})
				go func() {
					<-held.Arrived()
					time.Sleep(time.Hour)
					held.Release()
				}()
				began := time.Now()
				call(s, c)
				if took := time.Since(began); took != time.Hour {
					t.Errorf("%s %s: took %v, want an hour", operation, when, took)
				}
			})
		}
	}
}
