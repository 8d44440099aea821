package main

import (
	"encoding/json"
	"testing"

	"waybill/pipeline"
)

// TestRequestsAreValid holds what is published against waybill's own rules,
// and against the size it should have.
func TestRequestsAreValid(t *testing.T) {
	t.Parallel()
	for kind, lane := range map[string]pipeline.Lane{
		kindItems: {Tenant: tenantName, Folder: folderName, Kind: pipeline.KindItem, Name: laneName(kindItems, 0)},
		kindJobs:  {Tenant: tenantName, Folder: folderName, Kind: pipeline.KindJob, Name: laneName(kindJobs, 0)},
	} {
		for _, size := range []int{300, 500, 1024, 4096, 8192} {
			body := appendRequest(nil, kind, 42, size)
			if len(body) < size-30 || len(body) > size+30 {
				t.Errorf("a request of %s of %d bytes has %d", kind, size, len(body))
			}
			request, err := pipeline.DecodeRequest(body)
			if err != nil {
				t.Fatal(err)
			}
			if err := request.Validate(lane); err != nil {
				t.Errorf("%s of %d bytes: %v", kind, size, err)
			}
			if request.Key != keyOf(42) || string(keyIn(body)) != keyOf(42) {
				t.Errorf("key %q and %q, want %q", request.Key, keyIn(body), keyOf(42))
			}
		}
	}
}

// TestBodiesAreJSON holds what the bare loop and the peer send against what
// the request says.
func TestBodiesAreJSON(t *testing.T) {
	t.Parallel()
	read := func(kind string) request {
		r, err := decodeRequest(kind, appendRequest(nil, kind, 7, defaultBody))
		if err != nil {
			t.Fatal(err)
		}
		if scanned := scanRequest(kind, appendRequest(nil, kind, 7, defaultBody)); string(scanned.key) != string(r.key) || string(scanned.content) != string(r.content) {
			t.Errorf("decoded as %s %s, scanned as %s %s", r.key, r.content, scanned.key, scanned.content)
		}
		return r
	}
	item := append(appendItem([]byte("{"), read(kindItems)), '}')
	var sent struct {
		Reference       string
		Priority        string
		SpecificContent map[string]any
	}
	if err := json.Unmarshal(item, &sent); err != nil {
		t.Fatal(err)
	}
	if sent.Reference != keyOf(7) || sent.Priority != "Normal" || sent.SpecificContent["Currency"] != "EUR" {
		t.Errorf("item %+v", sent)
	}
	p := peer{sideFlags: sideFlags{kind: kindItems}}
	if body := p.encode(0, read(kindItems)); !json.Valid(body) {
		t.Errorf("the peer sends %s", body)
	}
	var start struct {
		StartInfo struct{ Reference, BatchExecutionKey, InputArguments string }
	}
	if err := json.Unmarshal(encodeStart(nil, 0, read(kindJobs)), &start); err != nil {
		t.Fatal(err)
	}
	if start.StartInfo.Reference != keyOf(7) || start.StartInfo.BatchExecutionKey == "" || !json.Valid([]byte(start.StartInfo.InputArguments)) {
		t.Errorf("start of a job %+v", start)
	}
}
