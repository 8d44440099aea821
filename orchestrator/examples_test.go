package orchestrator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// example is one recorded exchange.
type example struct {
	Request struct {
		Body json.RawMessage   `json:"body"`
		Form map[string]string `json:"form"`
	} `json:"request"`
	Response struct {
		Status   int             `json:"status"`
		Body     json.RawMessage `json:"body"`
		Location string          `json:"location"`
		ErrorID  json.RawMessage `json:"error_id_decoded"`
	} `json:"response"`
}

// data is the body without the envelope that UiPath's command line puts around
// what the API answered.
func (e example) data(t *testing.T) json.RawMessage {
	t.Helper()
	var envelope struct{ Data json.RawMessage }
	if err := json.Unmarshal(e.Response.Body, &envelope); err != nil || envelope.Data == nil {
		t.Fatalf("no Data in the envelope: %v", err)
	}
	return envelope.Data
}

// notOurs are the recordings of what this package does not call.
var notOurs = map[string]string{
	"error-bulk-users-duplicate.json":         "users",
	"folders-list-cli.json":                   "names of the command line's own",
	"queue-export-completed.json":             "exports",
	"queue-export-started.json":               "exports",
	"queue-processing-stats-2026-cli.json":    "statistics",
	"settransactionresult-requests-2020.json": "robots",
	"stopjobs-request.json":                   "stopping jobs",
	"user-folder-roles-page-items.json":       "users",
}

