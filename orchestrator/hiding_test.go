package orchestrator

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A secret of blanks, which is none, leaves the rest of a text as it is.
func TestHidingBlanks(t *testing.T) {
	t.Parallel()
	a := newAnswer(400, "application/json", `{"message":"no such thing","errorCode":1}`)
	e := a.hiding([]string{"   ", ""}, func(a answer) *Error { return a.failure("try", Reads, false) })
	if e == nil || e.Message != "no such thing" {
		t.Errorf("got %v", e)
	}
}

// A secret that is a part of what answers always say leaves their meaning alone.
func TestHidingLeavesTheMeaning(t *testing.T) {
	t.Parallel()
	const body = `{"message":"Invalid credentials.","errorCode":1000,"traceId":"00-1000-e"}`
	for _, secret := range []Secret{"wrong", "1000", "e", "errorCode", `"`, "{", ":1000", "429"} {
		var tries int
		client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
			tries++
			reply(w, http.StatusBadRequest, body)
		}, func(c *Config) {
			c.BaseURL, c.Login = "https://orchestrator.example.net", Password{Username: "ann", Password: secret}
		})
		_, err := client.Job(t.Context(), testFolder, 5)
		e := asError(t, err, Denied)
		if e.Code != 1000 || e.RetryAfter != 15*time.Minute || tries != 1 {
			t.Errorf("%q: code %d, %s to wait after %d tries; want 1000, 15m and 1", secret, e.Code, e.RetryAfter, tries)
		}
		wantText(t, e.Error(), "there is no such user with this password")
		if strings.Contains(e.Message+e.TraceID, string(secret)) && secret != "e" { // which [hidden] has in it
			t.Errorf("%q is in %q, %q", secret, e.Message, e.TraceID)
		}
	}
}

// No secret leaves a part of another that begins like it.
func TestHidingSecretsThatBeginAlike(t *testing.T) {
	t.Parallel()
	a := newAnswer(400, jsonType, `{"message":"got pass and pass-the-second"}`)
	e := a.hiding([]string{"pass", "pass-the-second"}, func(a answer) *Error { return a.failure("try", Reads, false) })
	if want := "got " + hidden + " and " + hidden; e.Message != want {
		t.Errorf("got %q, want %q", e.Message, want)
	}
}
