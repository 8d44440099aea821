package tokens

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"waybill/orchestrator"
	"waybill/pipeline"
)

// bucket is a tenant's value in the bucket that all workers share.
type bucket struct {
	tokens *pipeline.TokenBucket
	tenant string
}

// Bucket keeps the grant of a tenant in NATS. It wants a key: whoever may look
// into the streams would have the tokens otherwise, and whoever may write there
// could have workers act in another user's name.
func Bucket(tokens *pipeline.TokenBucket, tenant string, key Key) (*Store, error) {
	if key.IsZero() {
		return nil, errors.New("there is no key to seal it with: set WAYBILL_TOKEN_KEY or WAYBILL_TOKEN_KEY_FILE, the same for all workers; worker login --new-key makes one")
	}
	return &Store{place: bucket{tokens: tokens, tenant: tenant}, key: key}, nil
}

func (b bucket) String() string { return "bucket " + b.tokens.Name() + ", tenant " + b.tenant }

func (b bucket) read(ctx context.Context) ([]byte, string, error) {
	value, revision, err := b.tokens.Get(ctx, b.tenant)
	if errors.Is(err, pipeline.ErrNoToken) {
		return nil, "", orchestrator.ErrNoGrant
	}
	if err != nil {
		return nil, "", err //nolint:wrapcheck // it names the bucket
	}
	if !isSealed(value) {
		err = unusable("it is not sealed, so no worker has put it there: find out who may write to the bucket, and run worker login again")
	}
	return value, strconv.FormatUint(revision, 10), err
}

func (b bucket) write(ctx context.Context, value []byte, revision string) error {
	var last uint64
	if revision != "" {
		var err error
		if last, err = strconv.ParseUint(revision, 10, 64); err != nil {
			return fmt.Errorf("revision %q: %w", revision, err)
		}
	}
	err := b.tokens.Put(ctx, b.tenant, value, last)
	if errors.Is(err, pipeline.ErrTokenChanged) {
		return orchestrator.ErrGrantChanged
	}
	return err //nolint:wrapcheck // it names the bucket
}
