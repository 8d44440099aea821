package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		item QueueItemData
		want string
	}{
		"empty": {QueueItemData{}, `{}`},
		"whole": {
			QueueItemData{
				Name: "Invoices", Reference: "INV-42", Priority: "High",
				DeferDate: "2026-01-02T03:04:05+01:00", DueDate: "2026-01-03T00:00:00Z",
				SpecificContent: json.RawMessage(`{ "Amount": 12.50, "Id": 12345678901234567890 }`),
				Extra:           map[string]json.RawMessage{"Source": json.RawMessage(`"Manual"`), "Progress": json.RawMessage(`null`)},
			},
			`{"Name":"Invoices","Priority":"High","SpecificContent":{ "Amount": 12.50, "Id": 12345678901234567890 },` +
				`"DeferDate":"2026-01-02T03:04:05+01:00","DueDate":"2026-01-03T00:00:00Z","Reference":"INV-42","Progress":null,"Source":"Manual"}`,
		},
		"escapes":     {QueueItemData{Reference: "a\"b\\c\n\x01é😀\u2028\xff</x>"}, `{"Reference":"a\"b\\c\n\u0001é😀` + "\u2028\uFFFD" + `</x>"}`},
		"extra alone": {QueueItemData{Extra: map[string]json.RawMessage{"Progress": json.RawMessage(`"50 %"`)}}, `{"Progress":"50 %"}`},
		"extra gives way": {
			QueueItemData{Reference: "R", Extra: map[string]json.RawMessage{
				"reference": json.RawMessage(`"other"`), "Reference": json.RawMessage(`"other"`), "Priority": json.RawMessage(`"Low"`),
			}},
			`{"Reference":"R","Priority":"Low"}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(test.item.AppendJSON([]byte("x,"))); got != "x,"+test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if _, err := json.Marshal(test.item); err != nil {
				t.Errorf("encoding/json does not take it: %v", err)
			}
		})
	}
}

func TestAppendJSONAllocatesNothing(t *testing.T) { //nolint:paralleltest // counts allocations of the whole process
	request := bulkRequest(500)
	buf := make([]byte, 0, request.sizeHint())
	if got := testing.AllocsPerRun(20, func() { buf = request.AppendJSON(buf[:0]) }); got != 0 {
		t.Errorf("got %g allocations for 500 items, want none", got)
	}
	if len(buf) > request.sizeHint() {
		t.Errorf("the size hint of %d is below the %d bytes needed", request.sizeHint(), len(buf))
	}
}

func TestAddQueueItem(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got, want := r.Method+" "+r.URL.Path, "POST /acme/prod/orchestrator_/odata/Queues/UiPathODataSvc.AddQueueItem"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		want := map[string]any{"itemData": map[string]any{"Name": "Invoices", "Reference": "INV-42", "SpecificContent": map[string]any{"Amount": 12.5}}}
		if diff := cmp.Diff(want, bodyOf(t, r)); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		reply(w, 201, `{"@odata.context":"x","QueueDefinitionId":558,"OutputData":null,"Status":"New","ReviewStatus":"None","Key":"a1c881f9",
			"Reference":"INV-42","DueDate":null,"Priority":"Normal","DeferDate":"2021-03-11T14:19:56.4407392Z","AncestorId":null,"RetryNumber":0,
			"SpecificData":"{}","CreationTime":"2020-02-27T11:07:07.23Z","RowVersion":"AAAAAAAAJ8s=","Id":1721,"ProcessingException":null,
			"SpecificContent":{"Amount":12.5},"Output":null,"SomethingNew":{"a":[1]}}`)
	})
	got, err := client.AddQueueItem(t.Context(), testFolder, QueueItemData{
		Name: "Invoices", Reference: "INV-42", SpecificContent: json.RawMessage(`{"Amount":12.5}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := QueueItem{
		ID: 1721, Key: "a1c881f9", QueueDefinitionID: 558, Status: "New", ReviewStatus: "None", Reference: "INV-42", Priority: "Normal",
		SpecificContent: json.RawMessage(`{"Amount":12.5}`), Output: json.RawMessage("null"), RowVersion: "AAAAAAAAJ8s=",
		DeferDate:    new(time.Date(2021, 3, 11, 14, 19, 56, 440739200, time.UTC)),
		CreationTime: new(time.Date(2020, 2, 27, 11, 7, 7, 230000000, time.UTC)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAddQueueItemErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status    int
		body      string
		want      Kind
		notFound  bool
		duplicate bool
	}{
		"duplicate":        {409, `{"message":"Error creating Transaction. Duplicate Reference.","errorCode":1016}`, Duplicate, false, true},
		"queue missing":    {404, `{"message":"NoSuchQueue does not exist.","errorCode":1002}`, Rejected, true, false},
		"without id":       {201, `{"Status":"New","Key":"a1c881f9"}`, Uncertain, false, false},
		"gateway gave up":  {504, ``, Uncertain, false, false},
		"too many":         {429, ``, Transient, false, false},
		"reference needed": {400, `{"message":"m","errorCode":1850}`, Rejected, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newTestClient(t, answers(test.status, test.body)).AddQueueItem(t.Context(), testFolder, QueueItemData{Name: "q"})
			e := asError(t, err, test.want)
			if e.Class != Writes || e.Op != "add queue item" {
				t.Errorf("got class %s, op %q", e.Class, e.Op)
			}
			if errors.Is(e, ErrNotFound) != test.notFound || errors.Is(e, ErrDuplicateReference) != test.duplicate {
				t.Errorf("%v: is ErrNotFound or ErrDuplicateReference wrongly", e)
			}
		})
	}
}

func TestItemsThatAreNotSent(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a call was made") })
	tests := map[string]QueueItemData{
		"empty Name: give":                             {},
		"SpecificContent is not valid JSON":            {Name: "q", SpecificContent: json.RawMessage(`{"a":1}},"Reference":"x"`)},
		`member "Progress" of Extra is not valid JSON`: {Name: "q", Extra: map[string]json.RawMessage{"Progress": json.RawMessage(`half`)}},
		"member without a name in Extra":               {Name: "q", Extra: map[string]json.RawMessage{"": json.RawMessage(`1`)}},
		"\x00":                                         {Name: "q", Extra: map[string]json.RawMessage{"Progress": nil}},
	}
	for want, item := range tests {
		_, err := client.AddQueueItem(t.Context(), testFolder, item)
		if e := asError(t, err, Rejected); want != "\x00" {
			wantText(t, e.Error(), "add queue item: "+want)
		}
		if want == "empty Name: give" {
			continue
		}
		_, err = client.BulkAddQueueItems(t.Context(), testFolder, BulkAddQueueItemsRequest{QueueName: "q", QueueItems: []QueueItemData{{}, item}})
		wantText(t, asError(t, err, Rejected).Error(), "bulk add queue items: item 2: ")
	}
	for want, request := range map[string]BulkAddQueueItemsRequest{
		"empty QueueName": {QueueItems: []QueueItemData{{}}}, "no QueueItems": {QueueName: "q"},
	} {
		_, err := client.BulkAddQueueItems(t.Context(), testFolder, request)
		wantText(t, asError(t, err, Rejected).Error(), want)
	}
}

func TestBulkAddQueueItems(t *testing.T) {
	t.Parallel()
	type response = BulkAddQueueItemsResponse
	tests := map[string]struct {
		body string
		want response
		fail string // what an Uncertain error says; empty: no error
	}{
		"all well":           {`{"Success":true,"Message":"done","FailedItems":[]}`, response{Success: true, Message: "done"}, ""},
		"null for nothing":   {`{"Success":true,"Message":null,"FailedItems":null}`, response{Success: true}, ""},
		"lower case":         {`{"success":true,"failedItems":[]}`, response{Success: true}, ""},
		"with odata members": {`{"@odata.context":"x","Success":true,"Message":"","FailedItems":[]}`, response{Success: true}, ""},
		"two failed": {
			`{"Success":false,"Message":"m","FailedItems":[{"Ordinal":3,"ErrorCode":"DuplicateReference","ErrorMessage":"dup"},{"Ordinal":1,"ErrorCode":1016,"ErrorMessage":null}]}`,
			response{Message: "m", FailedItems: []FailedQueueItem{
				{Ordinal: new(3), ErrorCode: "DuplicateReference", ErrorMessage: "dup"}, {Ordinal: new(1), ErrorCode: "1016"},
			}},
			"",
		},
		"offenders unknown": {
			`{"Success":false,"FailedItems":[{"Ordinal":null,"ErrorCode":"Unknown"},{"ErrorCode":"Unknown"}]}`,
			response{FailedItems: []FailedQueueItem{{ErrorCode: "Unknown"}, {ErrorCode: "Unknown"}}},
			"",
		},
		"success with failures": {
			`{"Success":true,"FailedItems":[{"Ordinal":2,"ErrorCode":"DuplicateReference","ErrorMessage":"dup"}]}`,
			response{Success: true, FailedItems: []FailedQueueItem{{Ordinal: new(2), ErrorCode: "DuplicateReference", ErrorMessage: "dup"}}},
			"",
		},
		"no Success":          {`{"FailedItems":[]}`, response{}, "lacks Success"},
		"Success null":        {`{"Success":null,"FailedItems":[]}`, response{}, "lacks Success"},
		"no FailedItems":      {`{"Success":true}`, response{}, "lacks FailedItems"},
		"empty":               {`{}`, response{}, "lacks Success"},
		"ordinal 0":           {`{"Success":false,"FailedItems":[{"Ordinal":0}]}`, response{}, "0 of 3 items is out of range or given twice"},
		"ordinal too large":   {`{"Success":false,"FailedItems":[{"Ordinal":4}]}`, response{}, "4 of 3 items is out of range"},
		"ordinal negative":    {`{"Success":false,"FailedItems":[{"Ordinal":-1}]}`, response{}, "out of range"},
		"ordinal twice":       {`{"Success":false,"FailedItems":[{"Ordinal":2},{"Ordinal":2}]}`, response{}, "given twice"},
		"ordinal as text":     {`{"Success":false,"FailedItems":[{"Ordinal":"2"}]}`, response{}, "a readable FailedItems"},
		"failures not a list": {`{"Success":false,"FailedItems":{}}`, response{}, "a readable FailedItems"},
		"failed, but which":   {`{"Success":false,"Message":"m","FailedItems":[]}`, response{}, "the items that failed, though Success is false"},
		"success as text":     {`{"Success":"true","FailedItems":[]}`, response{}, "cannot be read"},
		"an item":             {`{"Id":5,"Status":"New"}`, response{}, "lacks Success"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := newTestClient(t, answers(200, test.body)).BulkAddQueueItems(t.Context(), testFolder, bulkRequest(3))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if test.fail == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantText(t, asError(t, err, Uncertain).Error(), "bulk add queue items: 200 OK", test.fail)
		})
	}
}

