package main

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
)

// target is what waybill has to reach. The zero value asks for nothing.
type target struct {
	must, wants float64
	most        bool // what is measured may be that much at most; otherwise at least
	ratio       bool // of waybill's value to another, not of the value
	against     basis
}

// line is one row of the table: a value that is read off the results of
// a workload.
type line struct {
	work     string
	workload string
	read     func(result) float64
	show     func(float64) string
	target   target
}

// basis is whose value waybill's is compared with, round by round. The zero
// value is the bare loop in the line's own workload, which the table has
// a column for.
type basis struct {
	workload string
	side     side
	name     string // as the table says it
}

// basis is what the line is against.
func (l line) basis() basis {
	if l.target.against == (basis{}) {
		return basis{workload: l.workload, side: sideBare, name: "bare"}
	}
	return l.target.against
}

// The formats of values.
func perSecond(v float64) string { return thousands(v) + "/s" }
func inSeconds(v float64) string { return fmt.Sprintf("%.2f s", v) }
func inMiB(v float64) string     { return fmt.Sprintf("%.0f MiB", v) }
func inMS(v float64) string      { return fmt.Sprintf("%.1f ms", v) }
func plainly(v float64) string   { return fmt.Sprintf("%.2f", v) }

func rate(r result) float64       { return r.Rate }
func cpuPer100K(r result) float64 { return r.cpuPer(100_000) }
func callsPer1K(r result) float64 { return r.callsPer(1_000) }
func peak(r result) float64       { return r.PeakMiB }

func latencyOf(read func(latencies) float64) func(result) float64 {
	return func(r result) float64 {
		if r.Latency == nil {
			return math.NaN()
		}
		return read(*r.Latency)
	}
}

// lines are the rows of the table but those of faults.
func lines() []line {
	p50 := latencyOf(func(l latencies) float64 { return l.P50 })
	p99 := latencyOf(func(l latencies) float64 { return l.P99 })
	alone := basis{workload: "items", side: sideWaybill, name: "the first row"}
	list := []line{
		{"100,000 items, bulk 500, no latency", "items", rate, perSecond, target{must: 0.4, wants: 0.85, ratio: true}},
		{"the same with `sync_interval: always`", "items-always", rate, perSecond, target{must: 15_000, wants: 30_000}},
		{"20,000 items, 20 ms a call, 16 in flight", "items-20ms", rate, perSecond, target{must: 0.4, wants: 0.85, ratio: true}},
		{"20,000 jobs, 20 ms, 64 in flight", "jobs-20ms", rate, perSecond, target{must: 0.95, wants: 0.98, ratio: true}},
		{"100,000 items beside a tenant that denies logins and one that is slow", "tenants", rate, perSecond, target{must: 0.9, wants: 0.95, ratio: true, against: alone}},
		{"worker CPU per 100,000 items", "items", cpuPer100K, inSeconds, target{must: 3, wants: 2, most: true}},
		{"worker CPU per 100,000 jobs", "jobs-20ms", cpuPer100K, inSeconds, target{must: 20, wants: 14, most: true}},
		{"peak memory of the worker, 1,000,000 waiting", "memory", peak, inMiB, target{must: 96, wants: 48, most: true}},
		{"1,000,000 items carried out", "memory", rate, perSecond, target{}},
		{"API calls per 1,000 items", "items", callsPer1K, plainly, target{must: 2.4, wants: 2, most: true}},
		{"publish to outcome, 50 a second, p50", "latency", p50, inMS, target{}},
		{"publish to outcome, 50 a second, p99", "latency", p99, inMS, target{must: 25, wants: 10, most: true}},
		{"200,000 items in 200 queues", "queues", rate, perSecond, target{}},
	}
	for _, w := range workloads() {
		if bytes, ok := strings.CutPrefix(w.name, "sizes-"); ok {
			list = append(list, line{"50,000 items of " + bytes + " bytes", w.name, rate, perSecond, target{}})
		}
	}
	return list
}

// table is what is printed.
type table struct {
	rows   [][]string
	misses []string
	rounds int
}

func newTable(all results, judged bool) table {
	var t table
	for _, r := range all {
		t.rounds = max(t.rounds, r.Round)
	}
	for _, l := range lines() {
		if len(all.of(l.workload, sideWaybill)) > 0 {
			t.add(l, all, judged)
		}
	}
	if some := all.of("faults", sideWaybill); len(some) > 0 {
		row := faultsRow(some, judged)
		t.rows = append(t.rows, row)
		if row[len(row)-1] == missed {
			t.misses = append(t.misses, faultsWork)
		}
	}
	return t
}

