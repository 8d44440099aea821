package simulator

import (
	"net/url"
	"strings"
	"testing"
)

func TestVisitor(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{Org: "acme", Users: []User{{Name: "ann", Password: "pw"}, {Name: "eve", Password: "pw", Org: "other"}}})
	query := url.Values{
		"client_id": {"app"}, "response_type": {"code"}, "redirect_uri": {redirectURI}, "state": {"s"}, "scope": {"OR.Queues"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	address := authorizeURL + "?" + query.Encode()
	ann := s.Visitor("ann", "pw")
	for _, tt := range []struct {
		name    string
		visitor *Visitor
		want    string
		pages   int // logins so far
	}{
		{"logs in", ann, "http://localhost:8085/callback?code=", 1},
		{"is logged in", ann, "http://localhost:8085/callback?code=", 1},
		{"wrong password", s.Visitor("ann", "guess"), "/web/login", 2},
		{"stranger", s.Visitor("eve", "pw"), "errorCode=219", 3},
	} {
		end, err := tt.visitor.Open(t.Context(), address)
		if err != nil || !strings.Contains(end, tt.want) {
			t.Errorf("%s: got %s, %v; want %q in it", tt.name, end, err, tt.want)
		}
		if got := s.Calls()["Login"]; got != tt.pages {
			t.Errorf("%s: %d login pages were filled in, want %d", tt.name, got, tt.pages)
		}
	}
}
