package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestStubKeepsTenantsApart: what is called for other tenants is in none of the
// counts that the verdict goes by.
func TestStubKeepsTenantsApart(t *testing.T) {
	t.Parallel()
	const latency = 30 * time.Millisecond
	s := newStub(0)
	for _, n := range []neighbour{{tenant: "Denied", denied: true}, {tenant: "Slow", latency: latency}} {
		if err := s.addBeside(n.tenant, n.temper()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.addBeside("Odd", "sulks"); err == nil {
		t.Error("a temper that is none is taken")
	}
	server := httptest.NewServer(s)
	defer server.Close()
	a := &api{address: server.Listener.Addr().String()}
	post := func(url, reference string) int {
		t.Helper()
		body := strings.NewReader(`{"queueItems":[{"Reference":"` + reference + `"}]}`)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	const bulk = "/odata/Queues/UiPathODataSvc.BulkAddQueueItems"
	if status := post(a.base()+bulk, keyOf(1)); status != http.StatusOK {
		t.Errorf("the tenant that is measured is answered %d", status)
	}
	began := time.Now()
	if status := post(a.baseOf("Slow", "Slow")+bulk, keyOf(2)); status != http.StatusOK || time.Since(began) < latency {
		t.Errorf("the slow tenant is answered %d after %s", status, time.Since(began))
	}
	if status := post("http://"+a.address+"/Denied/identity_"+opToken, ""); status != http.StatusBadRequest {
		t.Errorf("a login is answered %d, want 400", status)
	}
	if status := post("http://"+a.address+"/Slow/identity_"+opToken, ""); status != http.StatusOK {
		t.Errorf("the slow tenant's login is answered %d", status)
	}
	counts, err := a.counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if counts.allCalls() != 1 || counts.Effects != 1 || counts.Distinct != 1 || counts.Beside["Denied"] != 1 || counts.Beside["Slow"] != 2 {
		t.Errorf("counts %+v", counts)
	}
	if err := a.eachReference(t.Context(), func(reference string, n int) {
		if reference != keyOf(1) || n != 1 {
			t.Errorf("%s took effect %d times", reference, n)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