func TestBulkRequestBody(t *testing.T) {
	t.Parallel()
	var body string
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/odata/Queues/UiPathODataSvc.BulkAddQueueItems") || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s with %s", r.URL.Path, r.Header.Get("Content-Type"))
		}
		raw, _ := io.ReadAll(r.Body)
		body = string(raw)
		reply(w, 200, `{"Success":true,"FailedItems":[]}`)
	})
	request := BulkAddQueueItemsRequest{QueueName: `Q"1`, QueueItems: []QueueItemData{{Reference: "a"}, {Reference: "b", SpecificContent: json.RawMessage(`{"n":1e2}`)}}}
	if _, err := client.BulkAddQueueItems(t.Context(), testFolder, request); err != nil {
		t.Fatal(err)
	}
	want := `{"queueName":"Q\"1","commitType":"ProcessAllIndependently","queueItems":[{"Reference":"a"},{"SpecificContent":{"n":1e2},"Reference":"b"}]}`
	if body != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestReadQueueItems(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimPrefix(r.URL.Path, "/acme/prod/orchestrator_/odata/") {
		case "QueueItems(1929)":
			reply(w, 200, `{"Id":1929,"Status":"Retried","Key":"k"}`)
		case "QueueItems(1929)/UiPath.Server.Configuration.OData.GetItemLastRetry":
			reply(w, 200, `{"Id":1933,"Status":"Failed","Key":"k","AncestorId":1932,"ProcessingException":{"Reason":"r","Type":"BusinessException"},
				"Error":{"Code":"User.QueueItemBusinessException","Title":"r","Category":"User","Status":null}}`)
		default:
			reply(w, 404, `{"message":"QueueItem does not exist.","errorCode":1002}`)
		}
	})
	first, err := client.QueueItem(t.Context(), testFolder, 1929)
	if err != nil || first.Ended() {
		t.Errorf("got %+v, %v, want a Retried item, which has not ended", first, err)
	}
	last, err := client.QueueItemLastRetry(t.Context(), testFolder, 1929)
	if err != nil || !last.Ended() || *last.AncestorID != 1932 || last.ProcessingException.Type != "BusinessException" || last.Error.Category != "User" {
		t.Errorf("got %+v, %v", last, err)
	}
	_, err = client.QueueItem(t.Context(), testFolder, 1)
	if e := asError(t, err, Rejected); !errors.Is(e, ErrNotFound) || e.Class != Reads {
		t.Errorf("got %v of class %s", e, e.Class)
	}
}

