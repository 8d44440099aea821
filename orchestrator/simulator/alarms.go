package simulator

import (
	"sync"
	"time"
)

// alarms owns everything of a Server that happens later or on its own goroutine, so that Close can call it all off and
// leave nothing running. It uses timers and channels only, which is what a synctest bubble can see through.
type alarms struct {
	closing chan struct{}

	mu      sync.Mutex
	closed  bool
	timers  map[*time.Timer]struct{}
	running sync.WaitGroup
}

func newAlarms() *alarms {
	return &alarms{closing: make(chan struct{}), timers: make(map[*time.Timer]struct{})}
}

// run calls f on a goroutine that close waits for. It reports false, without calling f, once closed.
func (a *alarms) run(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.running.Go(f)
	return true
}

// after calls f once d has passed, unless closed before.
func (a *alarms) after(d time.Duration, f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		a.mu.Lock()
		delete(a.timers, timer)
		a.mu.Unlock()
		a.run(f)
	})
	a.timers[timer] = struct{}{}
}

// pause waits for d and reports false when closed meanwhile.
func (a *alarms) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.closing:
		return false
	}
}

func (a *alarms) close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
		for timer := range a.timers {
			timer.Stop()
		}
	}
	a.mu.Unlock()
	a.running.Wait()
}
