package proving

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// strikeLog keeps what struck when, so that it can be told what befell a
// request.
type strikeLog struct {
	mu  sync.Mutex
	all []*struck
}

// struck is one strike as it was.
type struck struct {
	name       string
	begun, end time.Time // end is zero as long as it lasts
	missed     bool      // it is not known to have struck anything
}

// begin notes that a strike begins; it lasts until over is called,
// with whether it has struck.
func (l *strikeLog) begin(name string) (over func(struck bool)) {
	s := &struck{name: name, begun: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
	return func(struck bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		s.end, s.missed = time.Now(), !struck
	}
}

// counts gives how often each has struck.
func (l *strikeLog) counts() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]int)
	for _, s := range l.all {
		if !s.missed {
			counts[s.name]++
		}
	}
	return counts
}

// between tells, in seconds since zero, what was going on at any moment from
// one time to another.
func (l *strikeLog) between(zero, from, to time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var told []string
	for _, s := range l.all {
		if s.begun.Before(to) && (s.end.IsZero() || s.end.After(from)) {
			told = append(told, s.tell(zero))
		}
	}
	if len(told) == 0 {
		return "no strike"
	}
	return strings.Join(told, ", ")
}

// tell names also what is not known to have struck: where an answer was lost, it
// may have.
func (s *struck) tell(zero time.Time) string {
	name, begun := s.name, s.begun.Sub(zero).Seconds()
	if s.missed {
		name += ", perhaps"
	}
	if s.end.IsZero() {
		return fmt.Sprintf("%s (from %.1f s on)", name, begun)
	}
	return fmt.Sprintf("%s (%.1f–%.1f s)", name, begun, s.end.Sub(zero).Seconds())
}
