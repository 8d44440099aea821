package orchestrator

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
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

// However a server writes what it repeats, Go's way or .NET's, whole or where a
// text is cut short, no part of the secret is told.
func TestHidingEverySpelling(t *testing.T) {
	t.Parallel()
	const secret = `Gh7+kL9)qW'e2&Zx/T5=secretTAIL`
	var escaped strings.Builder
	for _, r := range secret {
		fmt.Fprintf(&escaped, `\u%04X`, r)
	}
	for name, a := range map[string]answer{
		"form, Go":     newAnswer(400, "text/plain", "got client_secret="+url.QueryEscape(secret)),
		"form, .NET":   newAnswer(400, "text/plain", "got client_secret=Gh7%2bkL9)qW%27e2%26Zx%2fT5%3dsecretTAIL"),
		"path, lower":  newAnswer(400, "text/plain", "got /Gh7+kL9%29qW%27e2&Zx%2fT5=secretTAIL"),
		"title":        newAnswer(502, "text/html", "<title>got Gh7+kL9)qW&#x27;e2&amp;Zx&#47;T5=secretTAIL</title>"),
		"title, &#39":  newAnswer(502, "text/html", "<title>got "+html.EscapeString(secret)+"</title>"),
		"text, HTML":   newAnswer(400, "text/plain", "got "+html.EscapeString(secret)),
		"JSON, broken": newAnswer(400, "text/plain", `{"message":"got Gh7\u002bkL9)qW\u0027e2\u0026Zx\/T5\u003DsecretTAIL`),
		"JSON, .NET":   newAnswer(400, jsonType, `{"message":"got Gh7\u002BkL9)qW\u0027e2\u0026Zx\/T5=secretTAIL"}`),
		"at the cut":   newAnswer(400, jsonType, `{"message":"got `+strings.Repeat("x", maxMessage-15)+escaped.String()+`"}`),
	} {
		e := a.hiding([]string{secret}, func(a answer) *Error { return a.failure("try", Reads, false) })
		if e == nil || strings.Contains(e.Message, "Gh7") || strings.Contains(e.Message, "TAIL") || !strings.Contains(e.Message, "got ") {
			t.Errorf("%s: got %v", name, e)
		}
	}
}

// Where a secret is too long to look for, all is hidden that may have it.
func TestHidingWhatIsTooLong(t *testing.T) {
	t.Parallel()
	a := newAnswer(400, "text/plain", "got #it")
	for length, want := range map[int]string{longestToken: "got #it", longestToken + 1: hidden} {
		e := a.hiding([]string{strings.Repeat("#", length)}, func(a answer) *Error { return a.failure("try", Reads, false) })
		if e == nil || e.Message != want {
			t.Errorf("%d characters: got %v, want %q", length, e, want)
		}
	}
}

func BenchmarkHiding(b *testing.B) {
	token := strings.Repeat("eyJhbGciOiJSUzI1NiIsImtpZCI6IjE.", 40) // as long as the cloud's
	for name, text := range map[string]string{"nothing": "Too many requests", "repeated": "Bearer " + token} {
		b.Run(name, func(b *testing.B) {
			a := newAnswer(429, jsonType, `{"message":"`+text+`","errorCode":0,"traceId":"00-1"}`)
			b.ReportAllocs()
			for b.Loop() {
				if a.hiding([]string{token}, func(a answer) *Error { return a.failure("try", Reads, false) }) == nil {
					b.Fatal("no error")
				}
			}
		})
	}
}
