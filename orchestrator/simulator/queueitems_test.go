package simulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddQueueItemEcho(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sent, content, data string }{
		{"scalars", `{ "Name" : "x", "Age": 43, "Ok": false, "None": null }`, `{"Name":"x","Age":43,"Ok":false,"None":null}`, ""},
		{"digits kept", `{"A":12345678901234567890,"B":1.50,"C":1e3}`, `{"A":12345678901234567890,"B":1.50,"C":1e3}`, ""},
		{"annotations dropped", `{"N":"x","N@odata.type":"#String"}`, `{"N":"x"}`, ""},
		{"date loses zeros", `{"A":1,"D":"2019-12-06T17:00:05.000Z","B":2}`, `{"A":1,"D":"2019-12-06T17:00:05Z","B":2}`, `{"A":1,"D":"2019-12-06T17:00:05.000Z","B":2}`},
		{"date keeps ticks", `{"D":"2021-03-11T14:19:56.4407392Z"}`, `{"D":"2021-03-11T14:19:56.4407392Z"}`, ""},
		{"text that is a date", `{"D@odata.type":"#String","D":"2019-12-06T17:00:05.000Z"}`, `{"D":"2019-12-06T17:00:05.000Z"}`, ""},
		{"no date", `{"D":"Sat, 7 Dec 2019 02:00:05 +0900"}`, `{"D":"Sat, 7 Dec 2019 02:00:05 +0900"}`, ""},
		{"text", `{"T":"テスト\r\n<b> & \"q\" \\ \u0041"}`, `{"T":"テスト\r\n<b> & \"q\" \\ \u0041"}`, ""},
		{"empty", `{}`, `{}`, ""},
		{"null", `null`, `null`, `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{})
			body := `{"itemData":{"Name":"invoices","Reference":"R","SpecificContent":` + tt.sent + `}}`
			added := c.post(http.StatusCreated, addPath, body)
			id := added.created(t)
			for _, x := range []exchange{added, c.get(http.StatusOK, itemPath(id))} {
				var got struct {
					SpecificContent json.RawMessage
					SpecificData    string
				}
				x.decode(t, &got)
				if string(got.SpecificContent) != tt.content {
					t.Errorf("SpecificContent: got %s, want %s", got.SpecificContent, tt.content)
				}
				data := tt.data
				if data == "" {
					data = tt.content
				}
				if want := `{"DynamicProperties":` + data + `}`; got.SpecificData != want {
					t.Errorf("SpecificData: got %s, want %s", got.SpecificData, want)
				}
			}
			if want := testBase + itemPath(id); added.answer.Get("Location") != want {
				t.Errorf("Location: got %s, want %s", added.answer.Get("Location"), want)
			}
			if got := s.Effects()[0]; got.Name != "Invoices" || got.Folder != testFolder || got.ID != id {
				t.Errorf("effect: got %+v", got)
			}
		})
	}
}

func TestAddQueueItemMembers(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{})
	added := c.post(http.StatusCreated, addPath, item("Invoices", "", object{
		"Priority": "Low", "DueDate": "2027-03-11T15:19:56.4407392Z", "DeferDate": "2027-03-11T14:19:56+01:00",
		"RiskSlaDate": nil, "Progress": "p", "ParentOperationId": "op", "Source": "Apps",
	}))
	type shown struct {
		Priority, DueDate, DeferDate, Progress, ParentOperationID  string
		Reference, RiskSLADate, OrganizationUnitFullyQualifiedName *string
		CreationTime                                               string
	}
	var fresh, read shown
	added.decode(t, &fresh)
	c.get(http.StatusOK, itemPath(added.created(t))).decode(t, &read)
	if len(fresh.CreationTime) != len("2026-05-14T12:05:33.2870000Z") || len(read.CreationTime) > len("2026-05-14T12:05:33.287Z") {
		t.Errorf("CreationTime: got %s, then %s; want 7 digits, then at most 3", fresh.CreationTime, read.CreationTime)
	}
	if fresh.OrganizationUnitFullyQualifiedName != nil || read.OrganizationUnitFullyQualifiedName == nil {
		t.Error("OrganizationUnitFullyQualifiedName: want null in the answer to the add alone")
	}
	want := shown{
		Priority: "Low", DueDate: "2027-03-11T15:19:56.4407392Z", DeferDate: "2027-03-11T13:19:56Z", Progress: "p",
		ParentOperationID: "op", OrganizationUnitFullyQualifiedName: new(testFolder), CreationTime: read.CreationTime,
	}
	if diff := cmp.Diff(want, read); diff != "" {
		t.Errorf("item (-want +got):\n%s", diff)
	}
}

func TestAddQueueItemRefused(t *testing.T) {
	t.Parallel()
	content := func(text string) string {
		return `{"itemData":{"Name":"Invoices","SpecificContent":` + text + `}}`
	}
	large := content(`{"A":"` + strings.Repeat("x", maxContent) + `"}`)
	for _, tt := range []struct {
		name     string
		body     any
		switches Switches
		status   int
		code     int
	}{
		{"queue missing", item("NoSuchQueue", "R"), Switches{}, 404, 1002},
		{"reference too long", item("Invoices", strings.Repeat("ä", 129)), Switches{}, 400, 1009},
		{"reference just fits", item("Invoices", strings.Repeat("ä", 128)), Switches{}, 201, 0},
		{"reference missing", item("Unique", ""), Switches{}, 400, 1850},
		{"reference missing, other status", item("Unique", ""), Switches{MissingReferenceStatus: 409}, 409, 1850},
		{"nested object", content(`{"A":{"B":1}}`), Switches{}, 400, 1009},
		{"nested list", content(`{"A":[1]}`), Switches{}, 400, 1009},
		{"content is no object", content(`"x"`), Switches{}, 400, 0},
		{"too large", large, Switches{}, 400, 1009},
		{"too large, other status", large, Switches{OversizeStatus: 413}, 413, 1009},
		{"schema violated", item("Strict", "R"), Switches{}, 400, 3219},
		{"schema violated, other status", item("Strict", "R"), Switches{SchemaViolationStatus: 409}, 409, 3219},
		{"schema violated by nothing", `{"itemData":{"Name":"Strict"}}`, Switches{}, 400, 3219},
		{"schema satisfied", item("Strict", "R", object{"SpecificContent": object{"Total": 3}}), Switches{}, 201, 0},
		{"priority unknown", item("Invoices", "R", object{"Priority": "Urgent"}), Switches{}, 400, 0},
		{"date malformed", item("Invoices", "R", object{"DueDate": "tomorrow"}), Switches{}, 400, 0},
		{"reference no string", item("Invoices", "R", object{"Reference": 5}), Switches{}, 400, 0},
		{"no itemData", object{}, Switches{}, 400, 0},
		{"no JSON", "{", Switches{}, 400, 0},
		{"empty", "", Switches{}, 400, 0},
		{"unknown member passes", item("Invoices", "R", object{"Colour": "red"}), Switches{}, 201, 0},
		{"unknown member refused", item("Invoices", "R", object{"Colour": "red"}), Switches{RefuseUnknownMembers: true}, 400, 0},
		{"bad name passes", content(`{"a.b":1}`), Switches{}, 201, 0},
		{"bad name refused", content(`{"a.b":1}`), Switches{RefuseBadNames: true}, 400, 1009},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Switches: tt.switches})
			const schema = `{"type":"object","required":["Total"],"properties":{"Total":{"type":"number"}}}`
			if _, err := s.AddQueue(testFolder, Queue{Name: "Strict", SchemaJSON: schema}); err != nil {
				t.Fatal(err)
			}
			x := c.post(tt.status, addPath, tt.body)
			if tt.status == http.StatusCreated {
				return
			}
			if got := x.code(t); got != tt.code {
				t.Errorf("errorCode: got %d, want %d", got, tt.code)
			}
			if got := len(s.Effects()); got != 0 {
				t.Errorf("effects: got %d, want none", got)
			}
		})
	}
}

func TestUniqueReferences(t *testing.T) {
	t.Parallel()
	finish := func(r Result) func(*Server, *client, int64) {
		return func(s *Server, c *client, id int64) {
			c.tb.Helper()
			if _, err := s.FinishQueueItem(id, r); err != nil {
				c.tb.Fatal(err)
			}
		}
	}
	remove := func(_ *Server, c *client, id int64) {
		c.do(http.StatusNoContent, http.MethodDelete, itemPath(id), nil)
	}
	for _, tt := range []struct {
		name     string
		switches Switches
		between  func(*Server, *client, int64)
		again    string
		status   int
	}{
		{"new", Switches{}, nil, "R", 409},
		{"other reference", Switches{}, nil, "S", 201},
		{"other case", Switches{}, nil, "r", 201},
		{"other case, case ignored", Switches{IgnoreCase: true}, nil, "r", 409},
		{"successful", Switches{}, finish(Result{Status: "Successful"}), "R", 409},
		{"business exception", Switches{}, finish(Result{Status: "Failed", Exception: &Exception{Type: "BusinessException"}}), "R", 409},
		{"retried, and its successor counts", Switches{}, finish(Result{Status: "Failed"}), "R", 409},
		{"deleted", Switches{}, remove, "R", 201},
		{"deleted but still used", Switches{DeletedReferencesStayUsed: true}, remove, "R", 409},
		{"no index", Switches{NoUniqueIndex: true}, nil, "R", 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Switches: tt.switches})
			id := c.post(http.StatusCreated, addPath, item("Unique", "R")).created(t)
			c.post(http.StatusCreated, addPath, item("Invoices", "R")) // another queue is another matter
			if tt.between != nil {
				tt.between(s, c, id)
			}
			x := c.post(tt.status, addPath, item("Unique", tt.again))
			if tt.status == http.StatusConflict && x.code(t) != codeDuplicateReference {
				t.Errorf("errorCode: got %d, want %d", x.code(t), codeDuplicateReference)
			}
		})
	}
}

// TestRetriedAncestorLeavesReferenceFree deletes the successor of a Retried item: neither counts then.
func TestRetriedAncestorLeavesReferenceFree(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	id := c.post(http.StatusCreated, addPath, item("Unique", "R")).created(t)
	successor, err := s.FinishQueueItem(id, Result{Status: "Failed"})
	if err != nil {
		t.Fatal(err)
	}
	c.do(http.StatusNoContent, http.MethodDelete, itemPath(successor), nil)
	c.post(http.StatusCreated, addPath, item("Unique", "R"))
	if got := len(s.EffectsOf("R")); got != 2 {
		t.Errorf("effects: got %d, want the 2 that were called for", got)
	}
}

func TestFinishQueueItem(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	id := c.post(http.StatusCreated, addPath, item("Unique", "R")).created(t)
	if _, err := s.FinishQueueItem(id, Result{Status: "InProgress"}); err != nil {
		t.Fatal(err)
	}
	second, err := s.FinishQueueItem(id, Result{Status: "Failed", Exception: &Exception{Type: "ApplicationException", Reason: "host down"}})
	if err != nil || second == 0 {
		t.Fatalf("first failure: got successor %d, %v", second, err)
	}
	third, err := s.FinishQueueItem(second, Result{Status: "Failed"})
	if err != nil || third != 0 {
		t.Fatalf("second failure: got successor %d, %v; want none, as the queue has one retry", third, err)
	}

	type shown struct {
		ID, AncestorID                                       int64
		Key, UniqueKey, Status, Reference, AncestorUniqueKey string
		RetryNumber                                          int
		ProcessingException                                  *struct{ Reason, Type string }
	}
	var first, last shown
	c.get(http.StatusOK, itemPath(id)).decode(t, &first)
	for _, path := range []string{
		itemPath(id) + "/UiPath.Server.Configuration.OData.GetItemLastRetry",
		"/odata/QueueItems/UiPathODataSvc.GetItemLastRetryByKey(key=" + first.UniqueKey + ")",
	} {
		last = shown{}
		c.get(http.StatusOK, path).decode(t, &last)
		want := shown{
			ID: second, AncestorID: id, Key: first.Key, UniqueKey: last.UniqueKey, Status: "Failed", Reference: "R",
			AncestorUniqueKey: first.UniqueKey, RetryNumber: 1, ProcessingException: last.ProcessingException,
		}
		if diff := cmp.Diff(want, last); diff != "" || last.UniqueKey == first.UniqueKey {
			t.Errorf("last retry (-want +got):\n%s", diff)
		}
	}
	if first.Status != "Retried" || first.ProcessingException == nil || first.ProcessingException.Reason != "host down" {
		t.Errorf("first attempt: got %+v", first)
	}
	if got := c.list("QueueItems", "Reference eq 'R'", "Id"); len(got) != 2 {
		t.Errorf("items of the reference: got %v, want both attempts", got)
	}
	if got := len(s.Effects()); got != 1 {
		t.Errorf("effects: got %d, want 1: a retry is Orchestrator's own", got)
	}
}

func TestFinishQueueItemRefuses(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	id := c.post(http.StatusCreated, addPath, item("Invoices", "R")).created(t)
	if _, err := s.FinishQueueItem(id, Result{Status: "Successful", Output: json.RawMessage(`{"Posted":true}`)}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Output     json.RawMessage
		OutputData string
	}
	if c.get(http.StatusOK, itemPath(id)).decode(t, &got); string(got.Output) != `{"Posted":true}` || got.OutputData != `{"DynamicProperties":{"Posted":true}}` {
		t.Errorf("output: got %s and %s", got.Output, got.OutputData)
	}
	for _, tt := range []struct {
		id int64
		r  Result
	}{
		{id, Result{Status: "Failed"}},
		{id + 1, Result{Status: "Failed"}},
		{id, Result{Status: "Retried"}},
		{id, Result{Status: "Failed", Output: json.RawMessage(`[]`)}},
		{id, Result{Status: "Failed", Exception: &Exception{Type: "Oops"}}},
	} {
		if _, err := s.FinishQueueItem(tt.id, tt.r); err == nil {
			t.Errorf("item %d, %+v: got no error", tt.id, tt.r)
		}
	}
}

func TestQueueItemByID(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	s.AddFolder("Other")
	id := c.post(http.StatusCreated, addPath, item("Invoices", "R")).created(t)
	c.get(http.StatusOK, itemPath(id))
	for _, path := range []string{itemPath(id + 1), itemPath(id - 1), "/odata/QueueItems(x)", itemPath(1)} {
		if got := c.get(http.StatusNotFound, path).code(t); got != codeItemNotFound {
			t.Errorf("%s: errorCode: got %d, want %d", path, got, codeItemNotFound)
		}
	}
	c.folder = "Other"
	c.get(http.StatusNotFound, itemPath(id))
	c.do(http.StatusNotFound, http.MethodDelete, itemPath(id), nil)
	if got := c.list("QueueItems", "Id eq "+strconv.FormatInt(id, 10), "Id"); len(got) != 0 {
		t.Errorf("listed in another folder: got %v", got)
	}
}

func TestAddQueueRefuses(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	for _, q := range []Queue{
		{}, {Name: strings.Repeat("x", 51)}, {Name: "INVOICES"}, {Name: "A", SchemaJSON: "{"}, {Name: "A", SchemaJSON: `{"type":5}`},
	} {
		if id, err := s.AddQueue(testFolder, q); err == nil {
			t.Errorf("%+v: got id %d, want an error", q, id)
		}
	}
	for _, r := range []struct{ name, input string }{{"", ""}, {"R", "[]"}} {
		if id, err := s.AddRelease(testFolder, r.name, Release{InputArguments: r.input}); err == nil {
			t.Errorf("release %+v: got id %d, want an error", r, id)
		}
	}
}
