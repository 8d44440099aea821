package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Topology names the streams and subjects of one installation and holds the
// settings they are made with. The zero value is the default installation.
type Topology struct {
	// Prefix is the first token of every subject and, in capitals, of every
	// stream's name; "uipath" if empty.
	Prefix string
	// Replicas is how many servers hold each stream: 1 (the default), 3 or 5.
	Replicas int
	// Retention is how long claims and outcomes are kept, and so how long a
	// repeated key is recognised; 30 days if zero, at least 2.
	Retention time.Duration
}

// The settings that are the protocol's, not the installation's.
const (
	defaultPrefix    = "uipath"
	defaultRetention = 30 * 24 * time.Hour
	minRetention     = 2 * 24 * time.Hour
	// duplicateWindow is the smallest a server takes. Nats-Msg-Id is compared
	// over the whole stream, whatever the subject, so it must not be what
	// keeps two requests apart; the ledger does that.
	duplicateWindow = 100 * time.Millisecond
	// deadLetterWindow drops the second copy of a dead letter whose first ack
	// was lost.
	deadLetterWindow = 2 * time.Minute
	// maxLanes is how many lanes, each with a consumer, an installation may
	// have at a time; a server's own default is 1,000.
	maxLanes = 100_000
)

func (t Topology) withDefaults() Topology {
	t.Prefix = cmp.Or(t.Prefix, defaultPrefix)
	t.Replicas = cmp.Or(t.Replicas, 1)
	t.Retention = cmp.Or(t.Retention, defaultRetention)
	return t
}

// Validate reports settings that cannot work, naming each.
func (t Topology) Validate() error {
	t = t.withDefaults()
	var faults []error
	if encodeToken(t.Prefix) != t.Prefix || strings.ContainsAny(t.Prefix, `\$`) {
		faults = append(faults, &InvalidError{Field: "prefix", Value: t.Prefix, Mend: "use one subject token of letters, digits, - and _"})
	}
	if t.Replicas != 1 && t.Replicas != 3 && t.Replicas != 5 {
		faults = append(faults, &InvalidError{Field: "replicas", Value: strconv.Itoa(t.Replicas), Mend: "use 1, 3 or 5"})
	}
	if t.Retention < minRetention {
		faults = append(faults, &InvalidError{Field: "retention", Value: t.Retention.String(), Mend: "use 48h or more"})
	}
	return errors.Join(faults...)
}

// RequestsStream names the stream that requests wait in.
func (t Topology) RequestsStream() string { return t.streamName("REQUESTS") }

// LedgerStream names the stream of claims and outcomes.
func (t Topology) LedgerStream() string { return t.streamName("LEDGER") }

// DeadLettersStream names the stream of requests that came to nothing.
func (t Topology) DeadLettersStream() string { return t.streamName("DEADLETTERS") }

// ControlBucket names the bucket that workers agree by.
func (t Topology) ControlBucket() string { return t.streamName("CONTROL") }

// TokensBucket names the bucket that workers share logins in.
func (t Topology) TokensBucket() string { return t.streamName("TOKENS") }

func (t Topology) streamName(role string) string {
	return strings.ToUpper(cmp.Or(t.Prefix, defaultPrefix)) + "_" + role
}

func (t Topology) subject(parts ...string) string {
	return cmp.Or(t.Prefix, defaultPrefix) + "." + strings.Join(parts, ".")
}

// RequestSubject is where a producer publishes requests for a lane.
func (t Topology) RequestSubject(lane Lane) string { return t.subject("requests", lane.scope()) }

// OutcomeSubject is where the outcome of a key in a canonical lane stands.
func (t Topology) OutcomeSubject(lane Lane, key string, stage Stage) string {
	return t.subject("outcomes", lane.scope()) + "." + encodeToken(key) + "." + string(stage)
}

// DeadLetterSubject is where requests of a lane that came to nothing are kept.
func (t Topology) DeadLetterSubject(lane Lane) string { return t.subject("deadletters", lane.scope()) }

