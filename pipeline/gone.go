package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// presentEvery is how often a worker looks whether its streams are there.
	presentEvery = 3 * time.Second
	// goneAfter is for how long a stream must be said not to be there, again and
	// again, before the worker ends: a server that has just begun to lead may not
	// have read all it knows, and a stream may be restored.
	goneAfter = 30 * time.Second
)

// GoneError is a stream that was there when the worker started, and is not any
// more: Run ends with it. That a stream has no leader, or a server gives no
// answer, is waited for.
type GoneError struct {
	Role   StreamRole
	Stream string
}

// Error says what is to be done before a worker is started again.
func (e *GoneError) Error() string { return "stream " + e.Stream + " is gone; " + e.Mend() }

// Is makes errors.Is find what JetStream says of it.
func (*GoneError) Is(target error) bool { return target == jetstream.ErrStreamNotFound }

// Mend says what is to be done before a worker is started, and what goes with the
// stream otherwise.
func (e *GoneError) Mend() string {
	const restore = "restore it from a backup with `nats stream restore`"
	switch e.Role {
	case StreamLedger:
		return restore + " before a worker is started: without what it holds, requests that were carried out before may be carried out again"
	case StreamRequests:
		return restore + ", or have it made anew by the next start of `worker run`, and publish again what waited in it, which keys make harmless"
	case StreamControl:
		return restore + ", or have it made anew by the next start of `worker run`, with which all that each lane is bound to is forgotten: lanes are bound anew to where their folders' paths lead then"
	case StreamDeadLetters, StreamTokens:
	}
	return restore + ", or have it made anew, and empty, by the next start of `worker run`"
}

// gone joins an error for each stream that surely is not there. known is whether
// it is known of all the others that they are.
func gone(states []StreamState) (known bool, err error) {
	var missing []error
	known = true
	for _, s := range states {
		if s.Missing() {
			missing = append(missing, &GoneError{Role: s.Role, Stream: s.Name})
		} else if s.Err != nil {
			known = false
		}
	}
	return known, errors.Join(missing...)
}

// watchStreams looks whether the streams are there, until ctx ends. While one is
// not, the worker is not ready; where it stays away, end is called.
func (w *Worker) watchStreams(ctx context.Context, end func(error)) {
	var since time.Time // of the first look in a row that did not find a stream
	told := false
	for sleep(ctx, presentEvery) == nil {
		known, err := gone(Inspect(ctx, w.js, w.cfg.Topology))
		switch {
		case err == nil && !known:
			since = time.Time{}
		case err == nil:
			if told {
				w.log.Info("all streams are there again")
			}
			w.stats.gone.Store(false)
			since, told = time.Time{}, false
		case since.IsZero():
			w.stats.gone.Store(true)
			since = time.Now()
		case time.Since(since) >= goneAfter:
			end(err)
			return
		case !told:
			told = true
			w.log.Error("nothing is carried out", "error", oneLine(err.Error()), "ends_in", (goneAfter - time.Since(since)).Round(time.Second))
		}
	}
}

// troubleLevel is for what fails again and again while a stream is gone, which is
// said once.
func (w *Worker) troubleLevel() slog.Level {
	if w.stats.gone.Load() {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
