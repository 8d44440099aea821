package simulator

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// addItems adds INV-1 (High), INV-2, o'neil and a deleted one to Invoices, and INV-1 to Unique.
func addItems(c *client, s *Server) {
	c.tb.Helper()
	c.post(http.StatusCreated, addPath, item("Invoices", "INV-1", object{"Priority": "High", "DueDate": "2027-01-01T00:00:00Z"}))
	c.post(http.StatusCreated, addPath, item("Invoices", "INV-2"))
	c.post(http.StatusCreated, addPath, item("Invoices", "o'neil"))
	deleted := c.post(http.StatusCreated, addPath, item("Invoices", "gone")).created(c.tb)
	c.do(http.StatusNoContent, http.MethodDelete, itemPath(deleted), nil)
	c.post(http.StatusCreated, addPath, item("Unique", "INV-1", object{"SpecificContent": object{"Second": true}}))
	if _, err := s.FinishQueueItem(deleted-2, Result{Status: statusSuccessful}); err != nil {
		c.tb.Fatal(err)
	}
}

func itemPath(id int64) string { return "/odata/QueueItems(" + strconv.FormatInt(id, 10) + ")" }

func TestFilterQueueItems(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{ListReadsPerMinute: -1})
	addItems(c, s)
	all := s.Effects()
	queueID := func(name string) string { return strconv.FormatInt(s.tenant.folders[1].queue(name).id, 10) }
	id := func(i int) string { return strconv.FormatInt(all[i].ID, 10) }

	for _, tt := range []struct {
		filter string
		want   []int // indexes of effects
	}{
		{"Reference eq 'INV-1'", []int{0, 4}},
		{"(reference eq 'INV-1') and queueDefinitionId eq " + queueID("Unique"), []int{4}},
		{"queueDefinitionId eq " + queueID("Invoices") + " and Reference eq 'INV-1'", []int{0}},
		{"Reference eq 'INV-1' or Reference eq 'INV-2'", []int{0, 1, 4}},
		{"Reference in ('INV-2','o''neil','none')", []int{1, 2}},
		{"Reference in ('INV-2','INV-2')", []int{1}},
		{"Reference eq 'inv-1'", nil},
		{"Reference ne 'INV-1'", []int{1, 2, 3}},
		{"Reference eq null", nil},
		{"Reference eq 'INV-1' or Id eq " + id(2), []int{0, 2, 4}},
		{"Reference eq 'INV-1' and Reference eq 'INV-2'", nil},
		{"not (Reference eq 'INV-1')", []int{1, 2, 3}},
		{"Status eq 'New'", []int{0, 2, 4}},
		{"Status eq '0'", []int{0, 2, 4}},
		{"Status eq 'Deleted'", []int{3}},
		{"Status ne 'New' and Status ne 'Deleted'", []int{1}},
		{"Status in ('Deleted','Successful')", []int{1, 3}},
		{"Priority eq 'High'", []int{0}},
		{"Id in (" + id(3) + "," + id(0) + ",1)", []int{0, 3}},
		{"Id ge " + id(3), []int{3, 4}},
		{id(3) + " le Id", []int{3, 4}},
		{"Id lt " + id(1) + " or Id gt " + id(3), []int{0, 4}},
		{"Key eq " + all[2].Key, []int{2}},
		{"UniqueKey eq '" + strings.ToUpper(all[2].Key) + "'", []int{2}},
		{"Key in ('" + all[1].Key + "','" + all[2].Key + "')", []int{1, 2}},
		{"DueDate ne null", []int{0}},
		{"DueDate lt 2027-06-01T00:00:00Z", []int{0}},
		{"DueDate gt 2027-06-01T00:00:00Z", nil},
		{"CreationTime ge 2020-01-01T00:00:00Z", []int{0, 1, 2, 3, 4}},
		{"CreationTime ge 2199-01-01T00:00:00Z", nil},
		{"EndProcessing ne null", []int{1}},
		{"RetryNumber eq 0 and AncestorId eq null", []int{0, 1, 2, 3, 4}},
		{"Key eq UniqueKey", []int{0, 1, 2, 3, 4}},
		{"QueueDefinitionId in (" + queueID("Unique") + ",5)", []int{4}},
	} {
		t.Run(tt.filter, func(t *testing.T) {
			t.Parallel()
			want := []string{}
			for _, i := range tt.want {
				want = append(want, id(i))
			}
			c := *c
			c.tb = t
			if diff := cmp.Diff(want, c.list("QueueItems", tt.filter, "Id")); diff != "" {
				t.Errorf("ids (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInvalidOptions(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{ListReadsPerMinute: -1})
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	for _, tt := range []struct{ set, query string }{
		{"QueueItems", "$filter=" + url.QueryEscape("Reference eq 'O'Brien'")},
		{"QueueItems", "$filter=Nonsense eq 1"},
		{"QueueItems", "$filter=Reference eq 5"},
		{"QueueItems", "$filter=Id eq 'x'"},
		{"QueueItems", "$filter=Status eq 'Nope'"},
		{"QueueItems", "$filter=Status eq '7'"},
		{"QueueItems", "$filter=CreationTime ge '2026-01-01'"},
		{"QueueItems", "$filter=Key eq 123"},
		{"QueueItems", "$filter=Reference"},
		{"QueueItems", "$filter=1 eq 1"},
		{"QueueItems", "$filter=Reference eq Id"},
		{"QueueItems", "$filter=Id in (" + list(101) + ")"},
		{"QueueItems", "$filter=" + strings.TrimSuffix(strings.Repeat("Id eq 1 or ", 101), " or ")},
		{"QueueItems", "$top=101"},
		{"QueueItems", "$top=-1"},
		{"QueueItems", "$top=x"},
		{"QueueItems", "$skip=-1"},
		{"QueueItems", "$count=perhaps"},
		{"QueueItems", "$orderby=DeferDate"},
		{"QueueItems", "$orderby=Nonsense"},
		{"QueueItems", "$orderby=Id sideways"},
		{"QueueItems", "$orderby=Id,Id,Id,Id,Id,Id"},
		{"QueueItems", "$expand=Nonsense"},
		{"QueueItems", "$search=x"},
		{"QueueItems", "$top=1&$top=2"},
		{"Jobs", "$top=1001"},
		{"Jobs", "$filter=HasErrors eq true"},
		{"Folders", "$top=1001"},
		{"Releases", "$filter=Name eq null and"},
		{"QueueDefinitions", "$filter=EnforceUniqueReference eq 'true'"},
	} {
		t.Run(tt.set+"?"+tt.query, func(t *testing.T) {
			t.Parallel()
			c := *c
			c.tb = t
			x := c.get(http.StatusBadRequest, "/odata/"+tt.set+"?"+strings.ReplaceAll(tt.query, " ", "%20"))
			if !strings.Contains(string(x.body), "Invalid OData query options.") {
				t.Errorf("body: got %s", x.body)
			}
		})
	}
}

func TestFilterExpressionsWithinLimit(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{})
	c.get(http.StatusOK, "/odata/QueueItems?$filter=Id%20in%20("+strings.TrimSuffix(strings.Repeat("1,", 99), ",")+")%20and%20Id%20eq%201")
}

func TestPaging(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{ListReadsPerMinute: -1})
	names := make([]string, 250)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	c.post(http.StatusOK, bulkPath, bulk("Invoices", processAllIndependently, names...))

	for _, tt := range []struct {
		query       string
		first, rows int
		count       string
	}{
		{"", 0, 100, ""},
		{"$count=true", 0, 100, "250"},
		{"$skip=200", 200, 50, ""},
		{"$skip=200&$top=20&$count=true", 200, 20, "250"},
		{"$skip=300", 0, 0, ""},
		{"$top=0&$count=true", 0, 0, "250"},
		{"$orderby=Id", 0, 100, ""},
		{"$orderby=Id%20desc", 249, 100, ""},
		{"$orderby=Status,Id%20desc&$skip=240", 9, 10, ""},
		{"$orderby=Id%20desc&$skip=300", 0, 0, ""},
		{"$filter=Reference%20gt%20'9'&$count=true&$top=1", 90, 1, "10"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			t.Parallel()
			c := *c
			c.tb = t
			x := c.get(http.StatusOK, "/odata/QueueItems?"+tt.query)
			rows := x.rows(t)
			if len(rows) != tt.rows {
				t.Fatalf("got %d rows, want %d", len(rows), tt.rows)
			}
			if want := `"` + strconv.Itoa(tt.first) + `"`; len(rows) > 0 && string(rows[0]["Reference"]) != want {
				t.Errorf("first reference: got %s, want %s", rows[0]["Reference"], want)
			}
			var page struct {
				Count json.Number `json:"@odata.count"`
			}
			if x.decode(t, &page); page.Count.String() != tt.count {
				t.Errorf("@odata.count: got %q, want %q", page.Count, tt.count)
			}
		})
	}
}

func TestSelectAndExpand(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{})
	id := c.post(http.StatusCreated, addPath, item("Invoices", "INV-1")).created(t)

	rows := c.get(http.StatusOK, "/odata/QueueItems?$select=id,Reference").rows(t)
	want := []map[string]json.RawMessage{{"Id": []byte(strconv.FormatInt(id, 10)), "Reference": []byte(`"INV-1"`)}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("selected (-want +got):\n%s", diff)
	}
	var expanded struct{ QueueDefinition struct{ Name string } }
	c.get(http.StatusOK, itemPath(id)+"?$expand=QueueDefinition,Robot").decode(t, &expanded)
	if expanded.QueueDefinition.Name != "Invoices" {
		t.Errorf("expanded queue: got %q, want Invoices", expanded.QueueDefinition.Name)
	}
	c.get(http.StatusOK, itemPath(id)+"?$select=Nothing")
}

