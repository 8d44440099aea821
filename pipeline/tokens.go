package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// TokenBucket is the bucket in which workers share what their tenants' logins
// have left: one value a tenant, which only they can read, since they seal it.
type TokenBucket struct {
	js       jetstream.JetStream
	topology Topology
}

var (
	// ErrNoToken is returned for a tenant that nothing is kept of.
	ErrNoToken = errors.New("nothing is kept of this tenant's login")
	// ErrTokenChanged is returned where a value is not of the revision that was
	// to be replaced.
	ErrTokenChanged = errors.New("another worker has replaced the tenant's login")
)

// NewTokenBucket names the bucket of an installation; it touches nothing.
func NewTokenBucket(js jetstream.JetStream, t Topology) *TokenBucket {
	return &TokenBucket{js: js, topology: t.withDefaults()}
}

// Name is the bucket's.
func (b *TokenBucket) Name() string { return b.topology.TokensBucket() }

// Provision makes the bucket if it is missing. One that may forget is refused,
// with a *DifferenceError.
func (b *TokenBucket) Provision(ctx context.Context) error {
	return provisionBucket(ctx, b.js, StreamTokens, jetstream.KeyValueConfig{
		Bucket:      b.Name(),
		Description: "sealed logins of tenants",
		History:     1, // a refresh token that was used is of no use
		Storage:     jetstream.FileStorage,
		Replicas:    b.topology.Replicas,
	})
}

// Get gives a tenant's value and its revision, or ErrNoToken. It refuses a
// bucket that may forget: what comes of the value's use could not be kept.
func (b *TokenBucket) Get(ctx context.Context, tenant string) ([]byte, uint64, error) {
	err := checkBucket(ctx, b.js, StreamTokens, b.Name())
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, 0, ErrNoToken
	}
	if err != nil {
		return nil, 0, err
	}
	kv, err := b.js.KeyValue(ctx, b.Name())
	if err != nil {
		return nil, 0, fmt.Errorf("bucket %s: %w", b.Name(), err)
	}
	entry, err := kv.Get(ctx, tokenKey(tenant))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, ErrNoToken
	}
	if err != nil {
		return nil, 0, fmt.Errorf("bucket %s: %w", b.Name(), err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Put replaces a tenant's value of that revision, zero meaning that there is
// none; ErrTokenChanged otherwise.
func (b *TokenBucket) Put(ctx context.Context, tenant string, value []byte, last uint64) error {
	kv, err := b.js.KeyValue(ctx, b.Name())
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.Name(), err)
	}
	if last == 0 {
		_, err = kv.Create(ctx, tokenKey(tenant), value)
	} else {
		_, err = kv.Update(ctx, tokenKey(tenant), value, last)
	}
	if errors.Is(err, jetstream.ErrKeyExists) || isCode(err, codeWrongLastSequence) {
		return ErrTokenChanged
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.Name(), err)
	}
	return nil
}

func tokenKey(tenant string) string { return controlKey("tenants", tenant) }
