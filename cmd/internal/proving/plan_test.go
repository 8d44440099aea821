package proving

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"waybill/pipeline"
)

func planOf(t *testing.T, seed uint64) plan {
	t.Helper()
	p, err := newPlan(rand.New(rand.NewPCG(seed, 1)), time.Minute, 3000)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is planned as invalid is, what is planned as a conflict is one, and the
// same seed plans the same.
func TestPlan(t *testing.T) {
	t.Parallel()
	p := planOf(t, 1)
	if !reflect.DeepEqual(p, planOf(t, 1)) {
		t.Error("the same seed plans something else")
	}
	if p.invalid == 0 || p.conflicts == 0 || p.doubled == 0 || len(p.keys) >= 3000 {
		t.Errorf("%d invalid, %d conflicting, %d doubled, %d keys known before: something is missing", p.invalid, p.conflicts, p.doubled, len(p.keys))
	}
	payloads := make(map[string]map[string]bool)
	for _, m := range p.messages {
		request, err := pipeline.DecodeRequest(m.body)
		if err == nil {
			err = request.Validate(m.lane)
		}
		if m.invalid() != (err != nil) || request.Key != m.key {
			t.Errorf("%s: planned invalid %v under the key %q, it is %v under %q", m.body, m.invalid(), m.key, err, request.Key)
		}
		if payloads[m.name] == nil {
			payloads[m.name] = make(map[string]bool)
		}
		payloads[m.name][m.payload] = true
	}
	conflicts := 0
	for _, of := range payloads {
		conflicts += len(of) - 1
	}
	if conflicts != p.conflicts {
		t.Errorf("%d keys with another payload, want %d", conflicts, p.conflicts)
	}
}
