package history

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"waybill/pipeline"
)

// Verdict is the judgement on one key, to be read by people, with what it rests
// on.
type Verdict struct {
	Lane        string  `json:"lane"`
	Key         string  `json:"key"`
	Copies      int     `json:"copies"` // messages published under the key
	Effects     []int64 `json:"effects"`
	Outcomes    []Final `json:"outcomes"` // the final ones that differ
	DeadLetters int     `json:"deadLetters"`
	Held        bool    `json:"held"`
	Verdict     string  `json:"verdict"` // in one sentence
}

// Final is what a final outcome has decided.
type Final struct {
	Generation int                `json:"generation"`
	Status     pipeline.Status    `json:"status"`
	DecidedBy  pipeline.DecidedBy `json:"decidedBy"`
	ID         int64              `json:"id,omitempty"` // of the item or job, where it is given
}

// WriteVerdicts writes one line of JSON for each key.
func (r Report) WriteVerdicts(w io.Writer) error {
	encoder := json.NewEncoder(w)
	for _, v := range r.Verdicts {
		if err := encoder.Encode(v); err != nil {
			return fmt.Errorf("write the verdict on %s: %w", v.Key, err)
		}
	}
	return nil
}

func (s *story) verdict() Verdict {
	v := Verdict{
		Lane: s.key.Lane.String(), Key: s.key.Key, Copies: len(s.requests), Effects: append([]int64{}, s.effects...),
		Outcomes: make([]Final, len(s.finals)), DeadLetters: len(s.dead), Held: len(s.breaches) == 0, Verdict: s.sentence(),
	}
	for i, o := range s.finals {
		v.Outcomes[i] = Final{Generation: o.Generation, Status: o.Status, DecidedBy: o.DecidedBy, ID: idOf(o)}
	}
	return v
}

func (s *story) sentence() string {
	if len(s.breaches) > 0 {
		return "BROKEN: " + strings.Join(s.breaches, "; ")
	}
	last, _ := s.last() // without one it would be broken
	if last.Status == pipeline.StatusUnknown {
		return fmt.Sprintf("unknown: %s (%s)", why(last), s.effectsInWords())
	}
	return fmt.Sprintf("held: %s by %s, %s", last.Status, last.DecidedBy, s.effectsInWords())
}

func why(o pipeline.Outcome) string {
	if o.Error == nil {
		return "the outcome does not say why"
	}
	return o.Error.Message
}

// effectsInWords is for a key whose effects are none or one.
func (s *story) effectsInWords() string {
	if len(s.effects) == 0 {
		return "no effect"
	}
	return fmt.Sprintf("1 effect (%s %d)", s.key.Lane.Kind, s.effects[0])
}

// brief is an outcome in a few words.
func brief(o pipeline.Outcome) string {
	text := string(o.Status) + " (decided by " + string(o.DecidedBy)
	if id := idOf(o); id != 0 {
		text += ", " + string(o.Kind) + " " + strconv.FormatInt(id, 10)
	}
	return text + ")"
}
