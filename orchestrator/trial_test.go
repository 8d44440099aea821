package orchestrator

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// trials are those of the rights to change something.
func trials(c *Client) map[string]func(context.Context, Folder) error {
	return map[string]func(context.Context, Folder) error{
		"AddQueueItem": c.TryAddQueueItem, "BulkAddQueueItems": c.TryBulkAddQueueItems, "StartJobs": c.TryStartJobs,
	}
}

func TestTrialAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		kind   Kind  // 0: the right is there, or want
		want   error // in it
	}{
		{name: "not there", status: http.StatusNotFound, body: `{"message":"x does not exist.","errorCode":1002}`},
		{name: "not there, without code", status: http.StatusNotFound, body: `{"message":"The job's associated process could not be found"}`},
		{name: "not there, by code", status: http.StatusBadRequest, body: `{"message":"x does not exist.","errorCode":1002}`},
		{name: "no right", status: http.StatusForbidden, body: `{"message":"You are not authorized!"}`, kind: Denied},
		{name: "not the folder", status: http.StatusBadRequest, body: `{"message":"Folder does not exist","errorCode":1100}`, kind: Rejected},
		{name: "no right to the folder", status: http.StatusForbidden, body: `{"message":"Folder does not exist","errorCode":1100}`, kind: Rejected},
		{name: "something else", status: http.StatusBadRequest, body: `{"message":"no","errorCode":1009}`, kind: Rejected, want: ErrNotTold},
		{name: "too much", status: http.StatusTooManyRequests, body: `{"message":"later"}`, kind: Transient},
		{name: "broken", status: http.StatusInternalServerError, body: `{"message":"An error has occurred."}`, kind: Uncertain},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := newTestClient(t, answers(test.status, test.body))
			for name, try := range trials(client) {
				err := try(t.Context(), testFolder)
				if test.kind == 0 {
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
					continue
				}
				wantKind(t, err, test.kind)
				if told := !errors.Is(err, ErrNotTold); told != (test.want == nil) {
					t.Errorf("%s: got %v", name, err)
				}
			}
		})
	}
}

func TestTrialTaken(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "StartJobs"):
			reply(w, http.StatusCreated, `{"value":[{"Id":1}]}`)
		case strings.HasSuffix(r.URL.Path, "BulkAddQueueItems"):
			reply(w, http.StatusOK, `{"Success":true,"FailedItems":[]}`)
		default:
			reply(w, http.StatusCreated, `{"Id":1}`)
		}
	})
	for name, try := range trials(client) {
		if err := try(t.Context(), testFolder); !errors.Is(err, ErrTrialTaken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A bulk call may be answered 200 where every item has failed.
func TestTrialOfBulkFailed(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, answers(http.StatusOK, `{"Success":false,"FailedItems":[{"Ordinal":1,"ErrorCode":"ItemNotFound"}]}`))
	if err := client.TryBulkAddQueueItems(t.Context(), testFolder); err != nil {
		t.Error(err)
	}
}

// What is asked for is another thing each time, and can be nobody's.
func TestTrialAsksForWhatCannotBe(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		body := bodyOf(t, r)
		var name any
		switch {
		case strings.HasSuffix(r.URL.Path, "StartJobs"):
			info, _ := body["startInfo"].(map[string]any)
			name = info["ReleaseKey"]
			if info["ReleaseName"] != nil {
				t.Error("a release is named too")
			}
		case strings.HasSuffix(r.URL.Path, "BulkAddQueueItems"):
			name = body["queueName"]
			if body["commitType"] != string(AllOrNothing) {
				t.Errorf("got commitType %v", body["commitType"])
			}
		default:
			item, _ := body["itemData"].(map[string]any)
			name = item["Name"]
		}
		text, _ := name.(string)
		if !isGUID(text) || seen[text] {
			t.Errorf("%q is no GUID, or was asked for before", text)
		}
		seen[text] = true
		reply(w, http.StatusNotFound, `{"errorCode":1002}`)
	})
	for range 3 {
		for name, try := range trials(client) {
			if err := try(t.Context(), testFolder); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
