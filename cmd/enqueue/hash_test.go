package main

import (
	"encoding/json"
	"testing"

	"waybill/pipeline"
)

// The hash must be the one that claims and outcomes carry.
func TestPayloadHash(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	publisher := pipeline.NewPublisher(i.js, i.topology)
	job := pipeline.Lane{Tenant: "Default", Folder: "-", Kind: pipeline.KindJob, Name: "Import"}
	for _, tt := range []struct {
		lane pipeline.Lane
		item string
	}{
		{typed, `{}`},
		{typed, `{"SpecificContent":{"B":1.50,"A":"<ä>","C":null,"D":1e3},"Priority":"High"}`},
		{typed, `{"Reference":"key","SpecificContent":{"A":"x"}}`},
		{typed, `{"Reference":"other","DueDate":null}`},
		{job, `{"InputArguments":{"in_Count":12345678901234567890}}`},
	} {
		r := pipeline.Request{Key: "key", Item: json.RawMessage(tt.item)}
		if tt.lane.Kind == pipeline.KindJob {
			r.Item, r.Job = nil, r.Item
		}
		receipt, err := publisher.Publish(t.Context(), tt.lane, r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := payloadHash(r); err != nil || got != receipt.PayloadHash {
			t.Errorf("hash of %s is %q, error %v; want %q", tt.item, got, err, receipt.PayloadHash)
		}
	}
}
