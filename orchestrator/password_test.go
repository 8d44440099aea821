package orchestrator_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// A wrong password is not tried again and again: Orchestrator locks users after
// some attempts, and everybody who uses that one would be locked out.
func TestWrongPasswordDoesNotLockTheUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := simulator.New(simulator.Config{Users: []simulator.User{{Name: "ann", Password: "pass word"}}})
		t.Cleanup(server.Close)
		client, err := orchestrator.New(orchestrator.Config{
			BaseURL: onPremises, Tenant: "Default", Transport: server.RoundTripper(), Login: orchestrator.Password{Username: "ann", Password: "guess"},
		})
		if err != nil {
			t.Fatal(err)
		}
		started := time.Now()
		for time.Since(started) < 14*time.Minute {
			err := ask(t, client)
			e, ok := errors.AsType[*orchestrator.Error](err)
			if left := 15*time.Minute - time.Since(started); !ok || !e.LoginRefused() || e.RetryAfter != left {
				t.Fatalf("got %v, want it refused, with %s to wait", err, left)
			}
			time.Sleep(10 * time.Second)
		}
		if got := server.Calls()["Authenticate"]; got != 1 {
			t.Errorf("%d attempts in a quarter of an hour, want 1", got)
		}
		time.Sleep(time.Minute)
		_ = ask(t, client)
		if got := server.Calls()["Authenticate"]; got != 2 {
			t.Errorf("%d attempts after it, want 2", got)
		}
	})
}

// A token that no header can carry is refused at the login, not found out by a
// call of which nobody then knows whether it was sent.
func TestPasswordTokenForNoHeader(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	orchestratorHere := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"result":"a\nb","success":true}`)
	})
	server := httptest.NewServer(orchestratorHere)
	t.Cleanup(server.Close)
	client, err := orchestrator.New(orchestrator.Config{BaseURL: server.URL, Tenant: "Default", Login: orchestrator.Password{Username: "ann", Password: "pass word"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	_, err = client.StartJobs(t.Context(), orchestrator.Folder{ID: 1}, orchestrator.StartInfo{ReleaseKey: "r"})
	e, ok := errors.AsType[*orchestrator.Error](err)
	if !ok || e.Kind != orchestrator.Denied || !strings.Contains(e.Error(), "lacks a token in result that a header can carry") || calls.Load() != 1 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}