func (t Topology) claimSubject(lane Lane, key string) string {
	return t.subject("claims", lane.scope()) + "." + encodeToken(key)
}

// laneOfRequest reads the lane off a request's subject. An error is an
// *InvalidError; the lane then has the subject's own tokens.
func (t Topology) laneOfRequest(subject string) (Lane, error) {
	return parseScope(strings.TrimPrefix(subject, t.subject("requests")+"."))
}

// MisspeltError is a subject whose requests no worker can take, since no tenant's
// name is spelled as its token is. They wait until somebody removes them.
type MisspeltError struct {
	Subject string
	// Right is how the subject must be written; empty where that cannot be told.
	Right string
	Err   error // what is wrong with it
}

// Error says what is wrong, and how the subject must be written. A subject may
// hold what a terminal does not show.
func (e *MisspeltError) Error() string {
	text := fmt.Sprintf("subject %q is misspelt: %v", e.Subject, e.Err)
	if e.Right != "" {
		text += fmt.Sprintf("; write %q", e.Right)
	}
	return text
}

// Unwrap gives what is wrong.
func (e *MisspeltError) Unwrap() error { return e.Err }

// misspelt tells a request's subject that no worker can serve; nil: one can. What
// is wrong behind a tenant's token that can be right, the worker of that tenant
// refuses.
func (t Topology) misspelt(subject string) *MisspeltError {
	_, err := t.laneOfRequest(subject)
	scope := strings.TrimPrefix(subject, t.subject("requests")+".")
	token, _, _ := strings.Cut(scope, ".")
	if err == nil || encodeToken(token) == token && len(token) <= maxNameBytes {
		return nil
	}
	e := &MisspeltError{Subject: subject, Err: err}
	if right := respell(scope); right != "" {
		e.Right = t.subject("requests", right)
	}
	return e
}

// requestsConfig: limits retention, trimmed by the workers themselves. With
// work-queue retention every ack removes its message, which costs an fsync
// each under sync_interval always. Full means refuse the new, never drop the
// old, and nothing is dropped for its age.
func (t Topology) requestsConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:         t.RequestsStream(),
		Description:  "requests for queue items and jobs, by lane",
		Subjects:     []string{t.subject("requests", "*", "*", "items", "*"), t.subject("requests", "*", "*", "jobs", "*")},
		Retention:    jetstream.LimitsPolicy,
		Discard:      jetstream.DiscardNew,
		Storage:      jetstream.FileStorage,
		Replicas:     t.Replicas,
		Duplicates:   duplicateWindow,
		MaxConsumers: maxLanes,
		AllowDirect:  true,
	}
}

// ledgerConfig: one message a subject, changed by compare-and-set on its
// revision; written in atomic batches, read by direct gets, each message with
// a life of its own.
func (t Topology) ledgerConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               t.LedgerStream(),
		Description:        "who carries a request out, and what became of it",
		Subjects:           []string{t.subject("claims", "*", "*", "*", "*", "*"), t.subject("outcomes", "*", "*", "*", "*", "*", "*")},
		Retention:          jetstream.LimitsPolicy,
		Discard:            jetstream.DiscardNew,
		Storage:            jetstream.FileStorage,
		Replicas:           t.Replicas,
		MaxMsgsPerSubject:  1,
		Duplicates:         duplicateWindow,
		AllowDirect:        true,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
	}
}

func (t Topology) deadLettersConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        t.DeadLettersStream(),
		Description: "requests that came to nothing, whole, with the reason",
		Subjects:    []string{t.subject("deadletters", "*", "*", "*", "*")},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		Storage:     jetstream.FileStorage,
		Replicas:    t.Replicas,
		Duplicates:  deadLetterWindow,
		AllowDirect: true,
	}
}

