package simulator

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMainPath(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})

	c.get(http.StatusOK, "/odata/Folders?$filter=FullyQualifiedName%20eq%20'Finance/Invoices'")
	c.get(http.StatusOK, "/odata/Releases?$filter=Name%20eq%20'Post%20invoices'&$top=2")
	c.get(http.StatusOK, "/odata/QueueDefinitions?$filter=Name%20eq%20'invoices'")
	c.post(http.StatusCreated, addPath, item("Invoices", "INV-1"))
	c.post(http.StatusOK, bulkPath, bulk("Invoices", processAllIndependently, "INV-2", "INV-3"))
	c.post(http.StatusCreated, startPath, start(object{"Reference": "run-1"}))

	if diff := cmp.Diff([]string{"INV-1", "INV-2", "INV-3", "run-1"}, references(s)); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
	if got := c.list("QueueItems", "Reference in ('INV-1','INV-3')", "Reference"); !cmp.Equal(got, []string{"INV-1", "INV-3"}) {
		t.Errorf("items: got %v", got)
	}
	if got := c.list("Jobs", "Reference eq 'run-1'", "Reference"); !cmp.Equal(got, []string{"run-1"}) {
		t.Errorf("jobs: got %v", got)
	}
	want := map[string]int{"Folders": 1, "Releases": 1, "QueueDefinitions": 1, "AddQueueItem": 1, "BulkAddQueueItems": 1, "StartJobs": 1, "QueueItems": 1, "Jobs": 1}
	if diff := cmp.Diff(want, s.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
