package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// byName is what releases and queues have in common: they are found by name.
var byName = map[string]struct {
	set    string
	find   func(*Client, context.Context, string) (string, error) // gives the name as spelled there
	forget func(*Client, string)
}{
	"queue": {
		"QueueDefinitions",
		func(c *Client, ctx context.Context, name string) (string, error) {
			q, err := c.QueueDefinitionByName(ctx, testFolder, name)
			return q.Name, err
		},
		func(c *Client, name string) { c.ForgetQueue(testFolder, name) },
	},
	"process": {
		"Releases",
		func(c *Client, ctx context.Context, name string) (string, error) {
			r, err := c.ReleaseByName(ctx, testFolder, name)
			return r.Name, err
		},
		func(c *Client, name string) { c.ForgetRelease(testFolder, name) },
	},
}

func TestLookupByName(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		found    []string
		name     string
		want     string
		wantErr  string
		notFound bool
	}{
		"same":                 {found: []string{"Pay O'Brien"}, name: "Pay O'Brien", want: "Pay O'Brien"},
		"other case":           {found: []string{"Invoices"}, name: "INVOICES", want: "Invoices"},
		"two, one spelled so":  {found: []string{"INVOICES", "Invoices"}, name: "Invoices", want: "Invoices"},
		"two, none spelled so": {found: []string{"INVOICES", "Invoices"}, name: "invoices", wantErr: `"invoices" is not clear: spell it`},
		"two of one name":      {found: []string{"Invoices", "Invoices"}, name: "Invoices", wantErr: `"Invoices" is not clear`},
		"none":                 {name: "Invoices", wantErr: `"Invoices": check the name`, notFound: true},
		"something else came":  {found: []string{"Invoices2"}, name: "Invoices", wantErr: `"Invoices": check the name`, notFound: true},
	}
	for what, kind := range byName {
		for name, test := range tests {
			t.Run(what+" "+name, func(t *testing.T) {
				t.Parallel()
				var calls atomic.Int32
				client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
					if calls.Add(1) > 1 && test.notFound {
						reply(w, 200, listOf(test.found)) // all are looked through
						return
					}
					if got, want := r.URL.Path, "/acme/prod/orchestrator_/odata/"+kind.set; got != want {
						t.Errorf("got %s, want %s", got, want)
					}
					if got, want := r.URL.Query().Get("$filter"), Eq("Name", test.name); got != want {
						t.Errorf("got filter %s, want %s", got, want)
					}
					if got := r.URL.Query().Get("$top"); got != "2" {
						t.Errorf("got $top %s, want 2", got)
					}
					reply(w, 200, listOf(test.found))
				})
				got, err := kind.find(client, t.Context(), test.name)
				if got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
				if test.wantErr == "" {
					if err != nil {
						t.Fatal(err)
					}
					_, _ = kind.find(client, t.Context(), test.name)
					kind.forget(client, test.name)
					_, _ = kind.find(client, t.Context(), test.name)
					if calls.Load() != 2 {
						t.Errorf("got %d calls, want 2: one remembered, one after forgetting", calls.Load())
					}
					return
				}
				e := asError(t, err, Rejected)
				wantText(t, e.Error(), "look up ", what, test.wantErr)
				if got := errors.Is(e, ErrNotFound); got != test.notFound {
					t.Errorf("is ErrNotFound: got %t, want %t", got, test.notFound)
				}
			})
		}
	}
}

func listOf(names []string) string {
	entries := make([]string, len(names))
	for i, name := range names {
		entries[i] = fmt.Sprintf(`{"Id":%d,"Key":"k%d","Name":%q}`, i+1, i+1, name)
	}
	return `{"value":[` + strings.Join(entries, ",") + `]}`
}

func TestNothingFoundIsNotRemembered(t *testing.T) {
	t.Parallel()
	for what, kind := range byName {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var found []string
			client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, listOf(found)) })
			_, err := kind.find(client, t.Context(), "Invoices")
			wantKind(t, err, Rejected)
			found = []string{"Invoices"}
			if _, err := kind.find(client, t.Context(), "Invoices"); err != nil {
				t.Errorf("after it was made: %v", err)
			}
		})
	}
}

func TestLookupThatFailsIsNotMissing(t *testing.T) {
	t.Parallel()
	for what, kind := range byName {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			client := newTestClient(t, answers(403, `{"message":"You are not authorized!"}`))
			_, err := kind.find(client, t.Context(), "Invoices")
			if e := asError(t, err, Denied); errors.Is(e, ErrNotFound) || e.Class != Reads {
				t.Errorf("got %v of class %s", e, e.Class)
			}
		})
	}
}

// Where the filter depends on case, all are looked through.
func TestLookupByNameWhereFiltersDependOnCase(t *testing.T) {
	t.Parallel()
	for what, kind := range byName {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("$filter") != "" {
					reply(w, 200, listOf(nil))
					return
				}
				reply(w, 200, listOf([]string{"Orders", "Invoices", "Invoices2"}))
			})
			if got, err := kind.find(client, t.Context(), "iNVOICES"); got != "Invoices" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
