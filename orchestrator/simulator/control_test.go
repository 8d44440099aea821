package simulator

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestControl sets a Server up, upsets it and looks at it over HTTP alone.
func TestControl(t *testing.T) {
	t.Parallel()
	s := New(Config{})
	t.Cleanup(s.Close)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	api := newClient(t, s)
	api.http, api.base = server.Client(), server.URL
	control := newClient(t, s)
	control.http, control.base, control.header = server.Client(), server.URL+"/simulator", http.Header{}

	control.post(http.StatusCreated, "/folders", object{"path": testFolder})
	control.post(http.StatusCreated, "/queues", object{"folder": testFolder, "name": "Invoices", "schema": object{"type": "object"}})
	control.post(http.StatusCreated, "/queues", object{"folder": testFolder, "name": "Unique", "unique": true, "maxRetries": 1})
	control.post(http.StatusCreated, "/releases", object{"folder": testFolder, "name": "Post invoices"})
	control.post(http.StatusCreated, "/releases", object{
		"folder": testFolder, "name": "Homeless", "refuses": object{"status": 409, "code": 2818, "message": "no machine"},
	})
	control.post(http.StatusCreated, "/robots", object{"folder": testFolder, "name": "payer", "username": `ACME\payer`})
	control.post(http.StatusCreated, "/machines", object{"folder": testFolder, "name": "pool", "host": "HOST1", "runtimes": 4})
	control.post(http.StatusBadRequest, "/robots", object{"name": "payer"})
	control.post(http.StatusBadRequest, "/machines", object{"folder": testFolder})
	if got := api.post(http.StatusConflict, startPath, start(object{"ReleaseName": "Homeless"})).code(t); got != 2818 {
		t.Errorf("refusing release: got code %d, want 2818", got)
	}

	control.do(http.StatusNoContent, http.MethodPut, "/faults", object{"rate": 1, "kinds": []string{"Unavailable"}, "latency": "1ms"})
	api.post(http.StatusServiceUnavailable, addPath, item("Unique", "R"))
	var faults faultsBody
	control.get(http.StatusOK, "/faults").decode(t, &faults)
	if faults.Rate != 1 || len(faults.Kinds) != 1 || faults.LateBy == 0 {
		t.Errorf("faults: got %+v", faults)
	}
	control.do(http.StatusNoContent, http.MethodPut, "/faults", object{})

	var hold struct{ ID string }
	control.post(http.StatusCreated, "/holds", object{"operation": "AddQueueItem", "when": "after", "reference": "R"}).decode(t, &hold)
	arrived := func(wait string) bool {
		var got struct{ Arrived bool }
		control.get(http.StatusOK, "/holds/"+hold.ID+"?wait="+wait).decode(t, &got)
		return got.Arrived
	}
	if arrived("0s") {
		t.Error("the hold has been reached before there was a call")
	}
	added := make(chan int64)
	go func() {
		x, err := api.try(t.Context(), http.MethodPost, addPath, item("Unique", "R"))
		if err != nil {
			t.Error(err)
		}
		added <- x.created(t)
	}()
	if !arrived("30s") {
		t.Error("the call has not reached the hold")
	}
	control.do(http.StatusNoContent, http.MethodDelete, "/holds/"+hold.ID, nil)
	id := <-added
	control.get(http.StatusNotFound, "/holds/"+hold.ID)

	var finished struct{ Successor int64 }
	control.post(http.StatusOK, fmt.Sprintf("/queueitems/%d/finish", id), object{
		"status": "Failed", "exception": object{"type": "ApplicationException", "reason": "down"},
	}).decode(t, &finished)
	if finished.Successor != id+1 {
		t.Errorf("successor: got %d, want %d", finished.Successor, id+1)
	}

	var effects struct {
		Count   int
		Effects []Effect
	}
	control.get(http.StatusOK, "/effects?reference=R").decode(t, &effects)
	if effects.Count != 1 || len(effects.Effects) != 1 || effects.Effects[0].ID != id {
		t.Errorf("effects: got %+v", effects)
	}
	control.get(http.StatusOK, "/effects?reference=S").decode(t, &effects)
	if effects.Count != 0 {
		t.Errorf("effects of another reference: got %+v", effects)
	}
	var counts EffectCounts
	control.get(http.StatusOK, "/effects/counts").decode(t, &counts)
	if diff := cmp.Diff(EffectCounts{Effects: 1, Distinct: 1, Repeated: []RepeatedEffect{}}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	var calls map[string]int
	control.get(http.StatusOK, "/calls").decode(t, &calls)
	if diff := cmp.Diff(map[string]int{"AddQueueItem": 2, "StartJobs": 1}, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	var index controlIndexBody
	control.get(http.StatusOK, "/").decode(t, &index)
	if index.Items != 2 || len(index.Folders) != 2 || len(index.Folders[1].Queues) != 2 || len(index.Folders[1].Releases) != 2 {
		t.Errorf("index: got %+v", index)
	}
	control.post(http.StatusNoContent, "/folders/renumber", nil)
	control.post(http.StatusNoContent, "/reset", nil)
	control.get(http.StatusOK, "/effects").decode(t, &effects)
	if effects.Count != 0 {
		t.Errorf("effects after reset: got %+v", effects)
	}
	if again := api.post(http.StatusCreated, addPath, item("Unique", "R")).created(t); again != id+2 {
		t.Errorf("id after reset: got %d, want %d", again, id+2)
	}
}

func TestControlRefuses(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	c.base, c.header = "https://orchestrator.test/simulator", http.Header{}
	for _, tt := range []struct {
		method, path string
		body         any
		status       int
	}{
		{"PUT", "/faults", object{"rate": 3}, 400},
		{"PUT", "/faults", object{"latency": "soon"}, 400},
		{"PUT", "/faults", object{"kind": "Late"}, 400},
		{"POST", "/holds", object{"operation": "Nothing"}, 400},
		{"POST", "/holds", object{"operation": "StartJobs", "when": "never"}, 400},
		{"GET", "/holds/99", nil, 404},
		{"DELETE", "/holds/99", nil, 404},
		{"PUT", "/faults", object{"tokenRate": -1}, 400},
		{"PUT", "/denied", object{"operations": []string{"Nothing"}}, 400},
		{"PUT", "/denied", object{"names": []string{}}, 400},
		{"POST", "/tokens/revoke", object{"all": true}, 400},
		{"POST", "/folders", object{}, 400},
		{"POST", "/queues", object{"folder": testFolder, "name": "Invoices"}, 400},
		{"POST", "/releases", object{"folder": testFolder}, 400},
		{"POST", "/queueitems/x/finish", object{}, 400},
		{"POST", "/queueitems/1/finish", object{"status": "Failed"}, 400},
		{"GET", "/nothing", nil, 404},
	} {
		c.do(tt.status, tt.method, tt.path, tt.body)
	}
	held := s.stays.add(s.Hold(Hold{Operation: "StartJobs"}))
	c.get(http.StatusBadRequest, "/holds/"+held+"?wait=long")
}

// TestControlAccess takes tokens and permissions away over HTTP, and holds and strikes a login.
func TestControlAccess(t *testing.T) {
	t.Parallel()
	s, api := setup(t, Config{})
	control := newClient(t, s)
	control.base, control.header, control.folder = "https://orchestrator.test/simulator", http.Header{}, ""

	tokens := logInOffline(t, s, api)
	api.header.Set("Authorization", "Bearer "+tokens.AccessToken)
	control.do(http.StatusNoContent, http.MethodPut, "/denied", object{"operations": []string{"Folders"}})
	api.get(http.StatusForbidden, "/odata/Folders")
	var denied deniedBody
	control.get(http.StatusOK, "/denied").decode(t, &denied)
	if diff := cmp.Diff([]string{"Folders"}, denied.Operations); diff != "" {
		t.Errorf("denied (-want +got):\n%s", diff)
	}
	control.do(http.StatusNoContent, http.MethodPut, "/denied", object{"operations": []string{}})
	api.get(http.StatusOK, "/odata/Folders")

	control.post(http.StatusNoContent, "/tokens/revoke", nil)
	api.get(http.StatusUnauthorized, "/odata/QueueItems")
	tokens = api.refresh(http.StatusOK, tokens.RefreshToken, nil).granted(t)
	control.post(http.StatusNoContent, "/tokens/revoke", object{"refresh": true})
	api.refresh(http.StatusBadRequest, tokens.RefreshToken, nil)

	control.post(http.StatusCreated, "/holds", object{"operation": "Token", "when": "after"})
	control.do(http.StatusNoContent, http.MethodPut, "/faults", object{"tokenRate": 1, "kinds": []string{"Unavailable"}})
	api.login(http.StatusServiceUnavailable, nil) // before it comes to the hold
	var faults faultsBody
	control.get(http.StatusOK, "/faults").decode(t, &faults)
	if faults.TokenRate != 1 {
		t.Errorf("faults: got %+v", faults)
	}

	const want = `{"logins":{"authorization_code":1},"refreshes":1,"refused":{"reused":0,"unknown":1,"expired":0}}`
	if got := string(control.get(http.StatusOK, "/tokens").body); got != want {
		t.Errorf("tokens: got %s, want %s", got, want)
	}
}