func (t Topology) controlConfig() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:         t.ControlBucket(),
		Description:    "throttles, pauses, folder bindings, leases, watermarks",
		History:        1,
		Storage:        jetstream.FileStorage,
		Replicas:       t.Replicas,
		LimitMarkerTTL: time.Minute,
	}
}

// Provision makes the streams and the bucket that are missing. What is there
// and contradicts the protocol is not touched: the error lists each setting,
// what it is and what it must be. Settings an operator may choose (limits on
// size, placement, replicas, descriptions, mirrors) are left alone.
func Provision(ctx context.Context, js jetstream.JetStream, t Topology) error {
	if err := t.Validate(); err != nil {
		return err
	}
	t = t.withDefaults()
	if err := checkLedgerLost(ctx, js, t); err != nil {
		return err
	}
	var faults []error
	for _, one := range []struct {
		role StreamRole
		want jetstream.StreamConfig
	}{{StreamRequests, t.requestsConfig()}, {StreamLedger, t.ledgerConfig()}, {StreamDeadLetters, t.deadLettersConfig()}} {
		faults = append(faults, provisionStream(ctx, js, one.role, one.want))
	}
	return errors.Join(append(faults, provisionBucket(ctx, js, StreamControl, t.controlConfig()))...)
}

// ErrLedgerLost is returned by Provision where lanes have been served and the
// ledger's stream is not there: made anew and empty, it would have every
// request that is known carried out again.
var ErrLedgerLost = errors.New("lanes have been served, and the stream of what became of their requests is not there")

func checkLedgerLost(ctx context.Context, js jetstream.JetStream, t Topology) error {
	_, err := js.Stream(ctx, t.LedgerStream())
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // it is there, or cannot be asked for: provisioning will tell
	}
	kv, err := js.KeyValue(ctx, t.ControlBucket())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", t.ControlBucket(), err)
	}
	lanes, err := kv.ListKeysFiltered(ctx, controlKey("lanes")+".>")
	if err != nil {
		return fmt.Errorf("list lanes in bucket %s: %w", t.ControlBucket(), err)
	}
	served := 0
	for range lanes.Keys() {
		served++
	}
	if served == 0 {
		return nil
	}
	return fmt.Errorf("stream %s: %w; restore it from a backup, or, if requests that were carried out before may be carried out again, remove bucket %s and start anew",
		t.LedgerStream(), ErrLedgerLost, t.ControlBucket())
}

func provisionStream(ctx context.Context, js jetstream.JetStream, role StreamRole, want jetstream.StreamConfig) error {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err = js.CreateStream(ctx, want); err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		if err == nil {
			return nil
		}
		stream, err = js.Stream(ctx, want.Name) // another worker was faster
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w", want.Name, err)
	}
	return contradictions(differences(role, stream.CachedInfo().Config, want))
}

// bucketConfig is what the stream of a bucket must be, whoever has made it:
// whatever keeps keys will do, if it keeps them.
func bucketConfig(bucket string) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: kvStream(bucket), Storage: jetstream.FileStorage}
}

func provisionBucket(ctx context.Context, js jetstream.JetStream, role StreamRole, want jetstream.KeyValueConfig) error {
	err := checkBucket(ctx, js, role, want.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if _, err = js.CreateKeyValue(ctx, want); err != nil {
			err = fmt.Errorf("create bucket %s: %w", want.Bucket, err)
		}
	}
	return err
}

// checkBucket refuses a bucket that may forget.
func checkBucket(ctx context.Context, js jetstream.JetStream, role StreamRole, bucket string) error {
	stream, err := js.Stream(ctx, kvStream(bucket))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = jetstream.ErrBucketNotFound
	}
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return contradictions(differences(role, stream.CachedInfo().Config, bucketConfig(bucket)))
}

// CheckTopology reports what is missing or contradicts, and changes nothing.
func CheckTopology(ctx context.Context, js jetstream.JetStream, t Topology) error {
	var faults []error
	for _, s := range Inspect(ctx, js, t) {
		faults = append(faults, s.fault())
	}
	return errors.Join(faults...)
}
