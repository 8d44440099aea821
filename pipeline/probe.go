package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	// probeWrites is how many messages the probe writes in either way to see
	// which is faster: enough to tell one fsync a batch from one a message.
	probeWrites = 64
	// smallestBatch is what a batch costs in any case, in fsyncs.
	smallestBatch = 32
	// probeRounds is how often it does; the best of each way counts, so that one
	// hiccup of the server does not decide.
	probeRounds = 2
	probeTTL    = "60s"
)

// errNotRefused is what the probe finds where a condition is not enforced.
var errNotRefused = errors.New("it was not")

// probe proves on the real stream that the server does what the ledger needs
// (insert, conflict, change from a revision, conditions on another subject in
// a batch, direct gets of many subjects), and sees whether batches are the
// faster way to write. What it writes goes by itself.
func (l *ledger) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerWait)
	defer cancel()
	err := l.probeConditions(ctx)
	if isFull(err) {
		return fmt.Errorf("probe of stream %s: %w: %w", l.topology.LedgerStream(), ErrLedgerFull, err)
	}
	if err != nil {
		return fmt.Errorf("probe of stream %s: %w; NATS 2.12 or newer is needed, and the stream as waybill makes it", l.topology.LedgerStream(), err)
	}
	var best [2]time.Duration // singly, together
	for round := range probeRounds {
		for way := range best {
			took, err := l.timeWrites(ctx, way == 1)
			if err != nil {
				return err
			}
			if round == 0 || took < best[way] {
				best[way] = took
			}
		}
	}
	if best[1] < best[0] {
		l.batchFrom = smallestBatch
	}
	return nil
}

// ErrLedgerFull is returned by Run where the ledger takes no writes when the
// worker starts. It may once there is room again.
var ErrLedgerFull = errors.New("the stream takes no more; raise its limits, or make room where JetStream keeps its files")

// isFull tells the server's refusals for lack of room.
func isFull(err error) bool {
	const accountResources, insufficientResources, memoryResources, storageResources, storeFailed = 10002, 10023, 10028, 10047, 10077
	return slices.ContainsFunc([]jetstream.ErrorCode{accountResources, insufficientResources, memoryResources, storageResources, storeFailed},
		func(code jetstream.ErrorCode) bool { return isCode(err, code) })
}

func (l *ledger) probeConditions(ctx context.Context) error {
	claim, outcome := l.probeSubject(), l.probeSubject() // both among the claims, where no subscriber takes them for news
	put := func(subject, guard string, expect uint64) *write {
		return &write{subject: subject, guard: guard, expect: expect, data: []byte("{}"), ttl: probeTTL}
	}
	first := put(claim, "", 0)
	l.commitSingly(ctx, PointProbing, []*write{first})
	if first.err != nil {
		return fmt.Errorf("insert: %w", first.err)
	}
	second := put(claim, "", 0)
	if l.commitSingly(ctx, PointProbing, []*write{second}); !errors.Is(second.err, errConflict) {
		return fmt.Errorf("insert where there is one already must be refused: %w", errors.Join(errNotRefused, second.err))
	}
	guarded, change := put(outcome, claim, first.revision), put(claim, "", first.revision)
	if err := l.commitTogether(ctx, PointProbing, []*write{guarded, change}); err != nil {
		return fmt.Errorf("change a subject, and write another on condition of it, in one batch: %w", err)
	}
	if err := l.commitTogether(ctx, PointProbing, []*write{put(outcome, claim, first.revision), put(l.probeSubject(), "", 0)}); !errors.Is(err, errConflict) {
		return fmt.Errorf("write from a revision that has passed must be refused: %w", errors.Join(errNotRefused, err))
	}
	found := make(map[string]uint64)
	err := l.readSubjects(ctx, []string{claim, outcome}, func(m *jetstream.RawStreamMsg) { found[m.Subject] = m.Sequence })
	if err != nil {
		return err
	}
	if len(found) > 0 && found[claim] != change.revision {
		return fmt.Errorf("read back: want revision %d, got %d", change.revision, found[claim])
	}
	m, err := l.lastFromLeader(ctx, claim)
	if err != nil {
		return err
	}
	if m.Sequence != change.revision {
		return fmt.Errorf("read back from the leader: want revision %d, got %d", change.revision, m.Sequence)
	}
	return nil
}

func (l *ledger) timeWrites(ctx context.Context, together bool) (time.Duration, error) {
	writes := make([]*write, probeWrites)
	for i := range writes {
		writes[i] = &write{subject: l.probeSubject(), data: []byte("{}"), ttl: probeTTL}
	}
	begin := time.Now()
	if together {
		if err := l.commitTogether(ctx, PointProbing, writes); err != nil {
			return 0, fmt.Errorf("probe of the ledger: %w", err)
		}
		return time.Since(begin), nil
	}
	l.commitSingly(ctx, PointProbing, writes)
	for _, w := range writes {
		if w.err != nil {
			return 0, fmt.Errorf("probe of the ledger: %w", w.err)
		}
	}
	return time.Since(begin), nil
}

func (l *ledger) probeSubject() string {
	return l.topology.subject("claims", "-", "-", "probe", "-", nuid.Next())
}
