package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrLaneUnknown is returned for a lane that no worker has served yet.
var ErrLaneUnknown = errors.New("no worker has served this lane yet")

// control is the bucket by which workers agree on what is not about one key:
// throttles, pauses, bindings, leases, watermarks. Its keys are
// <what>.<tenant>.…, each name spelled by controlToken.
type control struct {
	kv jetstream.KeyValue
}

func openControl(ctx context.Context, js jetstream.JetStream, t Topology) (control, error) {
	kv, err := js.KeyValue(ctx, t.ControlBucket())
	if err != nil {
		return control{}, fmt.Errorf("open bucket %s: %w", t.ControlBucket(), err)
	}
	return control{kv: kv}, nil
}

// controlToken spells a name with the characters a bucket's key may have.
func controlToken(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "=%02X", c)
	}
	return b.String()
}

func controlKey(what string, names ...string) string {
	tokens := []string{what}
	for _, name := range names {
		tokens = append(tokens, controlToken(name))
	}
	return strings.Join(tokens, ".")
}

// binding is what a lane was found to mean in Orchestrator when it was first
// served. A path that later leads to another folder is not the same lane.
type binding struct {
	Lane      Lane      `json:"lane"` // canonical
	FolderKey string    `json:"folderKey,omitempty"`
	BoundAt   time.Time `json:"boundAt"`
	// Missing is set while there has never been such a folder, queue or process:
	// its requests are answered under Lane, and will be where it is made later.
	Missing bool `json:"missing,omitempty"`
}

func bindingKey(lane Lane) string {
	return controlKey("lanes", lane.Tenant, lane.Folder, lane.Kind.token(), lane.Name)
}

func (c control) binding(ctx context.Context, lane Lane) (binding, error) {
	var b binding
	if _, err := c.get(ctx, bindingKey(lane), &b); err != nil {
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return b, fmt.Errorf("%s: %w", lane, ErrLaneUnknown)
		}
		return b, err
	}
	return b, b.check(lane)
}

// check refuses a record that cannot be the lane's: claims would be written on
// subjects that nobody reads, or that are another lane's, whose outcomes would
// then stand for requests that were never carried out.
func (b binding) check(lane Lane) error {
	err := b.Lane.Validate()
	switch {
	case err != nil:
	case b.Lane.Tenant != lane.Tenant || b.Lane.Kind != lane.Kind:
		err = errors.New("it is one of another tenant, or of the other kind")
	case !strings.EqualFold(b.Lane.Name, lane.Name):
		err = errors.New("it is one of another name")
	case lane.Folder != DefaultFolder && !strings.EqualFold(b.Lane.Folder, lane.Folder): // what - leads to is held against the folder's key
		err = errors.New("it is one of another folder")
	}
	if err != nil {
		return fmt.Errorf("lane %s is bound to %s: %w; delete the key %s of the control bucket and start the worker again", lane, b.Lane, err, bindingKey(lane))
	}
	return nil
}

// bind records what a lane means, or gives what was recorded before.
func (c control) bind(ctx context.Context, lane Lane, b binding) (binding, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return b, fmt.Errorf("encode binding: %w", err)
	}
	if _, err = c.kv.Create(ctx, bindingKey(lane), data); err == nil {
		return b, nil
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return b, fmt.Errorf("bind lane: %w", err)
	}
	return c.binding(ctx, lane)
}

// get decodes a key's value and gives its revision, of one that cannot be decoded
// as well.
func (c control) get(ctx context.Context, key string, into any) (uint64, error) {
	entry, err := c.kv.Get(ctx, key)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", key, err)
	}
	return entry.Revision(), decodeEntry(entry, into)
}

func decodeEntry(entry jetstream.KeyValueEntry, into any) error {
	if err := json.Unmarshal(entry.Value(), into); err != nil {
		return fmt.Errorf("decode %s: %w", entry.Key(), err)
	}
	return nil
}

func (c control) put(ctx context.Context, key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if _, err := c.kv.Put(ctx, key, data); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// leased is the record of who does what only one worker should do.
type leased struct {
	Worker string    `json:"worker"`
	Until  time.Time `json:"until"` // by the server's clock
}

// keepsOut reports whether a task is another worker's. A lease of twice the
// life that leases have is a broken record, and would keep everybody out.
func (l leased) keepsOut(worker string, life time.Duration, now time.Time) bool {
	return l.Worker != worker && now.Before(l.Until) && l.Until.Sub(now) <= 2*life
}

// lease takes or renews the lease on a task. It is to spare double work; what
// is done under it must do no harm when done twice.
func (c control) lease(ctx context.Context, task, worker string, life time.Duration, now time.Time) (bool, error) {
	key := controlKey("leases", task)
	var current leased
	revision, err := c.get(ctx, key, &current)
	if err != nil && revision == 0 && !errors.Is(err, jetstream.ErrKeyNotFound) { // what cannot be read is nobody's
		return false, err
	}
	if current.keepsOut(worker, life, now) {
		return false, nil
	}
	data, err := json.Marshal(leased{Worker: worker, Until: now.Add(life)})
	if err != nil {
		return false, fmt.Errorf("encode lease: %w", err)
	}
	if revision == 0 { // or the operator has deleted it, which leaves a marker with a revision of its own
		_, err = c.kv.Create(ctx, key, data)
	} else {
		_, err = c.kv.Update(ctx, key, data, revision)
	}
	if err != nil {
		if errors.Is(err, jetstream.ErrKeyExists) || isCode(err, codeWrongLastSequence) {
			return false, nil // another worker was faster
		}
		return false, fmt.Errorf("lease %s: %w", task, err)
	}
	return true, nil
}
