package simulator

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
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

// FuzzServe holds that no call, whatever it asks for, fails the simulator: without faults it answers below 500, and with
// JSON where it says so.
func FuzzServe(f *testing.F) {
	for _, seed := range [][4]string{
		{http.MethodPost, bulkPath, "", bulkBody("Invoices", 1)[:300]},
		{http.MethodPost, bulkPath, "", `{"queueName":"Unique","commitType":"StopOnFirstFailure","queueItems":[{"Reference":"a"},{"Reference":"a"},null]}`},
		{http.MethodPost, "/odata/Queues/UiPathODataSvc.AddQueueItem", "", `{"itemData":{"Name":"Unique","Reference":"r","Priority":"High","DueDate":"2026-12-01T00:00:00Z","SpecificContent":{"a":[1,{}],"b@odata.type":"#String","c":1e400}}}`},
		{http.MethodPost, "/odata/Jobs/UiPath.Server.Configuration.OData.StartJobs", "", `{"startInfo":{"ReleaseName":"Post invoices","JobsCount":2,"InputArguments":"{\"a\":1}"}}`},
		{http.MethodPost, "/odata/Jobs/UiPath.Server.Configuration.OData.StartJobs", "", `{"startInfo":{"ReleaseKey":"x","Strategy":"Specific","RobotIds":[1,-1],"JobsCount":999999999}}`},
		{http.MethodGet, "/odata/QueueItems", "$filter=Reference eq 'r'&$orderby=Id desc&$top=1&$skip=9223372036854775807&$count=true&$select=Id,,x", ""},
		{http.MethodGet, "/odata/Jobs", "$filter=CreationTime ge 2026-01-01T00:00:00.000Z&$expand=Robot", ""},
		{http.MethodGet, "/odata/Folders(1)", "", ""},
		{http.MethodGet, "/odata/Folders/UiPath.Server.Configuration.OData.GetByKey(identifier=x)", "", ""},
		{http.MethodGet, "/odata/QueueItems(-9223372036854775808)", "$top=-1", ""},
		{http.MethodGet, "/odata/Releases()", "", ""},
		{http.MethodGet, "/api/Folders/GetAllForCurrentUser", "take=-1&skip=9223372036854775807", ""},
		{http.MethodGet, "/odata/Folders", "$top=1;$skip=%zz", ""},
		{http.MethodPost, "/odata/Queues/UiPathODataSvc.StartTransaction", "", `{"transactionData":{"Name":"Invoices","RobotIdentifier":"0","SpecificContent":null}}`},
	} {
		f.Add(seed[0], seed[1], seed[2], []byte(seed[3]), "application/json", "")
		f.Add(seed[0], seed[1], seed[2], []byte(seed[3]), "", "RgBpAG4AYQBuAGMAZQA=")
	}
	f.Fuzz(func(t *testing.T, method, path, query string, body []byte, media, folder string) {
		s, _ := setup(t, Config{ListReadsPerMinute: -1})
		r, err := http.NewRequestWithContext(t.Context(), method, testBase, bytes.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path, r.URL.RawQuery = r.URL.Path+path, query
		r.Header = http.Header{"Authorization": {"Bearer rt_test"}, "Content-Type": {media}, headerFolderPath: {testFolder}, headerFolderPathEncoded: {folder}}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code < 200 || w.Code > 499 {
			t.Errorf("%s %s?%s: got status %d: %s", method, path, query, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %s?%s: got %q, which is no JSON", method, path, query, w.Body)
		}
	})
}