// ours says what every other recording means to the client.
var ours = map[string]func(*testing.T, example){
	"error-0-parameters-null.json":                          meansError(Rejected, 0, "itemReviewStatusParameters must not be null", nil),
	"error-0-role-dto-null.json":                            meansError(Rejected, 0, "; roleDto must not be null", nil),
	"error-1002-queue-missing.json":                         meansError(Rejected, 1002, "NoSuchQueue does not exist.", ErrNotFound),
	"error-1002-queueitem-missing.json":                     meansError(Rejected, 1002, "QueueItem does not exist.", ErrNotFound),
	"error-1009-take-out-of-range.json":                     meansError(Rejected, 1009, "The field take must be between 0 and 100", nil),
	"error-1016-duplicate-reference.json":                   meansError(Duplicate, 1016, "Error creating Transaction. Duplicate Reference.", ErrDuplicateReference),
	"error-1100-folder-not-found.json":                      meansError(Rejected, 1100, "Folder does not exist or the user does not have access to the folder.", nil),
	"error-1101-folder-required-new-text.json":              meansError(Rejected, 1101, "A folder is required for this action.", nil),
	"error-400-invalid-odata.json":                          meansError(Rejected, 0, "Error listing queues", nil),
	"error-403-not-authorized.json":                         meansError(Denied, 0, "You are not authorized! You are not allowed to perform this operation.", nil),
	"error-404-job-missing.json":                            meansError(Rejected, 0, "Error getting job", ErrNotFound),
	"error-503-no-healthy-upstream.json":                    meansNoUpstream,
	"error-directory-400-duplicates.json":                   meansError(Rejected, 0, "Duplicate usernames found in database for specified input. (Parameter 'userNamesOrEmails')", nil),
	"error-directory-400-invalid-entity.json":               meansError(Rejected, 0, "Invalid Entity Names. (Parameter 'entityIdentifiers')", nil),
	"error-directory-400-too-many.json":                     meansError(Rejected, 0, "entityNames size is larger that maximum supported value of 20 (Parameter 'entityNames')", nil),
	"error-directory-404-cannot-resolve.json":               meansError(Rejected, 0, "Cannot resolve users=[530534bf-86f2-47df-bfff-007e4c2554ad] in CIS", ErrNotFound),
	"error-identity-scope-not-found.json":                   meansDeniedLogin("'IdentityServerApi' scope not found."),
	"error-identity-scopes-invalid.json":                    meansDeniedLogin("is(are) invalid. Expect to have"),
	"error-problemdetails-400-bare.json":                    meansProblem(""),
	"error-problemdetails-400-with-type.json":               meansProblem("00-b4356a07063fc3"),
	"error-startjobs-1230-foreground-needs-unattended.json": meansError(Rejected, 1230, "Foreground job requires an unattended robot to be defined on your user", nil),
	"error-startjobs-1671-no-unattended-permission.json":    meansError(Rejected, 1671, "Couldn't find any user with unattended robot permissions in the current folder.", nil),
	"error-startjobs-2818-no-machine-runtime.json":          meansError(Rejected, 2818, "Could not find a machine with Unattended or NonProduction runtimes in the current folder", nil),
	"error-startjobs-400-input-file-and-arguments.json":     meansError(Rejected, 1009, "A job cannot have both input file and input arguments.", nil),
	"error-startjobs-400-priority.json":                     meansError(Rejected, 1009, "Cannot set a specific priority value when a standard job priority setting is selected.", nil),
	"error-startjobs-404-process-missing.json":              meansError(Rejected, 0, "The job's associated process could not be found", ErrNotFound),
	"token-invalid-grant.json":                              meansDeniedLogin("invalid_grant"),

	"identity-error-page-219.json":              meansErrorPage("219: the user does not belong to the organization"),
	"identity-error-page-invalid-redirect.json": meansErrorPage("Invalid redirect_uri: the redirect address is not registered for the application"),
	"onprem-authenticate-200.json":              meansAuthenticated,

	"token-client-credentials-200.json":                meansToken,
	"token-client-credentials-org-scoped-url-200.json": meansToken,

	"folder-onprem-2020-entity.json":             meansFolder(Folder{ID: 1, DisplayName: "Default", FullyQualifiedName: "Default", ProvisionType: "Manual", PermissionModel: "InheritFromTenant"}),
	"folders-list-modern-200.json":               meansFolder(Folder{ID: 515116, Key: folderKey, DisplayName: "Shared", FullyQualifiedName: "Shared", ProvisionType: "Automatic", PermissionModel: "FineGrained"}),
	"release-onprem-2020-entity.json":            meansRelease("MyAttendedFramework_Main", "bb2cxxxx-xxxxx", "MyAttendedFramework"),
	"releases-by-name-200.json":                  meansRelease("Add a pet to pet store by queue item", "6f459380-1b98-4f33-9682-6f8a7457490f", "PetStore_AddPet_byQueueItem"),
	"releases-get-by-name-sdk.json":              meansRelease("llamaindex-agent-no-llm", "A1079BF6-5882-4A2E-83EF-148736779841", "llamaindex-agent-no-llm"),
	"processes-list-cli.json":                    meansProcesses,
	"queuedefinition-unique-reference-2020.json": meansUniqueQueue,

	"addqueueitem-request-typed.json":         meansAddedItem,
	"bulkaddqueueitems-request-shape.json":    meansBulkRequest,
	"queueitem-onprem-2020-dates.json":        meansSameContent,
	"starttransaction-onprem-2020.json":       meansItem(1911, "InProgress"),
	"queueitem-failed-business-2026-cli.json": meansFailedItem,
	"queueitems-list-2026-cli.json":           meansItems,

	"job-faulted-activity-cli.json":           meansJob("Faulted", true),
	"job-faulted-business-rule-cli.json":      meansJob("Faulted", true),
	"job-faulted-credential-store-cli.json":   meansJob("Faulted", true),
	"job-faulted-orchestrator-token-cli.json": meansJob("Faulted", true),
	"job-faulted-queue-not-found-cli.json":    meansJob("Faulted", true),
	"job-faulted-robot-units-cli.json":        meansJob("Faulted", true),
	"job-pending-with-reasons-2026-cli.json":  meansJob("Pending", false),
	"job-running-cli.json":                    meansJob("Running", false),
	"job-stopped-cli.json":                    meansJob("Stopped", true),
	"job-successful-2026-cli.json":            meansJob("Successful", true),
	"jobs-list-stopped-2026-cli.json":         meansJobs,
	"startjobs-onprem-2020-three-jobs.json":   meansThreeJobs,

	"startjobs-request-legacy-noofrobots.json": meansStartRequest,
	"startjobs-request-modern-priority.json":   meansStartRequest,
	"startjobs-request-modern.json":            meansStartRequest,
	"startjobs-request-sdk-release-name.json":  meansStartRequest,
	"startjobs-request-specific-robot.json":    meansStartRequest,
	"legacy-service-instances-200.json":        meansServiceInstances,
}

func TestRecordedExamples(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("ORCHESTRATOR_EXAMPLES")
	if folder == "" {
		t.Skip("ORCHESTRATOR_EXAMPLES does not name the folder of recorded answers")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", folder, err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		name := filepath.Base(file)
		seen[name] = true
		if strings.HasPrefix(name, "webhook-") || notOurs[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			means, ok := ours[name]
			if !ok {
				t.Fatal("nobody said what this recording means to the client")
			}
			means(t, readExample(t, file))
		})
	}
	for _, name := range append(slices.Collect(maps.Keys(ours)), slices.Collect(maps.Keys(notOurs))...) {
		if !seen[name] {
			t.Errorf("%s is expected but not there", name)
		}
	}
}

