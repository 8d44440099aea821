package main

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// request is what the bare loop and the peer read of one: what sending it takes.
type request struct {
	key []byte
	// content is what stands between the braces of the item, or of the job's
	// input arguments.
	content []byte
}

// decodeRequest reads a request as JSON.
func decodeRequest(kind string, data []byte) (request, error) {
	var r struct {
		Key  string         `json:"key"`
		Item jsontext.Value `json:"item"`
		Job  struct {
			InputArguments jsontext.Value `json:"InputArguments"`
		} `json:"job"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return request{}, fmt.Errorf("read a request: %w", err)
	}
	content := r.Item
	if kind == kindJobs {
		content = r.Job.InputArguments
	}
	if len(content) < len("{}") {
		return request{}, fmt.Errorf("read a request: %s has nothing to send", r.Key)
	}
	return request{key: []byte(r.Key), content: content[1 : len(content)-1]}, nil
}

var (
	keyMember  = []byte(`"key":"`)
	itemMember = []byte(`"item":{`)
	argsMember = []byte(`"InputArguments":{`)
)

// scanRequest finds what a request of this benchmark has, by its bytes.
func scanRequest(kind string, data []byte) request {
	member, braces := itemMember, 2
	if kind == kindJobs {
		member, braces = argsMember, 3
	}
	return request{key: keyIn(data), content: data[bytes.Index(data, member)+len(member) : len(data)-braces]}
}

// keyIn finds the key in a request, or in an outcome.
func keyIn(data []byte) []byte {
	rest := data[bytes.Index(data, keyMember)+len(keyMember):]
	return rest[:bytes.IndexByte(rest, '"')]
}

// appendItem appends the members of an item, with the key as its Reference.
func appendItem(dst []byte, r request) []byte {
	dst = append(append(dst, `"Reference":"`...), r.key...)
	return append(append(dst, `",`...), r.content...)
}

// encodeStart makes the body of a StartJobs call.
func encodeStart(dst []byte, lane int, r request) []byte {
	dst = append(dst, `{"startInfo":{"ReleaseKey":"8b6e3ac8-4f6c-4c0e-9d3b-0f2a5b1c7d01","Strategy":"ModernJobsCount","JobsCount":1,"Source":"`...)
	dst = append(append(dst, laneName(kindJobs, lane)...), `","Reference":"`...)
	dst = append(append(dst, r.key...), `","BatchExecutionKey":"`...)
	dst = append(append(dst, uuid.NewSHA1(uuid.NameSpaceOID, r.key).String()...), `","InputArguments":"{`...)
	// The API wants the arguments as text: ours have nothing to escape but quotes.
	for _, c := range r.content {
		if c == '"' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, `}"}}`...)
}