func TestSameContent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sent, got string
		want      bool
	}{
		"same":                     {`{"a":1,"b":"x"}`, `{"a":1,"b":"x"}`, true},
		"order and blanks":         {`{"a":1,"b":"x"}`, ` { "b":"x", "a":1 } `, true},
		"annotations":              {`{"a":"x","a@odata.type":"#String"}`, `{"a":"x"}`, true},
		"empty fraction":           {`{"d":"2019-12-06T17:00:05.000Z"}`, `{"d":"2019-12-06T17:00:05Z"}`, true},
		"fraction differs":         {`{"d":"2019-12-06T17:00:05.001Z"}`, `{"d":"2019-12-06T17:00:05Z"}`, false},
		"same moment, other zone":  {`{"d":"2019-12-06T18:00:05+01:00"}`, `{"d":"2019-12-06T17:00:05Z"}`, true},
		"no zone":                  {`{"d":"2019-12-06T17:00:05.000"}`, `{"d":"2019-12-06T17:00:05"}`, true},
		"zone against none":        {`{"d":"2019-12-06T17:00:05Z"}`, `{"d":"2019-12-06T17:00:05"}`, false},
		"date as words":            {`{"d":"Sat, 7 Dec 2019 02:00:05 +0900"}`, `{"d":"Sat, 7 Dec 2019 02:00:05 +0900"}`, true},
		"number by value":          {`{"n":1,"m":12.50,"k":1e2,"z":0}`, `{"n":1.0,"m":12.5,"k":100,"z":-0.0}`, true},
		"text is no number":        {`{"n":1}`, `{"n":"1"}`, false},
		"large numbers exact":      {`{"n":12345678901234567890}`, `{"n":12345678901234567891}`, false},
		"large numbers same":       {`{"n":12345678901234567890}`, `{"n":1234567890123456789e1}`, true},
		"null is absent":           {`{"a":1,"b":null}`, `{"a":1}`, true},
		"absent is null":           {`{"a":1}`, `{"a":1,"b":null}`, true},
		"more came back":           {`{"a":1}`, `{"a":1,"b":2}`, false},
		"less came back":           {`{"a":1,"b":2}`, `{"a":1}`, false},
		"empty text is not absent": {`{"a":""}`, `{}`, false},
		"nothing":                  {``, `null`, true},
		"nothing and no members":   {`{}`, ``, true},
		"false and absent":         {`{"a":false}`, `{}`, false},
		"nested":                   {`{"a":{"b":[1,{"c":null}]}}`, `{"a":{"b":[1.0,{}]}}`, true},
		"list order":               {`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		"member case":              {`{"a":1}`, `{"A":1}`, false},
		"broken":                   {`{"a":1`, `{"a":1`, false},
		"two values":               {`{"a":1}`, `{"a":1}{}`, false},
		"exponent beyond measure":  {`{"n":1e99999999999}`, `{"n":1e99999999998}`, false},
		"exponent written so":      {`{"n":1e99999999999}`, `{"n":1e99999999999}`, true},
		"sign":                     {`{"n":-1}`, `{"n":1}`, false},
		"value and object":         {`{"n":null,"m":true}`, `{"n":{},"m":true}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, pair := range [][2]string{{test.sent, test.got}, {test.got, test.sent}} {
				if got := SameContent(json.RawMessage(pair[0]), json.RawMessage(pair[1])); got != test.want {
					t.Errorf("%s and %s: got %t, want %t", pair[0], pair[1], got, test.want)
				}
			}
		})
	}
}

