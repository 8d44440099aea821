package simulator

import (
	"net/http"
	"testing"
)

func TestDenied(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{Denied: []string{"StartJobs"}})
	var got envelopeBody
	c.post(http.StatusForbidden, startPath, start(nil)).decode(t, &got)
	if got.Message != "You are not authorized!" || !got.UnauthorizedRequest {
		t.Errorf("body: got %+v", got)
	}
	c.get(http.StatusOK, "/odata/Folders")
	if err := s.Deny("Folders", "BulkAddQueueItems"); err != nil {
		t.Fatal(err)
	}
	c.post(http.StatusCreated, startPath, start(nil))
	c.get(http.StatusForbidden, "/odata/Folders")
	c.post(http.StatusForbidden, bulkPath, bulk("Invoices", allOrNothing, "R"))
	if got := len(s.EffectsOf("R")); got != 0 {
		t.Errorf("effects: got %d, want 0", got)
	}
	if err := s.Deny("Nothing"); err == nil {
		t.Error("an operation that does not exist is denied")
	}
	if err := s.Deny(); err != nil {
		t.Fatal(err)
	}
	c.get(http.StatusOK, "/odata/Folders")
	s.Reset()
	c.post(http.StatusForbidden, startPath, start(nil)) // as configured
	defer func() {
		if recover() == nil {
			t.Error("New takes an operation that does not exist")
		}
	}()
	New(Config{Denied: []string{"Nothing"}})
}
