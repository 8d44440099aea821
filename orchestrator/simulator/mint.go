package simulator

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// mint makes every key, trace id and token out of one seeded source.
type mint struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

// newRand gives each user of randomness its own sequence of the same seed, so that more of the one does not shift the
// other.
func newRand(seed int64, purpose string) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], uint64(seed)) // #nosec G115 -- the bits count, not the number
	copy(key[8:], purpose)
	return rand.NewChaCha8(key)
}

func newMint(seed int64) *mint { return &mint{source: newRand(seed, "mint")} }

func (m *mint) guid() uuid.UUID {
	var g uuid.UUID
	m.read(g[:])
	g[6] = g[6]&0x0f | 0x40 // version 4
	g[8] = g[8]&0x3f | 0x80 // the RFC's variant
	return g
}

func (m *mint) hex(bytes int) string {
	b := make([]byte, bytes)
	m.read(b)
	return hex.EncodeToString(b)
}

// traceID is in the form of W3C's traceparent, as Orchestrator's error bodies carry it.
func (m *mint) traceID() string { return "00-" + m.hex(16) + "-" + m.hex(8) + "-00" }

// requestID is in the form of the web server's, as the identity server's pages carry it.
func (m *mint) requestID() string { return strings.ToUpper("0HN" + m.hex(5) + ":" + m.hex(4)) }

func (m *mint) read(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = m.source.Read(b) // a ChaCha8 never runs dry
}
