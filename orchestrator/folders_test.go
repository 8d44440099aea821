package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const folderKey = "db4528cc-7a3d-44f0-9df9-781fc07e9d8d"

func TestFolderLookups(t *testing.T) {
	t.Parallel()
	entity := `{"Key":"` + folderKey + `","DisplayName":"Invoices","FullyQualifiedName":"Finance/Invoices","ParentId":null,"Id":515116}`
	tests := map[string]struct {
		ref    FolderRef
		path   string
		filter string
		body   string
	}{
		"path": {
			FolderRef{Path: "Finance/Invoices"},
			"/odata/Folders", "FullyQualifiedName eq 'Finance/Invoices'",
			`{"@odata.count":1,"value":[` + entity + `]}`,
		},
		"path in another case": {
			FolderRef{Path: "finance/invoices"},
			"/odata/Folders", "FullyQualifiedName eq 'finance/invoices'",
			`{"value":[` + entity + `]}`,
		},
		"key": {FolderRef{Key: folderKey}, "/odata/Folders/UiPath.Server.Configuration.OData.GetByKey(identifier=" + folderKey + ")", "", entity},
		"id":  {FolderRef{ID: 515116}, "/odata/Folders(515116)", "", entity},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				if got, want := r.URL.Path, "/acme/prod/orchestrator_"+test.path; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if got := r.URL.Query().Get("$filter"); got != test.filter {
					t.Errorf("got filter %q, want %q", got, test.filter)
				}
				reply(w, 200, test.body)
			})
			for range 3 {
				got, err := client.Folder(t.Context(), test.ref)
				if err != nil {
					t.Fatal(err)
				}
				want := Folder{ID: 515116, Key: folderKey, DisplayName: "Invoices", FullyQualifiedName: "Finance/Invoices"}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if calls.Load() != 1 {
				t.Errorf("got %d calls, want 1", calls.Load())
			}
		})
	}
}

func TestFolderNotFound(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ref    FolderRef
		answer http.HandlerFunc
		want   string
	}{
		"path":               {FolderRef{Path: "Nope"}, answers(200, `{"value":[]}`), `no folder "Nope": check the spelling`},
		"server is too kind": {FolderRef{Path: "Nope"}, answers(200, `{"value":[{"Id":1,"FullyQualifiedName":"Nopes"}]}`), `no folder "Nope"`},
		"key":                {FolderRef{Key: folderKey}, answers(404, `{"message":"Folder does not exist.","errorCode":1002}`), "no folder with key " + folderKey},
		"id":                 {FolderRef{ID: 3}, answers(404, `{"message":"Folder does not exist."}`), "no folder with id 3: check"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newTestClient(t, test.answer).Folder(t.Context(), test.ref)
			e := asError(t, err, Rejected)
			if !errors.Is(e, ErrNotFound) {
				t.Errorf("%v is not ErrNotFound", e)
			}
			wantText(t, e.Error(), "look up folder: "+test.want, "OR.Folders.Read")
		})
	}
}

func TestFolderThatCannotBeLookedUpIsNotMissing(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) { replyHTML(w, 404, "<html></html>") })
	for _, ref := range []FolderRef{{Path: "Finance"}, {Key: folderKey}, {ID: 3}} {
		_, err := client.Folder(t.Context(), ref)
		if e := asError(t, err, Denied); errors.Is(e, ErrNotFound) {
			t.Errorf("%s: a gateway's page counts as Orchestrator's word", ref)
		}
	}
}

func TestFolderRefFaults(t *testing.T) {
	t.Parallel()
	tests := map[string]FolderRef{
		"has 0 of Path, Key and ID":     {},
		"has 2 of Path, Key and ID":     {Path: "a", ID: 1},
		`folder key "x" is no GUID`:     {Key: "x"},
		"folder ID -1 is negative":      {ID: -1},
		`"/a" begins or ends`:           {Path: "/a"},
		"Key \"db4528cc-7a3d-44f0-9df9": {Key: "db4528cc-7a3d-44f0-9df9-781fc07e9d8)"},
	}
	client := newTestClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a call was made") })
	for want, ref := range tests {
		_, err := client.Folder(t.Context(), ref)
		if e := asError(t, err, Rejected); want[0] != 'K' {
			wantText(t, e.Error(), want)
		}
	}
}

func TestManyCallersShareOneLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			time.Sleep(10 * time.Second)
			reply(w, 200, `{"value":[{"Id":1,"FullyQualifiedName":"Finance"}]}`)
		})
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := client.Folder(impatient, FolderRef{Path: "Finance"})
			if e := asError(t, err, Transient); !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", e)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				if _, err := client.Folder(t.Context(), FolderRef{Path: "Finance"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if calls.Load() != 1 {
			t.Errorf("got %d calls, want 1", calls.Load())
		}
		time.Sleep(lookupLife)
		if _, err := client.Folder(t.Context(), FolderRef{Path: "Finance"}); err != nil || calls.Load() != 2 {
			t.Errorf("after its life: got %d calls, %v, want 2", calls.Load(), err)
		}
	})
}

// movingServer knows one folder by its present id alone.
type movingServer struct {
	id      atomic.Int64
	lookups atomic.Int32
	refused atomic.Int32
	broken  atomic.Bool // folders cannot be looked up
}

