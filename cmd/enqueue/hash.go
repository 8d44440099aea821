package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"waybill/pipeline"
)

// payloadHash gives the hash under which the ledger knows what a valid request
// asks for, before it is published: see pipeline.Receipt, which carries it
// afterwards.
func payloadHash(r pipeline.Request) (string, error) {
	payload := r.Item
	if r.Kind() == pipeline.KindJob {
		payload = r.Job
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		return "", fmt.Errorf("hash request: %w", err)
	}
	for name, value := range members {
		if value == nil || name == "Reference" && value == r.Key {
			delete(members, name)
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("hash request: %w", err)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
