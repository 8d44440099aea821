package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"waybill/pipeline"
)

func TestRequestIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 129)
	for _, test := range []struct {
		name string
		lane pipeline.Lane
		body string
		want []string // all of them in the error
	}{
		{"not JSON", plainItems, `{"key":`, []string{"body", "ends too early"}},
		{"blanks that are none in JSON", plainItems, "\u00a0" + `{"key":"k"}`, []string{"body", "not JSON"}},
		{"empty", plainItems, ``, []string{"body", "empty"}},
		{"not an object", plainItems, `["a"]`, []string{"body", "must be a JSON object"}},
		{"two objects", plainItems, `{"key":"a","item":{}} {}`, []string{"one object a message"}},
		{"not UTF-8", plainItems, "{\"key\":\"\xff\"}", []string{"UTF-8"}},
		{"unknown member", plainItems, `{"key":"a","item":{},"priority":"High"}`, []string{"priority", "no such member"}},
		{"other letters", plainItems, `{"Key":"a","item":{}}`, []string{"Key", "no such member"}},
		{"member twice", plainItems, `{"key":"a","key":"b","item":{}}`, []string{`"key" stands twice`}},
		{"no key", plainItems, `{"item":{}}`, []string{"key", pipeline.HeaderKey}},
		{"empty key", plainItems, `{"key":"","item":{}}`, []string{"key"}},
		{"long key", plainItems, `{"key":"` + long + `","item":{}}`, []string{"key", "129 bytes, 128 are allowed"}},
		{"key with a line break", plainItems, `{"key":"a\nb","item":{}}`, []string{"key", "control characters"}},
		{"key with a blank", plainItems, `{"key":" a","item":{}}`, []string{"key", "trim it"}},
		{"many members", plainItems, manyMembers(9000), []string{"m0", "8992 more faults"}},
		{"reserved key", plainItems, `{"key":"-seq-7","item":{}}`, []string{"reserved"}},
		{"key is a number", plainItems, `{"key":7,"item":{}}`, []string{`key "7"`, "must be a string"}},
		{"neither", plainItems, `{"key":"a"}`, []string{"exactly one of the members item and job"}},
		{"both", plainItems, `{"key":"a","item":{},"job":{}}`, []string{"exactly one"}},
		{"job for a queue", plainItems, `{"key":"a","job":{}}`, []string{"job", "subject for jobs"}},
		{"other queue", plainItems, `{"key":"a","queue":"Other","item":{}}`, []string{`queue "Other"`, `the subject says "Plain"`}},
		{"other tenant", plainItems, `{"key":"a","tenant":"T","item":{}}`, []string{`tenant "T"`}},
		{"other folder", plainItems, `{"key":"a","folder":"F","item":{}}`, []string{`folder "F"`}},
		{"until", plainItems, `{"key":"a","until":"done","item":{}}`, []string{`until "done"`, "accepted or completed"}},
		{"notAfter without zone", plainItems, `{"key":"a","notAfter":"2026-12-01T00:00:00","item":{}}`, []string{"notAfter", "no time zone"}},
		{"notAfter no date", plainItems, `{"key":"a","notAfter":"tomorrow","item":{}}`, []string{`notAfter "tomorrow"`, "2006-01-02T15:04:05Z"}},
		{"item not an object", plainItems, `{"key":"a","item":"x"}`, []string{"item", "JSON object"}},
		{"item's queue", plainItems, `{"key":"a","item":{"Name":"Other"}}`, []string{`item.Name "Other"`}},
		{"priority", plainItems, `{"key":"a","item":{"Priority":"Urgent"}}`, []string{`item.Priority "Urgent"`, "High, Normal, Low"}},
		{"date without zone", plainItems, `{"key":"a","item":{"DueDate":"2026-12-01 08:00:00"}}`, []string{"item.DueDate", "no time zone"}},
		{"member in other letters", plainItems, `{"key":"a","item":{"specificContent":{"a":{}}}}`, []string{"item.specificContent", "spell the member SpecificContent"}},
		{"robots in other letters", jobs, `{"key":"a","job":{"Strategy":"Specific","robotIds":[1,2,3]}}`, []string{"job.robotIds", "spell the member RobotIds"}},
		{"deep", jobs, `{"key":"a","job":{"InputArguments":{"x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}}`, []string{"more than 100 levels"}},
		{"long reference", plainItems, `{"key":"a","item":{"Reference":"` + long + `"}}`, []string{"item.Reference", "129 characters"}},
		{"empty reference", plainItems, `{"key":"a","item":{"Reference":""}}`, []string{"item.Reference", "leave it out"}},
		{"nested content", plainItems, `{"key":"a","item":{"SpecificContent":{"Lines":[1,2]}}}`, []string{"item.SpecificContent.Lines", "string of JSON"}},
		{"content's names", plainItems, `{"key":"a","item":{"SpecificContent":{"a.b":1}}}`, []string{"item.SpecificContent", "a.b", "rename it"}},
		{"content too large", plainItems, `{"key":"a","item":{"SpecificContent":{"x":"` + strings.Repeat("y", 500*1024) + `"}}}`, []string{"item.SpecificContent", "Orchestrator takes 512000"}},
		{"arguments too long", jobs, `{"key":"a","job":{"InputArguments":{"x":"` + strings.Repeat("y", 10_000) + `"}}}`, []string{"job.InputArguments", "Orchestrator takes 10000"}},
		{"arguments no object", jobs, `{"key":"a","job":{"InputArguments":"[1]"}}`, []string{"job.InputArguments", "JSON object"}},
		{"two jobs", jobs, `{"key":"a","job":{"JobsCount":2}}`, []string{"job.JobsCount", "one request starts one job"}},
		{"two robots", jobs, `{"key":"a","job":{"Strategy":"Specific","RobotIds":[1,2]}}`, []string{"job.RobotIds", "names 2"}},
		{"all robots", jobs, `{"key":"a","job":{"Strategy":"All"}}`, []string{`job.Strategy "All"`}},
		{"release key", jobs, `{"key":"a","job":{"ReleaseKey":"b1"}}`, []string{"job.ReleaseKey", "leave it out"}},
		{"other process", jobs, `{"key":"a","job":{"ReleaseName":"Other"}}`, []string{`job.ReleaseName "Other"`}},
		{"two priorities", jobs, `{"key":"a","job":{"JobPriority":"High","SpecificPriorityValue":70}}`, []string{"job.JobPriority", "SpecificPriorityValue"}},
		{"two inputs", jobs, `{"key":"a","job":{"InputFile":"6f9619ff-8b86-d011-b42d-00c04fc964ff","InputArguments":{}}}`, []string{"job.InputFile"}},
		{"several faults", plainItems, `{"key":"","item":{"Priority":"x","DueDate":"y"},"extra":1}`, []string{"extra"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := pipeline.DecodeRequest([]byte(test.body))
			if err == nil {
				err = r.Validate(test.lane)
			}
			if _, ok := errors.AsType[*pipeline.InvalidError](err); !ok {
				t.Fatalf("got %v, want an InvalidError", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error repeats the payload: %d bytes", len(err.Error()))
			}
		})
	}
}