func TestFilterJobs(t *testing.T) {
	t.Parallel()
	const batch = "7d382470-0000-4000-8000-000000000001"
	for _, tt := range []struct {
		name, filter string
		switches     Switches
		status       int
		rows         int
	}{
		{"reference", "Reference eq 'run-1'", Switches{}, 200, 1},
		{"reference refused", "Reference eq 'run-1'", Switches{FilterByReference: FilterRefused}, 400, 0},
		{"reference blind", "Reference eq 'run-1'", Switches{FilterByReference: FilterBlind}, 200, 0},
		{"reference blind in list", "Reference in ('run-1')", Switches{FilterByReference: FilterBlind}, 200, 0},
		{"batch key", "BatchExecutionKey eq " + batch, Switches{}, 200, 2},
		{"batch keys", "BatchExecutionKey in (" + batch + ")", Switches{}, 200, 2},
		{"batch key refused", "BatchExecutionKey eq " + batch, Switches{FilterByBatchExecutionKey: FilterRefused}, 400, 0},
		{"batch key blind", "BatchExecutionKey eq " + batch, Switches{FilterByBatchExecutionKey: FilterBlind}, 200, 0},
		{"release and time", "ReleaseName eq 'Post invoices' and CreationTime ge 2020-01-01T00:00:00.123Z", Switches{}, 200, 3},
		{"other release", "ReleaseName eq 'Other'", Switches{}, 200, 0},
		{"state", "State eq 'Pending'", Switches{}, 200, 3},
		{"state by number", "State eq '1'", Switches{}, 200, 0},
		{"reference of another case", "Reference eq 'RUN-1'", Switches{}, 200, 0},
		{"reference without case", "Reference eq 'RUN-1'", Switches{IgnoreCase: true}, 200, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, c := setup(t, Config{Switches: tt.switches})
			c.post(http.StatusCreated, startPath, start(object{"Reference": "run-1"}))
			c.post(http.StatusCreated, startPath, start(object{"BatchExecutionKey": batch, "JobsCount": 2}))
			x := c.get(tt.status, "/odata/Jobs?$filter="+url.QueryEscape(tt.filter))
			if got := len(x.rows(t)); got != tt.rows {
				t.Errorf("got %d rows, want %d", got, tt.rows)
			}
		})
	}
}

func TestListsByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, Config{Switches: Switches{ReadDelay: 10 * time.Second}})
		id := c.post(http.StatusCreated, addPath, item("Invoices", "early")).created(t)
		time.Sleep(time.Minute)
		between := time.Now().UTC().Format(time.RFC3339Nano)
		time.Sleep(time.Minute)
		late := c.post(http.StatusCreated, addPath, item("Invoices", "late")).created(t)

		if got := c.list("QueueItems", "Status eq 'New'", "Reference"); !cmp.Equal(got, []string{"early"}) {
			t.Errorf("at once: got %v, want the early item alone", got)
		}
		c.get(http.StatusOK, itemPath(late)) // by id there is no delay
		time.Sleep(10 * time.Second)
		if got := c.list("QueueItems", "CreationTime ge "+between, "Reference"); !cmp.Equal(got, []string{"late"}) {
			t.Errorf("since %s: got %v, want the late item alone", between, got)
		}
		if got := c.list("QueueItems", "CreationTime lt "+between, "Id"); !cmp.Equal(got, []string{strconv.FormatInt(id, 10)}) {
			t.Errorf("before %s: got %v, want the early item alone", between, got)
		}
	})
}
