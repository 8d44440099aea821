package simulator

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestErrorPage sees a bad redirect URI and an unknown application end at the identity server itself, also by way of a
// forged form.
func TestErrorPage(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{Org: "acme", ClientID: "app"})
	for _, tt := range []struct{ name, value, code, description string }{
		{"redirect_uri", "https://elsewhere.test/", "invalid_request", "Invalid redirect_uri"},
		{"client_id", "other", "unauthorized_client", "Unknown client or client not enabled"},
	} {
		b := newBrowser(t, s)
		login := b.authorize(authorizeURL, nil)
		forged := url.Values{"client_id": {"app"}, "redirect_uri": {redirectURI}}
		forged.Set(tt.name, tt.value)
		for _, p := range []visit{
			b.authorize(authorizeURL, url.Values{tt.name: {tt.value}}),
			b.submit(login, url.Values{"returnUrl": {"/x?" + forged.Encode()}, "username": {"u"}, "password": {"p"}}),
		} {
			if p.url.Path != "/identity_/web/" || p.url.Query().Get("errorCode") != tt.code || !strings.Contains(p.body, tt.description) {
				t.Errorf("%s: got to %s, %s", tt.name, p.url, p.body)
			}
			var message errorMessage
			decodeErrorID(t, p.url, &message)
			if message.Data.Error != tt.code || message.Data.ErrorDescription != tt.description || message.Created < 639147753138428564-1e17 {
				t.Errorf("%s: got message %+v", tt.name, message)
			}
		}
	}
}

func decodeErrorID(t *testing.T, u *url.URL, v any) {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(u.Query().Get("errorId"))
	if err != nil {
		t.Fatalf("%s: %v", u, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// TestRecordedRedirects holds the redirects to error pages against recorded ones.
func TestRecordedRedirects(t *testing.T) {
	t.Parallel()
	directory := os.Getenv("ORCHESTRATOR_EXAMPLES")
	if directory == "" {
		t.Skip("ORCHESTRATOR_EXAMPLES does not name a directory of recorded bodies, which are not part of this project")
	}
	type redirect struct {
		Response struct {
			Status   int            `json:"status"`
			Location string         `json:"location"`
			Decoded  map[string]any `json:"error_id_decoded"`
		} `json:"response"`
	}
	read := func(name string) (r redirect) {
		text, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	s, _ := setup(t, Config{Org: "acme", Users: []User{{Name: "joe", Password: "p", Org: "other"}}})
	b := newBrowser(t, s)

	var ours map[string]any
	decodeErrorID(t, b.authorize(authorizeURL, url.Values{"redirect_uri": {"https://elsewhere.test/"}}).url, &ours)
	if diff := cmp.Diff(shapeOf(read("identity-error-page-invalid-redirect.json").Response.Decoded), shapeOf(ours)); diff != "" {
		t.Errorf("error message (-recorded +got):\n%s", diff)
	}
	want, err := url.Parse(read("identity-error-page-219.json").Response.Location)
	if err != nil {
		t.Fatal(err)
	}
	got := b.logIn(b.authorize(testHost+"/identity_/connect/authorize", nil), "joe", "p").url
	wantBack, _, _ := strings.Cut(want.Query().Get("returnUrl"), "?")
	gotBack, _, _ := strings.Cut(got.Query().Get("returnUrl"), "?")
	if got.Path != want.Path || got.Query().Get("errorCode") != want.Query().Get("errorCode") || gotBack != wantBack || len(got.Query()) != len(want.Query()) {
		t.Errorf("redirect: got %s, recorded %s", got, want)
	}
	if got, want := got.Query().Get("traceId"), want.Query().Get("traceId"); len(got) != len(want) {
		t.Errorf("trace id: got %s, recorded %s", got, want)
	}
}

// shapeOf replaces the values in a JSON object by their types.
func shapeOf(object map[string]any) map[string]any {
	types := make(map[string]any)
	for name, value := range object {
		if inner, ok := value.(map[string]any); ok {
			types[name] = shapeOf(inner)
			continue
		}
		types[name] = jsonType(value)
	}
	return types
}