// manyMembers is a request with n members that do not belong there.
func manyMembers(n int) string {
	var b strings.Builder
	b.WriteString(`{"key":"a","item":{}`)
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":1`, i)
	}
	return b.String() + "}"
}

func TestRequestIsTaken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		lane pipeline.Lane
		body string
	}{
		{"least", plainItems, `{"key":"a","item":{}}`},
		{"queue in other letters", plainItems, `{"key":"a","queue":"PLAIN","item":{"Name":"plain"}}`},
		{"all of an item", plainItems, `{"key":"INV-42","until":"accepted","item":{"Priority":"High","DeferDate":"2026-12-01T08:00:00+01:00","DueDate":"2026-12-02T08:00:00Z","Reference":"R","SpecificContent":{"Amount":12.50,"Big":12345678901234567890,"Text":"a","Yes":true,"None":null,"Text@odata.type":"#String"},"Source":"Apps"}}`},
		{"nulls are absent", plainItems, `{"key":"a","until":null,"notAfter":null,"job":null,"item":{"Priority":null,"DueDate":null}}`},
		{"all of a job", jobs, `{"key":"run-7","until":"completed","notAfter":"2099-12-01T00:00:00Z","job":{"JobPriority":"Normal","RuntimeType":"Unattended","InputArguments":{"in_Date":"2026-11-22"},"EntryPointPath":"Main.xaml"}}`},
		{"arguments as text", jobs, `{"key":"a","job":{"InputArguments":"{\"in_Date\":\"2026-11-22\"}","ReleaseName":"pay invoices","JobsCount":1}}`},
		{"one robot", jobs, `{"key":"a","job":{"Strategy":"Specific","RobotIds":[9826]}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := pipeline.DecodeRequest([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Validate(test.lane); err != nil {
				t.Fatal(err)
			}
			body, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			again, err := pipeline.DecodeRequest(body)
			if err != nil || again.Validate(test.lane) != nil {
				t.Errorf("encoded as %s it is refused: %v", body, err)
			}
		})
	}
}