func readExample(t *testing.T, file string) example {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var e example
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// status is the recorded one; where none is known, that of most refusals.
func (e example) status() int {
	if e.Response.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Response.Status
}

func meansError(kind Kind, code int, message string, is error) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		client := newTestClient(t, answers(e.status(), string(e.Response.Body)))
		_, readErr := client.Job(t.Context(), Folder{}, 5)
		_, writeErr := client.StartJobs(t.Context(), Folder{}, StartInfo{ReleaseKey: "r"})
		for _, err := range []error{readErr, writeErr} {
			got := asError(t, err, kind)
			if got.Code != code || got.Message != message || got.StatusCode != e.status() {
				t.Errorf("got code %d, message %q, status %d, want %d, %q, %d", got.Code, got.Message, got.StatusCode, code, message, e.status())
			}
			if is != nil && !errors.Is(err, is) {
				t.Errorf("%v is not %v", err, is)
			}
		}
	}
}

// meansNoUpstream: the recording tells the plain text of the body behind the
// status in its message.
func meansNoUpstream(t *testing.T, e example) {
	t.Helper()
	var body struct{ Message string }
	if err := json.Unmarshal(e.Response.Body, &body); err != nil {
		t.Fatal(err)
	}
	text, _ := strings.CutPrefix(body.Message, "HTTP 503: ")
	client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(e.status())
		_, _ = w.Write([]byte(text))
	})
	_, err := client.StartJobs(t.Context(), Folder{}, StartInfo{ReleaseKey: "r"})
	wantText(t, asError(t, err, Transient).Error(), "503 Service Unavailable: no healthy upstream")
}

func meansProblem(trace string) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		_, err := newTestClient(t, answers(e.status(), string(e.Response.Body))).Job(t.Context(), Folder{}, 5)
		got := asError(t, err, Rejected)
		wantText(t, got.Message, "One or more validation errors occurred. entityType: Error converting value")
		wantText(t, got.TraceID, trace)
	}
}

func meansDeniedLogin(message string) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		client := newTestClient(t, answers(e.status(), string(e.Response.Body)), func(c *Config) { c.Login = testCredentials })
		_, err := client.Job(t.Context(), Folder{}, 5)
		got := asError(t, err, Denied)
		wantText(t, got.Message, message)
		if got.Class != Identity {
			t.Errorf("got class %s", got.Class)
		}
	}
}

func meansAuthenticated(t *testing.T, e example) {
	t.Helper()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, pathAuthenticate) {
			var recorded map[string]any
			if err := json.Unmarshal(e.Request.Body, &recorded); err != nil {
				t.Error(err)
			}
			sent := bodyOf(t, r)
			for name := range recorded {
				if sent[name] == nil {
					t.Errorf("the body lacks %s", name)
				}
			}
			reply(w, e.status(), string(e.Response.Body))
			return
		}
		if got := r.Header.Get("Authorization"); got != "Bearer REDACTED" {
			t.Errorf("got %q", got)
		}
		reply(w, 200, `{"Id":5}`)
	}, func(c *Config) {
		c.BaseURL, c.Tenant, c.Login = "https://orchestrator.example", "Default", Password{Username: "admin", Password: "pw"}
	})
	if _, err := client.Job(t.Context(), Folder{}, 5); err != nil {
		t.Error(err)
	}
}

// meansErrorPage has a user give the address of the identity server's page.
func meansErrorPage(message string) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		address := e.Response.Location
		if address == "" {
			address = "https://cloud.uipath.com/identity_/web/?errorCode=invalid_request&errorId=" + base64.StdEncoding.EncodeToString(e.Response.ErrorID)
		}
		a, err := NewAuthorization(Config{BaseURL: testBase, Login: RefreshToken{ClientID: "app"}}, AuthorizationRequest{RedirectURL: "http://localhost:8085/callback"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Exchange(t.Context(), address)
		wantText(t, asError(t, err, Denied).Error(), message)
	}
}

func meansToken(t *testing.T, e example) {
	t.Helper()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/connect/token") {
			for name := range e.Request.Form {
				if r.FormValue(name) == "" {
					t.Errorf("the form lacks %s", name)
				}
			}
			reply(w, e.status(), string(e.Response.Body))
			return
		}
		if got := r.Header.Get("Authorization"); got != "Bearer REDACTED" {
			t.Errorf("got %q", got)
		}
		reply(w, 200, `{"Id":5}`)
	}, func(c *Config) { c.Login = testCredentials })
	if _, err := client.Job(t.Context(), Folder{}, 5); err != nil {
		t.Error(err)
	}
}

