package simulator

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

const benchItems = 1_000_000

// bulkBody is a bulk call of 500 items with references that begin at first.
func bulkBody(queue string, first int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"queueName":%q,"commitType":"ProcessAllIndependently","queueItems":[`, queue)
	for i := range 500 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Name":%q,"Reference":"INV-%d","Priority":"Normal","SpecificContent":{"Amount":%d.5,"Vendor":"Vendor %d","Due":"2026-12-01T00:00:00Z","Paid":false}}`, queue, first+i, i, i)
	}
	b.WriteString("]}")
	return b.String()
}

// fill puts a million items into the unique queue and returns what a call costs from then on.
func fill(b *testing.B) (s *Server, call func(method, path, body string) *httptest.ResponseRecorder) {
	b.Helper()
	s, _ = setup(b, Config{ListReadsPerMinute: -1})
	call = func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(b.Context(), method, testBase+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer rt_bench")
		r.Header.Set(headerFolderPath, testFolder)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%s: got status %d: %s", path, w.Code, w.Body)
		}
		return w
	}
	for first := 0; first < benchItems; first += 500 {
		call(http.MethodPost, bulkPath, bulkBody("Unique", first))
	}
	return s, call
}

func BenchmarkBulk500(b *testing.B) {
	s, call := fill(b)
	heap := heapMiB()
	var bodies []string
	for i := range 200 {
		bodies = append(bodies, bulkBody("Unique", benchItems+500*i))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(bodies) {
			b.StopTimer()
			for i := range bodies {
				bodies[i] = strings.ReplaceAll(bodies[i], `"INV-`, `"INV-x`)
			}
			n = 0
			b.StartTimer()
		}
		if w := call(http.MethodPost, bulkPath, bodies[n]); !strings.Contains(w.Body.String(), `"Success":true`) {
			b.Fatal(w.Body)
		}
		n++
	}
	b.ReportMetric(heap, "MiB-filled")
	runtime.KeepAlive(s)
}

// heapMiB is what the heap holds.
func heapMiB() float64 {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return float64(memory.HeapAlloc) / (1 << 20)
}

func BenchmarkFilterByReference(b *testing.B) {
	s, call := fill(b)
	queue := s.tenant.folders[1].queue("Unique").id
	for _, references := range []int{1, 50} {
		values := make([]string, references)
		for i := range values {
			values[i] = fmt.Sprintf("'INV-%d'", i*benchItems/references)
		}
		path := "/odata/QueueItems?$filter=" + url.QueryEscape(fmt.Sprintf("Reference in (%s) and QueueDefinitionId eq %d", strings.Join(values, ","), queue))
		b.Run(strconv.Itoa(references), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.Copy(io.Discard, call(http.MethodGet, path, "").Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
