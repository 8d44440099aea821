package sheet

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

func TestOccurrences(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ids := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "identities")
		o, err := newOccurrences()
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := o.close(); err != nil {
				rt.Errorf("close: %v", err)
			}
		}()
		perRun := rapid.IntRange(1, 50).Draw(rt, "rows a run")
		for i, id := range ids {
			if err := o.add(identity{id}, i+2); err != nil {
				rt.Fatal(err)
			}
			if i%perRun == 0 {
				if err := o.writeRun(); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if err := o.count(); err != nil {
			rt.Fatal(err)
		}
		first, nth := map[byte]int{}, map[byte]int{}
		for i, id := range ids {
			if nth[id]++; nth[id] == 1 {
				first[id] = i + 2
			}
			gotNth, gotFirst, err := o.of(i + 2)
			if err != nil || gotNth != nth[id] || gotFirst != first[id] {
				rt.Fatalf("row %d: no. %d of row %d, error %v; want no. %d of row %d", i+2, gotNth, gotFirst, err, nth[id], first[id])
			}
		}
	})
}

// generate gives a CSV of many rows that never lies in memory.
func generate(rows int, row func(i int) string) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriter(w)
		_, _ = b.WriteString("Reference,Supplier,Amount\n")
		for i := range rows {
			_, _ = b.WriteString(row(i))
		}
		w.CloseWithError(b.Flush())
	}()
	return r
}

// A million rows are read in the memory that a few need, and so are rows that
// are all alike.
func TestMemoryIsBounded(t *testing.T) { //nolint:paralleltest // measures the process's memory
	if testing.Short() {
		t.Skip("reads millions of rows")
	}
	const bound = 12 << 20
	tests := []struct {
		name           string
		rows, repeated int
		row            func(i int) string
	}{
		{"every tenth repeated", manyRows, manyRows / 10, func(i int) string {
			return fmt.Sprintf("INV-%d,Supplier %d,%d.50\n", i-i%10/9, i%100, i)
		}},
		{"all alike", manyRows / 5, 0, func(int) string { return ",Supplier 1,10.50\n" }},
	}
	for _, tt := range tests { //nolint:paralleltest // measures the process's memory
		t.Run(tt.name, func(t *testing.T) {
			before := heapInUse()
			s, err := Open(t.Context(), generate(tt.rows, tt.row), Options{Lane: invoices})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeSheet(t, s) })
			peak, count, repeated := before, 0, 0
			measure := func(int64) {
				if count++; count%10_000 == 0 {
					peak = max(peak, heapInUse())
				}
			}
			if err := s.Index(t.Context(), measure); err != nil {
				t.Fatal(err)
			}
			count = 0
			for row, err := range s.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				measure(0)
				if row.Err != nil {
					repeated++
				}
			}
			if count != tt.rows || repeated != tt.repeated {
				t.Errorf("%d rows, %d repeated; want %d and %d", count, repeated, tt.rows, tt.repeated)
			}
			t.Logf("heap before %d KiB, at most %d KiB", before>>10, peak>>10)
			if peak > before+bound {
				t.Errorf("the heap grew from %d to %d bytes, more than %d", before, peak, bound)
			}
		})
	}
}

// heapInUse is what is in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