// entries makes a list of a body that is a list, one entity, or an answer with
// a list in it.
func entries(body json.RawMessage) string {
	var list struct{ Value json.RawMessage }
	switch {
	case body[0] == '[':
		return `{"value":` + string(body) + `}`
	case json.Unmarshal(body, &list) == nil && list.Value != nil:
		return string(body)
	}
	return `{"value":[` + string(body) + `]}`
}

func meansFolder(want Folder) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		client := newTestClient(t, answers(e.status(), entries(e.Response.Body)))
		got, err := client.Folder(t.Context(), FolderRef{Path: want.FullyQualifiedName})
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

func meansRelease(name, key, process string) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		got, err := newTestClient(t, answers(e.status(), entries(e.Response.Body))).ReleaseByName(t.Context(), testFolder, name)
		if err != nil || got.Name != name || got.Key != key || got.ProcessKey != process {
			t.Errorf("got %+v, %v, want %s, %s, %s", got, err, name, key, process)
		}
	}
}

func meansProcesses(t *testing.T, e example) {
	t.Helper()
	var names []string
	for release, err := range newTestClient(t, answers(200, entries(e.data(t)))).Releases(t.Context(), testFolder, Query{}) {
		if err != nil || release.Key == "" || release.ProcessVersion == "" {
			t.Errorf("got %+v, %v", release, err)
		}
		names = append(names, release.Name)
	}
	if !slices.Equal(names, []string{"ERN", "BlankProcess"}) {
		t.Errorf("got %v", names)
	}
}

