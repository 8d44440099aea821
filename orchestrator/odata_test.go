package orchestrator

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFilters(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 12, 30, 15, 987654321, time.FixedZone("CEST", 2*60*60))
	tests := []struct{ got, want string }{
		{Eq("Name", "O'Brien's"), "Name eq 'O''Brien''s'"},
		{EqInt("QueueDefinitionId", 28211), "QueueDefinitionId eq 28211"},
		{EqGUID("Key", "db4528cc-7a3d-44f0-9df9-781fc07e9d8d"), "Key eq db4528cc-7a3d-44f0-9df9-781fc07e9d8d"},
		{In("Key", "a", "b'c"), "Key in ('a','b''c')"},
		{In("Key"), "false"},
		{InInt("Id", 1, -2), "Id in (1,-2)"},
		{Ge("CreationTime", at), "CreationTime ge 2026-05-04T10:30:15.987Z"},
		{Lt("CreationTime", at), "CreationTime lt 2026-05-04T10:30:15.987Z"},
		{And("a eq 1", "", Or("b eq 2", "c eq 3")), "(a eq 1) and ((b eq 2) or (c eq 3))"},
		{And("a eq 1"), "a eq 1"},
		{Or(), ""},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}

func TestQueryIsEncodedForEveryServer(t *testing.T) {
	t.Parallel()
	got := Query{Filter: Eq("Name", "a+b & c=ü%"), OrderBy: "Id desc", Select: "Id,Name", Expand: "Robot"}.encode(200, 100)
	want := "$filter=Name%20eq%20%27a%2Bb%20%26%20c%3D%C3%BC%25%27&$select=Id%2CName&$expand=Robot&$orderby=Id%20desc&$top=100&$skip=200&$count=true"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	values, err := url.ParseQuery(got)
	if err != nil || values.Get("$filter") != "Name eq 'a+b & c=ü%'" {
		t.Errorf("got back %q, %v", values.Get("$filter"), err)
	}
}

// listServer gives total jobs in pages of at most limit, counting or not.
type listServer struct {
	total, limit int
	counts       bool
	failAt       int // the call that fails; 0: none
	queries      []string
}

func (s *listServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.queries = append(s.queries, fmt.Sprintf("top %s skip %s", q.Get("$top"), q.Get("$skip")))
	if s.failAt == len(s.queries) {
		reply(w, 400, `{"message":"Invalid OData query options."}`)
		return
	}
	top, _ := strconv.Atoi(q.Get("$top"))
	skip, _ := strconv.Atoi(q.Get("$skip"))
	var entries []string
	for id := skip + 1; id <= min(s.total, skip+min(top, s.limit)); id++ {
		entries = append(entries, fmt.Sprintf(`{"Id":%d}`, id))
	}
	count := ""
	if s.counts {
		count = fmt.Sprintf(`"@odata.count":%d,`, s.total)
	}
	reply(w, 200, `{`+count+`"value":[`+strings.Join(entries, ",")+`]}`)
}

func TestListWalksAllPages(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		server  listServer
		query   Query
		want    int
		queries []string
	}{
		"nothing":           {listServer{limit: 100, counts: true}, Query{}, 0, []string{"top 100 skip "}},
		"one short page":    {listServer{total: 3, limit: 100}, Query{}, 3, []string{"top 100 skip "}},
		"one full page":     {listServer{total: 100, limit: 100, counts: true}, Query{}, 100, []string{"top 100 skip "}},
		"full, not counted": {listServer{total: 100, limit: 100}, Query{}, 100, []string{"top 100 skip ", "top 100 skip 100"}},
		"three pages":       {listServer{total: 250, limit: 100, counts: true}, Query{}, 250, []string{"top 100 skip ", "top 100 skip 100", "top 100 skip 200"}},
		"server caps pages": {listServer{total: 120, limit: 50, counts: true}, Query{}, 120, []string{"top 100 skip ", "top 100 skip 50", "top 100 skip 100"}},
		"own page size":     {listServer{total: 5, limit: 100, counts: true}, Query{Top: 3}, 5, []string{"top 3 skip ", "top 3 skip 3"}},
		"limit":             {listServer{total: 500, limit: 100, counts: true}, Query{Limit: 2}, 2, []string{"top 2 skip "}},
		"limit over a page": {listServer{total: 500, limit: 100, counts: true}, Query{Limit: 150}, 150, []string{"top 100 skip ", "top 100 skip 100"}},
		"second page fails": {listServer{total: 500, limit: 100, counts: true, failAt: 2}, Query{}, 100, []string{"top 100 skip ", "top 100 skip 100"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newTestClient(t, test.server.ServeHTTP)
			items := client.QueueItems(t.Context(), testFolder, test.query)
			for range 2 { // a listing can be walked again
				test.server.queries = nil
				got, failed := 0, false
				for item, err := range items {
					if err != nil {
						if e := asError(t, err, Rejected); e.Class != ListReads {
							t.Errorf("got class %s", e.Class)
						}
						failed = true
						continue // an error ends the listing by itself
					}
					if got++; item.ID != int64(got) {
						t.Fatalf("got id %d as number %d", item.ID, got)
					}
				}
				if got != test.want || failed != (test.server.failAt > 0) {
					t.Errorf("got %d items, failed %t, want %d", got, failed, test.want)
				}
				if diff := cmp.Diff(test.queries, test.server.queries); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestListCanBeLeft(t *testing.T) {
	t.Parallel()
	server := &listServer{total: 500, limit: 1000, counts: true}
	client := newTestClient(t, server.ServeHTTP)
	for job, err := range client.Jobs(t.Context(), testFolder, Query{}) {
		if job.ID != 1 || err != nil {
			t.Errorf("got %d, %v", job.ID, err)
		}
		break
	}
	if diff := cmp.Diff([]string{"top 1000 skip "}, server.queries); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestListWithoutValueIsNoEmptyList(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, answers(200, `{"@odata.count":0}`))
	for _, err := range client.Jobs(t.Context(), testFolder, Query{}) {
		wantText(t, asError(t, err, Transient).Error(), "list jobs: 200 OK with JSON that lacks value")
		return
	}
	t.Error("an answer without a list counts as an empty one")
}

// FuzzListing: a listing ends where the server has no more, and gives what each
// page holds.
func FuzzListing(f *testing.F) {
	for _, body := range []string{
		`{"@odata.count":2,"value":[{"Id":1,"State":"Successful"},{"Id":2}]}`, `{"@odata.count":99,"value":[{"Id":1}]}`, `{"@odata.count":-5,"value":[{}]}`,
		`{"@odata.count":1e3,"value":[{}]}`, `{"@odata.count":"2","value":[]}`, `{"value":[null,null]}`, `{"Value":[{"id":1}],"value":[]}`,
		`{"value":[{"Id":1,"CreationTime":"0001-01-01T00:00:00Z","EndTime":null}]}`, `{"value":[{"CreationTime":"yesterday"}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		asked := 0
		client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked > 1 {
				body = []byte(`{"value":[]}`)
			}
			reply(w, http.StatusOK, string(body))
		})
		var first page[Job]
		want := newAnswer(http.StatusOK, jsonType, string(body)).decode(&first)
		got := 0
		for _, err := range client.Jobs(t.Context(), testFolder, Query{}) {
			if (err == nil) != (want == nil) {
				t.Fatalf("got %v, want %v", err, want)
			}
			got++
		}
		if want == nil && got != len(*first.Value) {
			t.Errorf("%d jobs given, the page has %d", got, len(*first.Value))
		}
		if asked > 2 {
			t.Errorf("%d pages asked for where the second is empty", asked)
		}
	})
}
