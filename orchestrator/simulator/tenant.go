package simulator

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// tenant is the whole state of the simulated Orchestrator. The Server's lock guards it.
type tenant struct {
	mint     *mint
	switches Switches
	robots   *robots

	folders   []*folder
	folderIDs sequence
	queueIDs  sequence
	releases  sequence
	versions  sequence

	robotIDs   sequence
	machineIDs sequence
	sessionIDs sequence

	items     table[*queueItem]
	jobs      table[*job]
	jobsByKey map[uuid.UUID]*job
	batchKeys map[uuid.UUID][]*job
	effects   []creation
	lastStamp time.Time
	rowStamp  uint64
}

func newTenant(m *mint, switches Switches) tenant {
	return tenant{
		mint:      m,
		switches:  switches,
		folderIDs: 515115,
		queueIDs:  28210,
		releases:  619189,
		versions:  694031,

		robotIDs:   1402310,
		machineIDs: 317040,
		sessionIDs: 2204500,

		items:     table[*queueItem]{last: 3569500},
		jobs:      table[*job]{last: 680077200},
		jobsByKey: make(map[uuid.UUID]*job),
		batchKeys: make(map[uuid.UUID][]*job),
	}
}

// clear drops items and jobs; ids go on from where they were.
func (t *tenant) clear() {
	for _, j := range t.jobs.rows {
		j.state = stateStopped // so that no robot goes on with it
	}
	t.items = table[*queueItem]{last: t.items.last}
	t.jobs = table[*job]{last: t.jobs.last}
	t.jobsByKey = make(map[uuid.UUID]*job)
	t.batchKeys = make(map[uuid.UUID][]*job)
	t.effects = nil
	t.robots.clear()
	for _, f := range t.folders {
		f.jobs, f.jobsByReference = nil, make(map[string][]*job)
		for _, q := range f.queues {
			q.items, q.byReference = nil, make(map[string]*queueItem)
		}
		for _, r := range f.releases {
			r.pending = 0
		}
	}
}

// stamp is the time of a change. It never goes back, so lists in the order of creation are in the order of time too.
func (t *tenant) stamp(now time.Time) time.Time {
	if now.After(t.lastStamp) {
		t.lastStamp = now
	}
	return t.lastStamp
}

// collate brings text into the form in which two texts that count as equal are the same.
func (t *tenant) collate(text string) string {
	if t.switches.IgnoreCase {
		return strings.ToLower(text)
	}
	return text
}

// sequence hands out ids, the last of which it is.
type sequence int64

func (s *sequence) next() int64 {
	*s++
	return int64(*s)
}

// table keeps what has consecutive ids and finds it by id.
type table[T any] struct {
	rows []T
	last int64 // id of the last row
}

// add keeps the row that build returns for the next id.
func (t *table[T]) add(build func(id int64) T) T {
	t.last++
	row := build(t.last)
	t.rows = append(t.rows, row)
	return row
}

func (t *table[T]) get(id int64) (row T, ok bool) {
	i := id - t.last + int64(len(t.rows)) - 1
	if i < 0 || i >= int64(len(t.rows)) {
		return row, false
	}
	return t.rows[i], true
}

// stamps in the API's forms. Answers to writes carry ticks of 100 ns, reads what the database keeps of them.
const (
	tickStamp   = "2006-01-02T15:04:05.0000000Z07:00"
	storedStamp = "2006-01-02T15:04:05.999Z07:00"
)

// stampText is a time as reads show it; nil for none.
func stampText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(t.Format(storedStamp))
}

// orNull is nil for an empty string, which the API shows as null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// guidOrNull is nil for no GUID.
func guidOrNull(g uuid.UUID) *string {
	if g == uuid.Nil {
		return nil
	}
	return new(g.String())
}

// idOrNull is nil for no id.
func idOrNull(id int64) *int64 {
	if id == 0 {
		return nil
	}
	return &id
}
