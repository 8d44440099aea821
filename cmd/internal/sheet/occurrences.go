package sheet

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// occurrences finds for every row how many rows of the same identity stand
// before it, in memory that does not grow with the rows: the rows' identities
// are sorted in runs that lie in a temporary file, and merged.
//
// Call add for every row, then count, then of.
type occurrences struct {
	run    []mark // not yet written
	runs   *tempFile
	ends   []int64 // where each written run ends
	counts *tempFile
	any    bool // whether any row repeats another

	cached []byte // a part of counts
	at     int64  // where it begins
}

// mark is a row's identity and its number, in this order, so that sorting
// brings equal rows together, the earliest first.
type mark [24]byte

const (
	runLength = 1 << 16 // marks; 1.5 MiB
	countSize = 16      // bytes a row in counts: which one of its kind it is, and the row of the first
)

func newMark(id identity, row int) mark {
	var m mark
	copy(m[:16], id[:])
	binary.BigEndian.PutUint64(m[16:], uint64(row)) //nolint:gosec // G115: rows are counted from 1
	return m
}

func (m mark) sameKind(o mark) bool { return bytes.Equal(m[:16], o[:16]) }

func compareMarks(a, b mark) int { return bytes.Compare(a[:], b[:]) }

func newOccurrences() (*occurrences, error) {
	runs, err := newTempFile()
	if err != nil {
		return nil, err
	}
	counts, err := newTempFile()
	if err != nil {
		return nil, errors.Join(err, runs.Close())
	}
	return &occurrences{runs: runs, counts: counts, run: make([]mark, 0, runLength)}, nil
}

func (o *occurrences) close() error {
	return errors.Join(o.runs.Close(), o.counts.Close())
}

// add notes a row.
func (o *occurrences) add(id identity, row int) error {
	o.run = append(o.run, newMark(id, row))
	if len(o.run) < runLength {
		return nil
	}
	return o.writeRun()
}

func (o *occurrences) writeRun() error {
	slices.SortFunc(o.run, compareMarks)
	w := bufio.NewWriterSize(o.runs, 64<<10)
	for _, m := range o.run {
		_, _ = w.Write(m[:]) // Flush has the error
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("note which rows repeat: %w", err)
	}
	end := int64(len(o.run) * len(mark{}))
	if len(o.ends) > 0 {
		end += o.ends[len(o.ends)-1]
	}
	o.ends = append(o.ends, end)
	o.run = o.run[:0]
	return nil
}

// count merges the runs and writes down the rows that repeat another.
func (o *occurrences) count() error {
	if err := o.writeRun(); err != nil {
		return err
	}
	o.run = nil
	var first, last mark
	nth := 0
	for m, err := range o.merged() {
		if err != nil {
			return fmt.Errorf("note which rows repeat: %w", err)
		}
		if nth == 0 || !m.sameKind(last) {
			first, nth = m, 0
		}
		last = m
		if nth++; nth > 1 {
			if err := o.note(m, nth, first); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *occurrences) note(m mark, nth int, first mark) error {
	var c [countSize]byte
	binary.BigEndian.PutUint64(c[:8], uint64(nth)) //nolint:gosec // G115: counted from 1
	copy(c[8:], first[16:])
	row := binary.BigEndian.Uint64(m[16:])
	if _, err := o.counts.WriteAt(c[:], int64(row)*countSize); err != nil { //nolint:gosec // G115: was an int
		return fmt.Errorf("note which rows repeat: %w", err)
	}
	o.any = true
	return nil
}

// merged gives all marks in order.
func (o *occurrences) merged() func(yield func(mark, error) bool) {
	return func(yield func(mark, error) bool) {
		var h runHeap
		begin := int64(0)
		for _, end := range o.ends {
			r := &run{rest: bufio.NewReaderSize(io.NewSectionReader(o.runs, begin, end-begin), 4<<10)}
			begin = end
			if r.next() {
				h = append(h, r)
			}
		}
		heap.Init(&h)
		for len(h) > 0 {
			r := h[0]
			if !yield(r.head, r.err) || r.err != nil {
				return
			}
			if r.next() {
				heap.Fix(&h, 0)
			} else {
				heap.Pop(&h)
			}
		}
	}
}

// of says the how manieth of its kind a row is, from 1, and which row is the
// first of them. Rows are best asked for in order.
func (o *occurrences) of(row int) (nth, first int, err error) {
	if !o.any {
		return 1, row, nil
	}
	at := int64(row) * countSize
	if at < o.at || at >= o.at+int64(len(o.cached)) {
		if err := o.load(at); err != nil {
			return 0, 0, err
		}
	}
	c := o.cached[at-o.at:]
	if nth = int(binary.BigEndian.Uint64(c)); nth == 0 { //nolint:gosec // G115: was an int
		return 1, row, nil
	}
	return nth, int(binary.BigEndian.Uint64(c[8:])), nil //nolint:gosec // G115: was an int
}

// load brings a part of counts in. What was never written is zero: no repeat.
func (o *occurrences) load(at int64) error {
	if o.cached == nil {
		o.cached = make([]byte, 4096*countSize)
	}
	o.at = at
	n, err := o.counts.ReadAt(o.cached, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("look up which rows repeat: %w", err)
	}
	clear(o.cached[n:])
	return nil
}

// run is a sorted run and where the merge has come to in it.
type run struct {
	head mark
	rest *bufio.Reader
	err  error
}

// next moves on; it reports false at the end. An error is kept for the merge
// to give.
func (r *run) next() bool {
	_, err := io.ReadFull(r.rest, r.head[:])
	if errors.Is(err, io.EOF) {
		return false
	}
	r.err = err
	return true
}

// runHeap orders runs by their heads; see container/heap.
type runHeap []*run

func (h runHeap) Len() int           { return len(h) }
func (h runHeap) Less(i, j int) bool { return compareMarks(h[i].head, h[j].head) < 0 }
func (h runHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is never called: runs only leave the heap.
func (h *runHeap) Push(x any) {
	if r, ok := x.(*run); ok {
		*h = append(*h, r)
	}
}

func (h *runHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