func (t *table) add(l line, all results, judged bool) {
	value := median(all.of(l.workload, sideWaybill).values(l.read))
	ratio := median(all.ratios(l))
	measured := !l.target.ratio || len(all.of(l.basis().workload, l.basis().side)) > 0
	met := none
	if l.target != (target{}) && judged && measured {
		judgedBy := value
		if l.target.ratio {
			judgedBy = ratio
		}
		met = l.target.judge(judgedBy)
		if met == missed {
			t.misses = append(t.misses, l.work)
		}
	}
	must, wants := l.texts()
	t.rows = append(t.rows, []string{
		l.work, must, wants, l.cell(all, sideWatermill), l.cell(all, sideBare), l.cell(all, sideWaybill), number(ratio, l.showRatio), met,
	})
}

// The words of the last column.
const (
	missed   = "no"
	metMust  = "must"
	metWants = "wants"
)

func (t target) judge(value float64) string {
	reaches := func(limit float64) bool {
		if t.most {
			return value <= limit
		}
		return value >= limit
	}
	switch {
	case reaches(t.wants):
		return metWants
	case reaches(t.must):
		return metMust
	}
	return missed // also where there is no value
}

// showRatio shows a ratio in the column of those to the bare loop, where one to
// something else says so.
func (l line) showRatio(v float64) string {
	if l.target.against == (basis{}) {
		return plainly(v)
	}
	return l.ofBasis(v)
}

func (l line) ofBasis(v float64) string { return plainly(v) + " of " + l.basis().name }

// texts are the target as the table shows it.
func (l line) texts() (must, wants string) {
	t, show := l.target, l.show
	if t == (target{}) {
		return none, none
	}
	sign := "≥ "
	if t.most {
		sign = "≤ "
	}
	if t.ratio {
		show = l.ofBasis
	}
	return sign + show(t.must), sign + show(t.wants)
}

// cell is the median of a side.
func (l line) cell(all results, s side) string {
	return number(median(all.of(l.workload, s).values(l.read)), l.show)
}

func number(value float64, show func(float64) string) string {
	if math.IsNaN(value) {
		return none
	}
	return show(value)
}

// maxRecovery is how many seconds after a restart new requests have to move.
const (
	maxRecovery = 2
	faultsWork  = "20,000 items, bulk 50, 2 % faults, one kill -9"
)

func faultsRow(some results, judged bool) []string {
	var sum verdict
	for _, r := range some {
		sum.Duplicates += r.Verdict.Duplicates
		sum.Lost += r.Verdict.Lost
		sum.Missing += r.Verdict.Missing
		sum.Foreign += r.Verdict.Foreign
	}
	recovery := median(some.values(func(r result) float64 { return r.Recovery }))
	met := metMust
	switch {
	case !judged:
		met = none
	case !sum.good(), !(recovery > 0 && recovery <= maxRecovery): // also where there is none
		met = missed
	}
	told := fmt.Sprintf("%s; %.1f s in all, %.1f s from restart to outcome", sum,
		median(some.values(func(r result) float64 { return r.Seconds })), recovery)
	return []string{
		faultsWork, fmt.Sprintf("0 duplicates, 0 lost, 0 missing; new requests move %d s after restart", maxRecovery), none, none, none, told, none, met,
	}
}

// markdown is the table as text.
func (t table) markdown() string {
	var b strings.Builder
	head := []string{"work", "must", "wants", "peer (watermill)", "bare loop", "waybill", "waybill/bare", "met"}
	fmt.Fprintln(&b, markdownRow(head))
	fmt.Fprintln(&b, markdownRule(len(head)))
	for _, row := range t.rows {
		fmt.Fprintln(&b, markdownRow(row))
	}
	fmt.Fprintf(&b, "\n%d cores, %s/%s, %s; medians of up to %d rounds.\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), t.rounds)
	return b.String()
}

func markdownRow(cells []string) string { return "| " + strings.Join(cells, " | ") + " |" }

func markdownRule(columns int) string { return strings.Repeat("|---", columns) + "|" }

// missed is an error that names what waybill had to reach and did not.
func (t table) missed() error {
	if len(t.misses) == 0 {
		return nil
	}
	return errors.New("missed: " + strings.Join(t.misses, "; "))
}
