package simulator

import (
	"sync"
	"time"
)

// listLimit lets a number of calls through in any minute and says how long the next one has to wait.
type listLimit struct {
	mu     sync.Mutex
	recent []time.Time // the calls let through in the last minute, oldest first
}

const limitWindow = time.Minute

// admit takes a call at now, or says after which time it may come again. A negative limit admits everything.
func (l *listLimit) admit(now time.Time, limit int) (wait time.Duration, ok bool) {
	if limit < 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.recent) > 0 && now.Sub(l.recent[0]) >= limitWindow {
		l.recent = l.recent[1:]
	}
	if len(l.recent) < limit {
		l.recent = append(l.recent, now)
		return 0, true
	}
	if limit == 0 {
		return limitWindow, false
	}
	return limitWindow - now.Sub(l.recent[0]), false
}

func (l *listLimit) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recent = nil
}
