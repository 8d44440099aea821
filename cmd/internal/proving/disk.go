package proving

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	refusedFor = 3 * time.Second // of writes, at most
	// failedFor is how long at most a server whose writes were refused goes on
	// before somebody starts it anew.
	failedFor = 2 * time.Second
	busyFor   = 4 * time.Second // of the disk, at most

	busyBlock  = 1 << 20
	busyBlocks = 64 // that much of the disk is taken, and not more
)

// refuseWrites has every write of a NATS server to a file fail, as on a full
// disk. A server that has met that takes nothing more into the streams
// concerned, nor says so, when there is room again: as its operator would,
// start it anew.
func (c *Chaos) refuseWrites(ctx context.Context, random *rand.Rand) (struck bool, err error) {
	n := c.anyNode(random)
	refused, failed := upTo(random, refusedFor), upTo(random, failedFor)
	p, err := c.Process(n.name)
	if err != nil {
		return false, err
	}
	if err := limitFiles(p.ID(), true); err != nil {
		return false, err
	}
	_ = wait(ctx, refused) // the server must be whole again, whatever has ended
	if err := limitFiles(p.ID(), false); err != nil {
		return true, err
	}
	_ = wait(ctx, failed)
	return true, c.restart(ctx, n, 0)
}

// keepDiskBusy writes beside JetStream's files, and waits for the disk each
// time, so that the servers wait for it too.
func (c *Chaos) keepDiskBusy(ctx context.Context, random *rand.Rand) (struck bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, upTo(random, busyFor))
	defer cancel()
	name := filepath.Join(c.store, "busy")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // G304: the folder is our own
	if err != nil {
		return false, fmt.Errorf("keep the disk busy: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(name)) }()
	block := make([]byte, busyBlock)
	for i := range block {
		block[i] = byte(random.Uint32()) //nolint:gosec // G115: any byte will do
	}
	for i := int64(0); ctx.Err() == nil; i++ {
		if _, err := file.WriteAt(block, i%busyBlocks*busyBlock); err != nil {
			return struck, fmt.Errorf("keep the disk busy: %w", err)
		}
		if err := file.Sync(); err != nil {
			return struck, fmt.Errorf("keep the disk busy: %w", err)
		}
		struck = true
	}
	return struck, nil
}
