package orchestrator_test

import (
	"errors"
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
