package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamRole is what a stream is there for.
type StreamRole string

// The streams of an installation; the buckets are those of that name.
const (
	StreamRequests    StreamRole = "requests"
	StreamLedger      StreamRole = "ledger"
	StreamDeadLetters StreamRole = "dead letters"
	StreamControl     StreamRole = "control bucket"
	StreamTokens      StreamRole = "tokens bucket"
)

// StreamState is what was found where a stream of the installation should be.
type StreamState struct {
	Role StreamRole
	Name string // as the server knows it: a bucket is the stream KV_<bucket>
	// Info is nil where the stream is missing, or Err says why it is not known.
	Info *jetstream.StreamInfo
	Err  error
	// Differences are the settings with which no worker starts.
	Differences []*DifferenceError
}

// Missing tells a stream that is not there from one that cannot be asked after.
func (s StreamState) Missing() bool { return errors.Is(s.Err, jetstream.ErrStreamNotFound) }

// MissingError is a stream that is not there, and that nobody was told to make.
type MissingError struct {
	Stream string
}

// Error says who makes it.
func (e *MissingError) Error() string {
	return "stream " + e.Stream + " is missing: run `worker run` once without --provision=false, as a user that may make it (`worker permissions worker --provision`)"
}

// Is makes errors.Is find what JetStream says of it.
func (*MissingError) Is(target error) bool { return target == jetstream.ErrStreamNotFound }

// fault is why no worker can start with what was found; nil if one can.
func (s StreamState) fault() error {
	switch {
	case s.Missing():
		return &MissingError{Stream: s.Name}
	case s.Err != nil && s.Role == StreamControl:
		return fmt.Errorf("open bucket %s: %w", strings.TrimPrefix(s.Name, kvStream("")), s.Err)
	case s.Err != nil:
		return fmt.Errorf("open stream %s: %w", s.Name, s.Err)
	}
	return contradictions(s.Differences)
}

// InspectTokens looks at the bucket that those have who share logins, and changes
// nothing.
func InspectTokens(ctx context.Context, js jetstream.JetStream, t Topology) StreamState {
	s := StreamState{Role: StreamTokens, Name: kvStream(t.TokensBucket())}
	s.Info, s.Err = streamInfo(ctx, js, s.Name)
	if s.Info != nil {
		s.Differences = differences(s.Role, s.Info.Config, bucketConfig(t.TokensBucket()))
	}
	return s
}

// Inspect looks at each stream of an installation but the tokens', for which see
// InspectTokens, and changes nothing. They are asked after at once: one without a
// leader gives no answer as long as ctx lasts.
func Inspect(ctx context.Context, js jetstream.JetStream, t Topology) []StreamState {
	t = t.withDefaults()
	states := []StreamState{
		{Role: StreamRequests, Name: t.RequestsStream()},
		{Role: StreamLedger, Name: t.LedgerStream()},
		{Role: StreamDeadLetters, Name: t.DeadLettersStream()},
		{Role: StreamControl, Name: kvStream(t.ControlBucket())},
	}
	wanted := map[StreamRole]jetstream.StreamConfig{
		StreamRequests: t.requestsConfig(), StreamLedger: t.ledgerConfig(), StreamDeadLetters: t.deadLettersConfig(),
		StreamControl: bucketConfig(t.ControlBucket()),
	}
	var looks sync.WaitGroup
	for i := range states {
		s := &states[i]
		looks.Go(func() {
			s.Info, s.Err = streamInfo(ctx, js, s.Name)
			if s.Info != nil {
				s.Differences = differences(s.Role, s.Info.Config, wanted[s.Role])
			}
		})
	}
	looks.Wait()
	return states
}

func streamInfo(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamInfo, error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return nil, err //nolint:wrapcheck // the state says which stream it was
	}
	return stream.CachedInfo(), nil
}

// CheckLedger finds where lanes have been served and the ledger is gone, as
// Provision does: its error is ErrLedgerLost then.
func CheckLedger(ctx context.Context, js jetstream.JetStream, t Topology) error {
	return checkLedgerLost(ctx, js, t.withDefaults())
}
