package simulator

import (
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/shapes.json anew")

// jsonType names the type of a decoded JSON value.
func jsonType(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case float64:
		return "number"
	case bool:
		return "boolean"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// shapes maps a kind of body to its members, and those to the types that were seen.
type shapes map[string]map[string][]string

func (s shapes) add(kind string, body any) {
	object, ok := body.(map[string]any)
	if !ok {
		return
	}
	if s[kind] == nil {
		s[kind] = make(map[string][]string)
	}
	for name, value := range object {
		types := append(slices.Clone(s[kind][name]), jsonType(value))
		slices.Sort(types)
		s[kind][name] = slices.Compact(types)
	}
}

// kindOf says what the rows or the whole of an answer are.
func kindOf(x exchange) string {
	path := strings.TrimPrefix(x.url, testBase)
	set, _, _ := strings.Cut(strings.TrimPrefix(path, "/odata/"), "(")
	set, _, _ = strings.Cut(set, "?")
	switch {
	case strings.HasSuffix(path, "/connect/token") && x.status == http.StatusOK:
		return "token"
	case strings.HasSuffix(path, "/connect/token"):
		return "token error"
	case strings.HasSuffix(path, "/oauth/token") && x.status == http.StatusOK:
		return "legacy token"
	case strings.HasSuffix(path, "/oauth/token"):
		return "legacy token error"
	case strings.HasSuffix(path, authenticatePath) && x.status == http.StatusOK:
		return "login"
	case strings.HasSuffix(path, authenticatePath):
		return "login error"
	case strings.HasSuffix(path, "/getAccountsForUser"):
		return "accounts"
	case strings.HasSuffix(path, "/getAllServiceInstances"):
		return "service instance"
	case x.status == http.StatusUnauthorized || x.status == http.StatusForbidden:
		return "envelope"
	case x.status >= http.StatusBadRequest:
		return "error"
	case path == addPath:
		return "queue item"
	case path == bulkPath:
		return "bulk"
	case strings.HasPrefix(set, "QueueItems"):
		return "queue item"
	case strings.HasPrefix(set, "QueueDefinitions"):
		return "queue definition"
	case strings.HasPrefix(set, "Jobs"):
		return "job"
	case strings.HasPrefix(set, "Releases"):
		return "release"
	case strings.HasPrefix(set, "Folders"):
		return "folder"
	case strings.HasPrefix(set, "Robots"):
		return "robot"
	case strings.HasPrefix(set, "Sessions"):
		return "machine"
	default:
		return "folders of the user"
	}
}

func tourShapes(t *testing.T) shapes {
	t.Helper()
	all := make(shapes)
	for _, x := range tour(t) {
		var body any
		if json.Unmarshal(x.body, &body) != nil {
			continue // HTML, plain text or nothing
		}
		kind := kindOf(x)
		if list, ok := body.([]any); ok {
			for _, row := range list {
				all.add(kind, row)
			}
			continue
		}
		object, _ := body.(map[string]any) // every other JSON body is one
		rows, isPage := object["value"].([]any)
		if !isPage {
			all.add(kind, object)
			continue
		}
		all.add("page", object)
		for _, row := range rows {
			all.add(kind, row)
		}
	}
	return all
}

// TestShapes holds the members and types of all bodies against those on file.
func TestShapes(t *testing.T) {
	t.Parallel()
	got := tourShapes(t)
	const name = "testdata/shapes.json"
	if *update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want shapes
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shapes (-want +got), write them anew with -update if this is meant:\n%s", diff)
	}
}

// recording is one recorded exchange.
type recording struct {
	Response struct {
		Status *int `json:"status"`
		Body   any  `json:"body"`
	} `json:"response"`
}

// entity is the recorded body, or the first row of it: within a page, a list, or the envelope of a command line tool.
func (r recording) entity() map[string]any {
	body := r.Response.Body
	for {
		switch v := body.(type) {
		case []any:
			body = v[0]
			continue
		case map[string]any:
			if data, ok := v["Data"]; ok {
				body = data
				continue
			}
			if rows, ok := v["value"]; ok {
				body = rows
				continue
			}
			return v
		default:
			return nil
		}
	}
}

// TestRecordings holds the bodies against recorded ones: each recorded member is there, with the recorded type or null.
func TestRecordings(t *testing.T) {
	t.Parallel()
	directory := os.Getenv("ORCHESTRATOR_EXAMPLES")
	if directory == "" {
		t.Skip("ORCHESTRATOR_EXAMPLES does not name a directory of recorded bodies, which are not part of this project")
	}
	ours := tourShapes(t)
	for pattern, kind := range map[string]string{
		"addqueueitem-*": "queue item", "queueitem-*": "queue item", "queueitems-list-*": "queue item",
		"job-*": "job", "startjobs-onprem-*": "job", "releases-*": "release", "release-*": "release",
		"folders-list-modern-*": "folder", "folder-*": "folder", "queuedefinition-*": "queue definition",
		"error-10*": "error", "error-11*": "error", "error-startjobs-*": "error", "error-403-*": "envelope",
		"token-client-*": "token", "token-invalid-*": "token error",
		"onprem-authenticate-*": "login", "legacy-service-instances-*": "service instance",
	} {
		names, err := filepath.Glob(filepath.Join(directory, pattern+".json"))
		if err != nil || len(names) == 0 {
			t.Errorf("%s: found %d recordings, %v", pattern, len(names), err)
		}
		for _, name := range names {
			compareRecording(t, name, ours[kind])
		}
	}
}

func compareRecording(t *testing.T, name string, ours map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var recorded recording
	if err := json.Unmarshal(text, &recorded); err != nil {
		t.Fatal(err)
	}
	known := make(map[string][]string)
	for member, types := range ours {
		known[strings.ToLower(member)] = types // the command line tool writes some bodies in camel case
	}
	for _, member := range slices.Sorted(maps.Keys(recorded.entity())) {
		value := recorded.entity()[member]
		if member == "PendingReasons" {
			continue // joined by the command line tool
		}
		types := known[strings.ToLower(member)]
		if len(types) == 0 {
			t.Errorf("%s: %s is not among our members", filepath.Base(name), member)
			continue
		}
		if value != nil && !slices.Contains(types, jsonType(value)) && !slices.Equal(types, []string{"null"}) {
			t.Errorf("%s: %s: got %v, recorded %s", filepath.Base(name), member, types, jsonType(value))
		}
	}
}

// TestRecordedErrors holds status, code and text of errors against recorded ones.
func TestRecordedErrors(t *testing.T) {
	t.Parallel()
	directory := os.Getenv("ORCHESTRATOR_EXAMPLES")
	if directory == "" {
		t.Skip("ORCHESTRATOR_EXAMPLES does not name a directory of recorded bodies, which are not part of this project")
	}
	for name, ours := range map[string]*refusal{
		"error-1002-queue-missing":                         notFound("NoSuchQueue does not exist."),
		"error-1002-queueitem-missing":                     errItemMissing,
		"error-1016-duplicate-reference":                   errDuplicate,
		"error-1101-folder-required-new-text":              errFolderRequired,
		"error-403-not-authorized":                         errForbidden,
		"error-startjobs-404-process-missing":              errProcessMissing,
		"error-startjobs-1230-foreground-needs-unattended": refusalOf(NeedsUnattended),
		"error-startjobs-1671-no-unattended-permission":    refusalOf(NoUnattendedRobot),
		"error-startjobs-2818-no-machine-runtime":          refusalOf(NoMachine),
	} {
		text, err := os.ReadFile(filepath.Join(directory, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var recorded recording
		if err := json.Unmarshal(text, &recorded); err != nil {
			t.Fatal(err)
		}
		want := recorded.entity()
		code, _ := want["errorCode"].(float64) // not every recording has one
		if want["message"] != ours.message || *recorded.Response.Status != ours.status || (code != 0 && int(code) != ours.code) {
			t.Errorf("%s: got %d %d %q, recorded %d %v", name, ours.status, ours.code, ours.message, *recorded.Response.Status, want)
		}
	}
}

func refusalOf(e StartError) *refusal {
	return &refusal{status: e.Status, code: e.Code, message: e.Message}
}