func (s *movingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.id.Load()
	switch path := r.URL.Path[len("/acme/prod/orchestrator_"):]; path {
	case "/odata/Folders/UiPath.Server.Configuration.OData.GetByKey(identifier=" + folderKey + ")":
		s.lookups.Add(1)
		if s.broken.Load() {
			reply(w, 500, `{}`)
			return
		}
		reply(w, 200, fmt.Sprintf(`{"Id":%d,"Key":%q,"FullyQualifiedName":"Finance"}`, id, folderKey))
	case "/odata/Folders":
		s.lookups.Add(1)
		reply(w, 200, fmt.Sprintf(`{"value":[{"Id":%d,"FullyQualifiedName":"Finance"}]}`, id))
	default:
		if r.Header.Get("X-UIPATH-OrganizationUnitId") != strconv.FormatInt(id, 10) {
			s.refused.Add(1)
			reply(w, 400, `{"message":"Folder does not exist or the user does not have access to the folder.","errorCode":1100}`)
			return
		}
		reply(w, 201, `{"value":[{"Id":5,"Key":"k","State":"Pending"}]}`)
	}
}

func TestMovedFolderIsFoundAgain(t *testing.T) {
	t.Parallel()
	for name, ref := range map[string]FolderRef{"by key": {Key: folderKey}, "by path, without keys": {Path: "Finance"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &movingServer{}
			server.id.Store(7)
			client := newTestClient(t, server.ServeHTTP)
			folder, err := client.Folder(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			server.id.Store(8)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					for range 3 { // the caller goes on with the Folder it has
						if _, err := client.StartJobs(t.Context(), folder, StartInfo{ReleaseKey: "r"}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			if got := server.refused.Load(); got > 10 {
				t.Errorf("got %d refusals, want at most one for each caller", got)
			}
			if got := server.lookups.Load(); got > 11 {
				t.Errorf("got %d look-ups", got)
			}
			if got, err := client.Folder(t.Context(), ref); err != nil || got.ID != 8 {
				t.Errorf("got %d, %v, want the new id 8", got.ID, err)
			}
		})
	}
}

func TestFolderThatIsGone(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Method == http.MethodGet {
			reply(w, 404, `{"message":"Folder does not exist.","errorCode":1002}`)
			return
		}
		reply(w, 400, `{"message":"Folder does not exist","errorCode":1100}`)
	})
	_, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
	e := asError(t, err, Rejected)
	if e.Code != codeFolderUnknown || e.Class != Writes {
		t.Errorf("got %+v, want Orchestrator's first word", e)
	}
	wantText(t, e.Error(), "start jobs: 400 Bad Request: Folder does not exist (error code 1100): check the spelling")
	if calls.Load() != 2 {
		t.Errorf("got %d calls, want 2", calls.Load())
	}
}

func TestFolderUnknownWithA500IsNotRepeated(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		reply(w, 500, `{"message":"Folder does not exist","errorCode":1100}`)
	})
	_, err := client.StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
	wantKind(t, err, Uncertain)
	if calls.Load() != 1 {
		t.Errorf("got %d calls, want 1: a 500 proves nothing", calls.Load())
	}
}

func TestFolderThatMayHaveMoved(t *testing.T) {
	t.Parallel()
	server := &movingServer{}
	server.id.Store(8)
	server.broken.Store(true)
	_, err := newTestClient(t, server.ServeHTTP).StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r"})
	e := asError(t, err, Transient)
	wantText(t, e.Error(), "start jobs: look up folder: 500")
}

// FuzzNamedLookups: whatever a listing answers, what is found by name has that
// name, and what a call in it needs.
func FuzzNamedLookups(f *testing.F) {
	for _, body := range []string{
		`{"@odata.count":1,"value":[{"Id":7,"Key":"db4528cc-7a3d-44f0-9df9-781fc07e9d8d","Name":"Finance","FullyQualifiedName":"Finance"}]}`,
		`{"value":[{"Name":"Finance","FullyQualifiedName":"Finance"}]}`, `{"value":[{"Id":1,"Key":"k","Name":"FINANCE","FullyQualifiedName":"finance"},{"Id":2,"Key":"l","Name":"Finance","FullyQualifiedName":"Finance"}]}`,
		`{"value":[{"Id":1,"Name":"finance"},{"Id":2,"Name":"FINANCE"}]}`, `{"@odata.count":-1,"value":[{}]}`, `{"@odata.count":9007199254740993,"value":[]}`, `{"value":null}`, `{"value":[null]}`, `[]`, `{"value":{}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, string(body)) })
		folder, err := client.Folder(t.Context(), FolderRef{Path: "Finance"})
		checkFound(t, err, folder.FullyQualifiedName, folder.ID != 0)
		queue, err := client.QueueDefinitionByName(t.Context(), testFolder, "Finance")
		checkFound(t, err, queue.Name, queue.ID != 0)
		release, err := client.ReleaseByName(t.Context(), testFolder, "Finance")
		checkFound(t, err, release.Name, release.Key != "")
	})
}

func checkFound(t *testing.T, err error, name string, usable bool) {
	t.Helper()
	if err == nil {
		if !strings.EqualFold(name, "Finance") || !usable {
			t.Errorf("found %q, usable: %t", name, usable)
		}
		return
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Transient && e.Kind != Rejected {
		t.Errorf("got %v, want an error that is transient or rejected", err)
	}
}
