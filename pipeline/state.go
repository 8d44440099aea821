package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// keyState is what the ledger has for a key.
type keyState struct {
	claim   *claim
	outcome *Outcome // final
}

// read gives the state of keys by direct gets, which a replica may answer from
// a moment ago: what it has was there, but what it lacks may be there.
func (l *ledger) read(ctx context.Context, lane Lane, keys []string) (map[string]keyState, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	states := make(map[string]keyState, len(keys))
	for chunk := range slices.Chunk(keys, keysPerRead) {
		if err := l.readKeys(ctx, lane, chunk, states); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func (l *ledger) readKeys(ctx context.Context, lane Lane, keys []string, states map[string]keyState) error {
	claims := make(map[string]string, len(keys))
	outcomes := make(map[string]string, len(keys))
	subjects := make([]string, 0, 2*len(keys))
	for _, key := range keys {
		c, o := l.topology.claimSubject(lane, key), l.topology.OutcomeSubject(lane, key, StageFinal)
		claims[c], outcomes[o] = key, key
		subjects = append(subjects, c, o)
	}
	var faults []error
	err := l.readSubjects(ctx, subjects, func(m *jetstream.RawStreamMsg) {
		if key, ok := claims[m.Subject]; ok {
			c, err := decodeClaim(m.Data, m.Sequence, m.Time)
			s := states[key]
			s.claim = c
			states[key], faults = s, append(faults, err)
			return
		}
		o, err := DecodeOutcome(m.Data)
		key := outcomes[m.Subject]
		s := states[key]
		s.outcome = &o
		states[key], faults = s, append(faults, err)
	})
	return errors.Join(append(faults, err)...)
}

// readSubjects is one batched direct get. The context's deadline must be set:
// an answer that it cuts short is an error.
func (l *ledger) readSubjects(ctx context.Context, subjects []string, each func(*jetstream.RawStreamMsg)) error {
	messages, err := jetstreamext.GetLastMsgsFor(ctx, l.js, l.topology.LedgerStream(), subjects)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		each(m)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("read the ledger: %w", context.Cause(ctx))
	}
	return nil
}

// lastFromLeader gives the last message on a subject as the stream's leader
// has it. The subject may have wildcards, which a direct get cannot take.
func (l *ledger) lastFromLeader(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	reply, err := l.js.Conn().RequestWithContext(ctx, apiSubject(l.js, "STREAM.MSG.GET."+l.topology.LedgerStream()), request)
	if err != nil {
		return nil, fmt.Errorf("ask the ledger's leader: %w", err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, fmt.Errorf("ask the ledger's leader: %w", err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, fmt.Errorf("ask the ledger's leader: %w", answer.Error)
	case answer.Message == nil:
		return nil, errors.New("ask the ledger's leader: its answer has no message")
	}
	m := answer.Message
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Data: m.Data, Time: m.Time}, nil
}

// apiSubject is the subject by which js asks JetStream a question that its own
// methods do not put.
func apiSubject(js jetstream.JetStream, question string) string {
	opts := js.Options()
	if opts.Domain != "" {
		return "$JS." + opts.Domain + ".API." + question
	}
	return strings.TrimSuffix(cmp.Or(opts.APIPrefix, jetstream.DefaultAPIPrefix), ".") + "." + question
}
