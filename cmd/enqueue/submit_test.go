package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// The request on the wire is what the flags say.
func TestSubmit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		args          []string
		stdin         string
		subject, body string
		says          string
	}{
		{
			name:    "item",
			args:    []string{"item", "--queue", "invoices", "--key", "K1", "--content", `{"Amount":12.50,"Open":null}`, "--set", "Text=a=b", "--priority", "high", "--due", "2026-12-01T00:00:00Z", "--defer", "2026-11-30T00:00:00Z", "--until", "completed", "--not-after", "2026-12-02T00:00:00Z"},
			subject: "uipath.requests.Default.-.items.invoices",
			body:    `{"key":"K1","until":"completed","notAfter":"2026-12-02T00:00:00Z","item":{"Priority":"High","DueDate":"2026-12-01T00:00:00Z","DeferDate":"2026-11-30T00:00:00Z","SpecificContent":{"Amount":12.50,"Open":null,"Text":"a=b"}}}`,
		},
		{
			name:    "item from standard input",
			args:    []string{"item", "--queue", "invoices", "--key", "K1", "--content", "-", "--folder", "Finance/Invoices", "--tenant", "T"},
			stdin:   `{"A":"x"}`,
			subject: "uipath.requests.T.Finance%2FInvoices.items.invoices",
			body:    `{"key":"K1","until":"accepted","item":{"SpecificContent":{"A":"x"}}}`,
		},
		{
			name:    "item with another Reference",
			args:    []string{"item", "--queue", "invoices", "--key", "K1", "--reference", "R 1"},
			subject: "uipath.requests.Default.-.items.invoices",
			body:    `{"key":"K1","until":"accepted","item":{"Reference":"R 1"}}`,
			says:    "warning: the Reference is not the key: where an answer of Orchestrator's is lost, the item cannot be told from somebody else's and its outcome will be unknown; with --key 'R 1'",
		},
		{
			name:    "job",
			args:    []string{"job", "--process", "Import_Invoices", "--key", "K1", "--args", `{"in_Count":5}`, "--arg", "in_Date=2026-11-22", "--priority", "Low", "--reference", "K1"},
			subject: "uipath.requests.Default.-.jobs.Import_Invoices",
			body:    `{"key":"K1","until":"accepted","job":{"Reference":"K1","JobPriority":"Low","InputArguments":{"in_Count":5,"in_Date":"2026-11-22"}}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := newInstallation(t)
			r := i.run(t, tt.stdin, append(tt.args, "-o", "jsonl")...)
			r.want(t, cli.ExitOK, tt.says)
			messages := i.requests(t)
			if len(messages) != 1 {
				t.Fatalf("%d requests in the stream, want 1", len(messages))
			}
			if diff := cmp.Diff([]string{tt.subject, tt.body}, []string{messages[0].Subject, string(messages[0].Data)}); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			var printed receipt
			if err := json.Unmarshal([]byte(r.stdout), &printed); err != nil || printed.Key != "K1" || printed.Sequence != 1 {
				t.Errorf("printed %q, want the key and the sequence (error %v)", r.stdout, err)
			}
		})
	}
}

func TestMadeUpKey(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.run(t, "", "item", "--queue", "invoices").want(t, cli.ExitOK)
	r := i.run(t, "", "item", "--queue", "invoices")
	r.want(t, cli.ExitOK)
	keys := keysOf(t, i.requests(t))
	if len(keys) != 2 || len(keys[0]) != 36 || keys[0] >= keys[1] {
		t.Errorf("keys are %q, want two of 36 characters that sort by time", keys)
	}
	want := "KEY                                   LANE                              STATE\n" + keys[1] + "  Default:-:items:invoices          stored\n"
	if r.stdout != want {
		t.Errorf("printed %q, want %q", r.stdout, want)
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status pipeline.Status
		code   cli.Code
		says   string
	}{
		{pipeline.StatusAccepted, cli.ExitOK, ""},
		{pipeline.StatusSucceeded, cli.ExitOK, ""},
		{pipeline.StatusRejected, cli.ExitRejects, "enqueue: item K1: rejected: queue does not exist"},
		{pipeline.StatusUnknown, cli.ExitRejects, "enqueue: item K1: unknown: no reason is given"},
	} {
		t.Run(string(tt.status), func(t *testing.T) {
			t.Parallel()
			i := newInstallation(t)
			i.work(t, tt.status)
			args := []string{"item", "--queue", "invoices", "--key", "K1", "--set", "A=x", "--wait", "--timeout", "20s", "-o", "json"}
			first := i.run(t, "", args...)
			first.want(t, tt.code, "key K1\n", tt.says)
			var o pipeline.Outcome
			if err := json.Unmarshal([]byte(first.stdout), &o); err != nil || o.Key != "K1" || o.Status != tt.status || o.Queue != "Invoices" {
				t.Errorf("printed %q, want the outcome (error %v)", first.stdout, err)
			}

			// The outcome is there already: it is printed, nothing is published.
			again := i.run(t, "", args...)
			again.want(t, tt.code)
			if again.stdout != first.stdout {
				t.Errorf("printed %q the second time, want %q", again.stdout, first.stdout)
			}
			if n := len(i.requests(t)); n != 1 {
				t.Errorf("%d requests in the stream, want 1", n)
			}
		})
	}
}

// The folder may be spelled in other letters than Orchestrator's.
func TestWaitSpelledFolder(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.work(t, pipeline.StatusAccepted)
	r := i.run(t, "", "item", "--queue", "invoices", "--folder", "shared", "--key", "K1", "--wait", "--timeout", "20s")
	r.want(t, cli.ExitOK)
	if !strings.Contains(r.stdout, "Default:Shared:items:Invoices") {
		t.Errorf("printed %q, want the outcome", r.stdout)
	}
}

// What went wrong is said once, on standard error.
func TestWaitSaysTheErrorOnce(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.work(t, pipeline.StatusRejected)
	r := i.run(t, "", "item", "--queue", "invoices", "--wait", "--timeout", "20s")
	r.want(t, cli.ExitRejects, "queue does not exist")
	if strings.Contains(r.stdout, "queue does not exist") || !strings.Contains(r.stdout, "rejected") {
		t.Errorf("printed %q, want the outcome without its error", r.stdout)
	}
}

// A key that stands for another payload is refused, waiting or not.
func TestKeyConflict(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.work(t, pipeline.StatusAccepted)
	i.run(t, "", "item", "--queue", "invoices", "--key", "K1", "--set", "A=x", "--wait", "--timeout", "20s").want(t, cli.ExitOK)
	for _, wait := range []string{"--wait=true", "--wait=false"} {
		r := i.run(t, "", "item", "--queue", "invoices", "--key", "K1", "--set", "A=y", wait)
		r.want(t, cli.ExitRejects, `enqueue: key "K1": key_conflict: a request of this key was handed in before and asks for something else`)
		if r.stdout != "" {
			t.Errorf("%s: printed %q, want nothing", wait, r.stdout)
		}
	}
	if n := len(i.requests(t)); n != 1 {
		t.Errorf("%d requests in the stream, want 1", n)
	}
	known := i.run(t, "", "item", "--queue", "invoices", "--key", "K1", "--set", "A=x")
	known.want(t, cli.ExitOK)
	if !strings.HasSuffix(known.stdout, "  accepted\n") {
		t.Errorf("printed %q, want the state of the request that is known", known.stdout)
	}
}

// An outcome of the same key in another lane is not ours.
func TestWaitTimesOut(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if err := i.settle(t.Context(), canonical, pipeline.Request{Key: "it's", Item: json.RawMessage(`{}`)}, pipeline.StatusAccepted); err != nil {
		t.Fatal(err)
	}
	r := i.run(t, "", "item", "--queue", "other", "--key", "it's", "--wait", "--timeout", "300ms")
	r.want(t, cli.ExitTimeout, `no outcome within 300ms; the request stands and will be carried out once a worker serves tenant Default and the lane is not paused (where one should, see its log, or worker doctor); follow it with: enqueue watch --all --key 'it'\''s'`)
	if n := len(i.requests(t)); n != 1 {
		t.Errorf("%d requests in the stream, want 1", n)
	}
}

// A request for a queue that Orchestrator does not have is answered under the
// lane as it was typed.
func TestWaitForAnUnknownQueue(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if err := i.settle(t.Context(), typed, pipeline.Request{Key: "K1", Item: json.RawMessage(`{}`)}, pipeline.StatusRejected); err != nil {
		t.Fatal(err)
	}
	r := i.run(t, "", "item", "--queue", "invoices", "--key", "K1", "--wait", "--timeout", "20s")
	r.want(t, cli.ExitRejects, "enqueue: item K1: rejected: queue does not exist")
}

// FuzzParseObject: what a flag holds is one object with each name once, or is
// refused; what is taken is JSON.
func FuzzParseObject(f *testing.F) {
	for _, text := range []string{`{"Amount":12.5}`, `{}`, `null`, `[]`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":{"b":1,"b":2}}`, `{"":0}`, `{"a":1} {}`, `{"\ud800":1,"\ud801":2}`, "{\"\xff\":1,\"\ufffd\":2}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		object, err := parseObject("content", text)
		if err != nil {
			return
		}
		var whole any
		if err := json.Unmarshal(text, &whole); err != nil {
			t.Fatalf("%q is taken, and is no JSON: %v", text, err)
		}
		again, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var copied any
		if err := json.Unmarshal(again, &copied); err != nil || !cmp.Equal(whole, copied) {
			t.Errorf("%q is taken as %s", text, again)
		}
	})
}