func meansUniqueQueue(t *testing.T, e example) {
	t.Helper()
	got, err := newTestClient(t, answers(200, entries(e.Response.Body))).QueueDefinitionByName(t.Context(), testFolder, "TESTQUEUE0296")
	if err != nil || got.ID != 558 || got.Name != "testQueue0296" || !got.EnforceUniqueReference || got.MaxNumberOfRetries != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func meansAddedItem(t *testing.T, e example) {
	t.Helper()
	var request struct{ ItemData map[string]json.RawMessage }
	if err := json.Unmarshal(e.Request.Body, &request); err != nil {
		t.Fatal(err)
	}
	item := QueueItemData{SpecificContent: request.ItemData["SpecificContent"]}
	for name, field := range map[string]*string{
		"Name": &item.Name, "Reference": &item.Reference, "Priority": &item.Priority, "DeferDate": &item.DeferDate, "DueDate": &item.DueDate,
	} {
		if err := json.Unmarshal(request.ItemData[name], field); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	sameJSON(t, `{"itemData":`+string(item.AppendJSON(nil))+`}`, string(e.Request.Body))

	// The recording ends before the Id, so the item is read but not believed.
	var added QueueItem
	if err := json.Unmarshal(e.Response.Body, &added); err != nil || added.Status != "New" || added.QueueDefinitionID != 28211 {
		t.Errorf("got %+v, %v", added, err)
	}
	_, err := newTestClient(t, answers(e.status(), string(e.Response.Body))).AddQueueItem(t.Context(), Folder{}, item)
	wantKind(t, err, Uncertain)
}

func meansBulkRequest(t *testing.T, e example) {
	t.Helper()
	want := BulkAddQueueItemsRequest{QueueName: "UnattendedQueue", QueueItems: []QueueItemData{
		{Name: "UnattendedQueue", Priority: "Normal", Reference: "Petstore", SpecificContent: json.RawMessage(`{"Name":"Testymonika2000"}`)},
		{Name: "UnattendedQueue", Priority: "High", Reference: "Petstore", SpecificContent: json.RawMessage(`{"Name":"Testymonika2001"}`)},
	}}
	sameJSON(t, string(want.AppendJSON(nil)), string(e.Request.Body))
}

func meansStartRequest(t *testing.T, e example) {
	t.Helper()
	var request struct{ StartInfo map[string]json.RawMessage }
	if err := json.Unmarshal(e.Request.Body, &request); err != nil {
		t.Fatal(err)
	}
	var info StartInfo
	for name, field := range map[string]any{
		"ReleaseKey": &info.ReleaseKey, "ReleaseName": &info.ReleaseName, "Strategy": &info.Strategy, "Source": &info.Source,
		"JobPriority": &info.JobPriority, "RuntimeType": &info.RuntimeType, "InputArguments": &info.InputArguments,
	} {
		if raw, ok := request.StartInfo[name]; ok && json.Unmarshal(raw, field) != nil {
			t.Errorf("%s cannot be read", name)
		}
		delete(request.StartInfo, name)
	}
	info.Extra = request.StartInfo
	sameJSON(t, `{"startInfo":`+string(info.AppendJSON(nil))+`}`, string(e.Request.Body))
}

func sameJSON(t *testing.T, got, want string) {
	t.Helper()
	a, okA := decodeValue([]byte(got))
	b, okB := decodeValue([]byte(want))
	if !okA || !okB || !sameValue(a, b, func(string, string) bool { return false }) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func meansItem(id int64, status string) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		got, err := newTestClient(t, answers(200, string(e.Response.Body))).QueueItem(t.Context(), testFolder, id)
		if err != nil || got.ID != id || got.Status != status || got.CreationTime == nil {
			t.Errorf("got %+v, %v, want %d, %s", got, err, id, status)
		}
	}
}

func meansSameContent(t *testing.T, e example) {
	t.Helper()
	meansItem(1721, "New")(t, e)
	var request struct {
		ItemData struct{ SpecificContent json.RawMessage }
	}
	var item QueueItem
	if err := errors.Join(json.Unmarshal(e.Request.Body, &request), json.Unmarshal(e.Response.Body, &item)); err != nil {
		t.Fatal(err)
	}
	if !SameContent(request.ItemData.SpecificContent, item.SpecificContent) {
		t.Errorf("what came back is not taken for what was sent:\n%s\n%s", request.ItemData.SpecificContent, item.SpecificContent)
	}
}

func meansFailedItem(t *testing.T, e example) {
	t.Helper()
	got, err := newTestClient(t, answers(200, string(e.data(t)))).QueueItem(t.Context(), testFolder, 3569514)
	if err != nil || !got.Ended() || got.ProcessingException == nil || got.ProcessingException.Type != "BusinessException" ||
		got.Error == nil || got.Error.Code != "User.QueueItemBusinessException" || got.EndProcessing == nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

func meansItems(t *testing.T, e example) {
	t.Helper()
	count := 0
	for item, err := range newTestClient(t, answers(200, entries(e.data(t)))).QueueItems(t.Context(), testFolder, Query{}) {
		if err != nil || item.ID == 0 || item.Key == "" || item.QueueDefinitionID != 13713 || len(item.SpecificContent) == 0 {
			t.Errorf("got %+v, %v", item, err)
		}
		count++
	}
	if count == 0 {
		t.Error("got no items")
	}
}

func meansJob(state string, ended bool) func(*testing.T, example) {
	return func(t *testing.T, e example) {
		t.Helper()
		got, err := newTestClient(t, answers(200, string(e.data(t)))).Job(t.Context(), testFolder, 5)
		if err != nil || got.ID == 0 || got.Key == "" || got.State != state || got.Ended() != ended {
			t.Errorf("got %+v, %v, want state %s", got, err, state)
		}
	}
}

func meansJobs(t *testing.T, e example) {
	t.Helper()
	for job, err := range newTestClient(t, answers(200, entries(e.data(t)))).Jobs(t.Context(), testFolder, Query{}) {
		if err != nil || job.State != "Stopped" || job.Key == "" || job.EndTime == nil {
			t.Errorf("got %+v, %v", job, err)
		}
	}
}

func meansThreeJobs(t *testing.T, e example) {
	t.Helper()
	jobs, err := newTestClient(t, answers(e.status(), entries(e.Response.Body))).StartJobs(t.Context(), testFolder, StartInfo{ReleaseKey: "r", JobsCount: 3})
	if err != nil || len(jobs) != 3 {
		t.Fatalf("got %d jobs, %v, want 3", len(jobs), err)
	}
	for i, job := range jobs {
		if job.ID != int64(12287+i) || job.BatchExecutionKey != jobs[0].BatchExecutionKey || !job.CreationTime.Equal(*jobs[0].CreationTime) || job.State != "Pending" {
			t.Errorf("job %d: got %+v", i, job)
		}
	}
}

func meansServiceInstances(t *testing.T, e example) {
	t.Helper()
	got, err := newTestClient(t, answers(e.status(), string(e.Response.Body))).ServiceInstances(t.Context(), "https://legacy.example.net/cloudrpa", "acme")
	want := []ServiceInstance{{Name: "xx", LogicalName: "xxx", Type: "xxx", URL: "xxx", State: "ENABLED", UserRoles: []string{"Administrator"}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
