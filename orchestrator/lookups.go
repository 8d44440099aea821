package orchestrator

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// lookupLife is how long a look-up by name is believed. Names, ids and settings
// change seldom, and what did change is noticed sooner by 1100 and 404.
const lookupLife = 5 * time.Minute

// lookups remembers what was found by name. Many callers that want the same
// thing at once share one request. What was not found is not remembered.
type lookups[V any] struct {
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]known[V]
}

type known[V any] struct {
	value V
	until time.Time
}

// get gives what is known under the key, or fetches it. The fetch goes on when
// the caller that began it gives up, for the sake of the others.
func (l *lookups[V]) get(ctx context.Context, op, key string, fetch func(context.Context) (V, error)) (V, error) {
	if value, ok := l.peek(key); ok {
		return value, nil
	}
	detached := context.WithoutCancel(ctx)
	done := l.flight.DoChan(key, func() (any, error) {
		if value, ok := l.peek(key); ok {
			return value, nil
		}
		value, err := fetch(detached)
		if err == nil {
			l.put(key, value)
		}
		return value, err
	})
	var none V
	select {
	case <-ctx.Done():
		return none, &Error{Op: op, Kind: Transient, Class: Reads, Err: contextError(ctx)}
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		value, _ := result.Val.(V)
		return value, nil
	}
}

func (l *lookups[V]) peek(key string) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.known[key]
	return k.value, ok && time.Now().Before(k.until)
}

func (l *lookups[V]) put(key string, value V) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[string]known[V])
	}
	l.known[key] = known[V]{value: value, until: time.Now().Add(lookupLife)}
}

func (l *lookups[V]) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, key)
}

func (l *lookups[V]) forgetAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.known)
}