func FuzzSameContent(f *testing.F) {
	f.Add([]byte(`{"a":1.50,"b":"2019-12-06T17:00:05.000Z","b@odata.type":"#String"}`), []byte(`{"b":"2019-12-06T17:00:05Z","a":1.5}`))
	f.Add([]byte(`{"a":null}`), []byte(``))
	f.Add([]byte(`{"a":-0e5}`), []byte(`{"a":0.000}`))
	f.Add([]byte(`[1,{"a":[]}]`), []byte(`null`))
	f.Add([]byte("null\v"), []byte("\u00a0"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if SameContent(a, b) != SameContent(b, a) {
			t.Errorf("%q and %q: the order matters", a, b)
		}
		if json.Valid(a) != SameContent(a, a) && !isBlank(a) {
			t.Errorf("%q is JSON: %t, is its own content: %t", a, json.Valid(a), SameContent(a, a))
		}
	})
}

func FuzzBulkAnswer(f *testing.F) {
	f.Add([]byte(`{"Success":false,"Message":"m","FailedItems":[{"Ordinal":3,"ErrorCode":"DuplicateReference","ErrorMessage":"dup"},{"Ordinal":null}]}`))
	f.Add([]byte(`{"Success":true,"FailedItems":null}`))
	f.Add([]byte(`{"success":true,"failedItems":[{"ordinal":1,"errorCode":{}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		into := bulkAnswer{sent: 5}
		if newAnswer(200, jsonType, string(body)).decode(&into) != nil {
			return
		}
		seen := map[int]bool{}
		response := into.response()
		for _, item := range response.FailedItems {
			if n := item.Ordinal; n != nil && (*n < 1 || *n > 5 || seen[*n]) {
				t.Errorf("ordinal %d of 5 was let through", *n)
			} else if n != nil {
				seen[*n] = true
			}
		}
		if !response.Success && len(response.FailedItems) == 0 {
			t.Error("no success and no failure")
		}
	})
}

func FuzzQueueItem(f *testing.F) {
	f.Add([]byte(`{"Id":1721,"SpecificContent":{"a":1},"DueDate":null,"CreationTime":"2020-02-27T11:07:07.23Z","ProcessingException":null}`))
	f.Add([]byte(`{"id":3569514,"error":{"code":"c","status":1},"secondsInPreviousAttempts":0}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var item QueueItem
		if newAnswer(201, jsonType, string(body)).decode(&item) != nil {
			return
		}
		if item.ID == 0 {
			t.Error("an item without id was let through")
		}
		if len(item.SpecificContent) > 0 && !json.Valid(item.SpecificContent) {
			t.Errorf("SpecificContent %q is not JSON", item.SpecificContent)
		}
	})
}

// bulkRequest is a request as a batch of invoices makes it.
func bulkRequest(items int) BulkAddQueueItemsRequest {
	request := BulkAddQueueItemsRequest{QueueName: "Invoices", CommitType: ProcessAllIndependently}
	for i := range items {
		request.QueueItems = append(request.QueueItems, QueueItemData{
			Reference: fmt.Sprintf("INV-%06d", i),
			Priority:  "Normal",
			DueDate:   "2026-12-01T00:00:00Z",
			SpecificContent: json.RawMessage(fmt.Sprintf(
				`{"InvoiceId":"INV-%06d","Supplier":"Grün & Söhne","Amount":%d.50,"Currency":"EUR","Due":"2026-12-01","Approved":true}`, i, i)),
		})
	}
	return request
}

func BenchmarkEncodeBulk500(b *testing.B) {
	request := bulkRequest(500)
	b.ReportAllocs()
	for b.Loop() {
		body := request.AppendJSON(make([]byte, 0, request.sizeHint()))
		b.SetBytes(int64(len(body)))
	}
}
