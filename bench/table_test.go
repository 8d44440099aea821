package main

import (
	"slices"
	"strings"
	"testing"
)

func TestRatiosAreTakenWithinARound(t *testing.T) {
	t.Parallel()
	all := results{
		{Workload: "items", Side: sideBare, Round: 1, Rate: 100},
		{Workload: "items", Side: sideWaybill, Round: 1, Rate: 50},
		{Workload: "items", Side: sideWaybill, Round: 2, Rate: 20},
		{Workload: "items", Side: sideBare, Round: 2, Rate: 20},
		{Workload: "items", Side: sideBare, Round: 3, Rate: 100}, // the other side of this round is not there
		{Workload: "queues", Side: sideBare, Round: 1, Rate: 1},
	}
	got := all.ratios(line{workload: "items", read: rate})
	if len(got) != 2 || got[0] != 0.5 || got[1] != 1 {
		t.Errorf("ratios %v, want [0.5 1]", got)
	}
}

// TestRatiosToAnotherWorkload: they are waybill's to waybill's, have their own
// words, and are not judged where there is nothing to judge them by.
func TestRatiosToAnotherWorkload(t *testing.T) {
	t.Parallel()
	const work = "100,000 items beside a tenant that denies logins and one that is slow"
	all := results{
		{Workload: "tenants", Side: sideWaybill, Round: 1, Rate: 44_000},
		{Workload: "items", Side: sideBare, Round: 1, Rate: 100_000},
		{Workload: "items", Side: sideWaybill, Round: 1, Rate: 50_000},
	}
	for name, test := range map[string]struct {
		all  results
		want string
	}{
		"beside it": {all, "| 44,000/s | 0.88 of the first row | no |"},
		"alone":     {all[:1], "| 44,000/s | – | – |"},
	} {
		want := "| " + work + " | ≥ 0.90 of the first row | ≥ 0.95 of the first row | – | – " + test.want + "\n"
		if got := newTable(test.all, true).markdown(); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
	if err := newTable(all[:1], true).missed(); err != nil {
		t.Errorf("judged without the other workload: %v", err)
	}
}

func TestComparedWorkloadsShareTheirRounds(t *testing.T) {
	t.Parallel()
	for _, only := range [][]string{{"queues", "tenants", "items"}, {"tenants", "queues"}, nil} {
		list, err := tableFlags{only: only}.selected()
		if err != nil {
			t.Fatal(err)
		}
		groups := together(list)
		shared := slices.ContainsFunc(groups, func(group []workload) bool {
			return len(group) == 2 && group[0].name == "items" && group[1].name == "tenants"
		})
		if both := len(list) != 2; shared != both || both && len(groups) != len(list)-1 {
			t.Errorf("of %v: %d groups, items and tenants in one: %t", only, len(groups), shared)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	least := target{must: 0.4, wants: 0.85}
	most := target{must: 96, wants: 48, most: true}
	for _, test := range []struct {
		target target
		value  float64
		want   string
	}{
		{least, 0.9, metWants},
		{least, 0.85, metWants},
		{least, 0.4, metMust},
		{least, 0.39, missed},
		{least, median(nil), missed},
		{most, 48, metWants},
		{most, 96, metMust},
		{most, 97, missed},
		{most, median(nil), missed},
	} {
		if got := test.target.judge(test.value); got != test.want {
			t.Errorf("%+v judges %v as %q, want %q", test.target, test.value, got, test.want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	all := results{
		{Workload: "items", Side: sideBare, Round: 1, Count: 100_000, Rate: 50_000, WorkerCPU: 1, Calls: 200},
		{Workload: "items", Side: sideWaybill, Round: 1, Count: 100_000, Rate: 45_000, WorkerCPU: 3.5, Calls: 210},
		{Workload: "items", Side: sideWatermill, Round: 1, Count: 20_000, Rate: 5_000, WorkerCPU: 2, Calls: 20_000},
	}
	table := newTable(all, true)
	want := strings.Join([]string{
		"| work | must | wants | peer (watermill) | bare loop | waybill | waybill/bare | met |",
		"|---|---|---|---|---|---|---|---|",
		"| 100,000 items, bulk 500, no latency | ≥ 0.40 of bare | ≥ 0.85 of bare | 5,000/s | 50,000/s | 45,000/s | 0.90 | wants |",
		"| worker CPU per 100,000 items | ≤ 3.00 s | ≤ 2.00 s | 10.00 s | 1.00 s | 3.50 s | 3.50 | no |",
		"| API calls per 1,000 items | ≤ 2.40 | ≤ 2.00 | 1000.00 | 2.00 | 2.10 | 1.05 | must |",
		"",
	}, "\n")
	got := table.markdown()
	if !strings.HasPrefix(got, want) {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
	if err := table.missed(); err == nil || err.Error() != "missed: worker CPU per 100,000 items" {
		t.Errorf("missed: %v", err)
	}
	if err := newTable(all, false).missed(); err != nil {
		t.Errorf("targets are judged of a scaled table: %v", err)
	}
}

func TestBrokenPromiseFails(t *testing.T) {
	t.Parallel()
	all := results{
		{Workload: "faults", Side: sideWaybill, Round: 1, Verdict: verdict{Duplicates: 1}},
		{Workload: "items", Side: sideBare, Round: 1, Verdict: verdict{Lost: 1}}, // it promises nothing
	}
	if err := all.broken(); err == nil || !strings.Contains(err.Error(), "faults, round 1: the promise is broken: 1 duplicates") {
		t.Errorf("broken: %v", err)
	}
	if err := all[1:].broken(); err != nil {
		t.Errorf("the bare loop has promised nothing: %v", err)
	}
	for name, test := range map[string]struct {
		some   results
		judged bool
		want   string
	}{
		"a duplicate":             {all[:1], true, missed},
		"no outcome afterwards":   {results{{}}, true, missed},
		"a restart that was slow": {results{{Recovery: maxRecovery + 0.1}}, true, missed},
		"all well":                {results{{Recovery: 0.2}}, true, metMust},
		"at another scale":        {all[:1], false, none},
	} {
		if row := faultsRow(test.some, test.judged); row[len(row)-1] != test.want {
			t.Errorf("%s is judged %q, want %q", name, row[len(row)-1], test.want)
		}
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{0: "0", 999: "999", 1_000: "1,000", 123_456.7: "123,457", 1_000_000: "1,000,000"} {
		if got := thousands(value); got != want {
			t.Errorf("thousands(%v) = %q, want %q", value, got, want)
		}
	}
}
