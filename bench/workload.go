package main

import (
	"fmt"
	"slices"
	"time"
)

// side is who carries the requests out.
type side string

const (
	sideWaybill   side = "waybill"
	sideBare      side = "bare"
	sideWatermill side = "watermill"
)

func parseSide(name string) (side, error) {
	for _, s := range []side{sideWaybill, sideBare, sideWatermill} {
		if string(s) == name {
			return s, nil
		}
	}
	return "", fmt.Errorf("side %q: use waybill, bare or watermill", name)
}

// The kinds of requests, as subjects have them.
const (
	kindItems = "items"
	kindJobs  = "jobs"
)

// workload is what is to be carried out, and under which circumstances.
type workload struct {
	name      string
	kind      string
	count     int // requests
	lanes     int // queues or processes that they are spread over
	body      int // bytes of a request, about
	latency   time.Duration
	always    bool // the server syncs every write
	inFlight  int
	bulk      int
	sides     []side
	maxRounds int // of the table; 0: as many as asked for
	// pace is how many requests a second are published while the side runs; 0:
	// all of them before it starts.
	pace int
	// faults has a simulated Orchestrator in place of the stub, which fails,
	// and the worker killed in the middle.
	faults bool
	seed   int // of the faults
	// processes is how many worker processes share the work.
	processes int
	// ledger is how many other keys have been carried out before.
	ledger int
	// beside are other tenants that the same worker serves. Nothing of theirs is
	// in the figures but what the processes take in all.
	beside []neighbour
	// restart has the server started anew when all is done, and its time taken.
	restart bool
}

// peerShare is how much of a workload the peer gets: it carries one message
// at a time, and its rate does not depend on how many there are.
const peerShare = 0.2

// memoryBody is smaller than defaultBody: a million of the others are more
// than a benchmark should write.
const (
	defaultBody = 500
	memoryBody  = 300
)

// slowCalls is longer than a run: all that a slow tenant lets a worker have in
// flight is so from the beginning to the end, whatever else the machine does.
const slowCalls = 10 * time.Second

var allSides = []side{sideWatermill, sideBare, sideWaybill}

// workloads are those of the table, in its order.
func workloads() []workload {
	two := []side{sideBare, sideWaybill}
	list := []workload{
		{name: "items", count: 100_000, sides: allSides},
		{name: "tenants", count: 100_000, sides: []side{sideWaybill}, beside: []neighbour{
			{tenant: "Denied", count: 20_000, denied: true},
			{tenant: "Slow", count: 20_000, latency: slowCalls},
		}},
		{name: "items-always", count: 100_000, always: true, sides: two},
		{name: "items-20ms", count: 20_000, latency: 20 * time.Millisecond, sides: allSides},
		{name: "jobs-20ms", kind: kindJobs, count: 20_000, latency: 20 * time.Millisecond, inFlight: 64, bulk: 1, sides: allSides},
		{name: "faults", count: 20_000, latency: 20 * time.Millisecond, bulk: 50, sides: []side{sideWaybill}, faults: true},
		{name: "latency", count: 1_000, pace: 50, sides: two},
		{name: "queues", count: 200_000, lanes: 200, sides: two, maxRounds: 2},
		{name: "memory", count: 1_000_000, body: memoryBody, sides: two, maxRounds: 1},
	}
	for _, bytes := range []int{300, 1024, 4096, 8192} {
		list = append(list, workload{name: fmt.Sprintf("sizes-%d", bytes), count: 50_000, body: bytes, sides: two, maxRounds: 2})
	}
	for i := range list {
		list[i] = list[i].withDefaults()
	}
	return list
}

func (w workload) withDefaults() workload {
	if w.kind == "" {
		w.kind = kindItems
	}
	w.lanes = max(w.lanes, 1)
	w.processes = max(w.processes, 1)
	if w.body == 0 {
		w.body = defaultBody
	}
	if w.inFlight == 0 {
		w.inFlight = 16
	}
	if w.bulk == 0 {
		w.bulk = 500
	}
	return w
}

// scaled is the workload with fewer requests.
func (w workload) scaled(scale float64) workload {
	w.count = max(int(float64(w.count)*scale), w.lanes, 1)
	w.beside = slices.Clone(w.beside)
	for i := range w.beside {
		w.beside[i].count = max(int(float64(w.beside[i].count)*scale), 1)
	}
	return w
}

// forSide is what of the workload that side gets.
func (w workload) forSide(s side) workload {
	if s == sideWatermill {
		return w.scaled(peerShare)
	}
	return w
}

// findWorkload finds one by its name.
func findWorkload(name string) (workload, error) {
	list := workloads()
	i := slices.IndexFunc(list, func(w workload) bool { return w.name == name })
	if i < 0 {
		return workload{}, fmt.Errorf("workload %q: there are %v", name, workloadNames())
	}
	return list[i], nil
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads() {
		names = append(names, w.name)
	}
	return names
}
