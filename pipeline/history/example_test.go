package history_test

import (
	"fmt"
	"os"

	"waybill/pipeline"
	"waybill/pipeline/history"
)

// A run of three requests: one was carried out after its answer had been lost,
// one was carried out twice, and of the last nobody knows.
func ExampleCheck() {
	invoices := pipeline.Lane{Tenant: "Default", Folder: "Finance", Kind: pipeline.KindItem, Name: "Invoices"}
	key := func(name string) history.Key { return history.Key{Lane: invoices, Key: name} }
	outcome := func(name string, status pipeline.Status, by pipeline.DecidedBy) pipeline.Outcome {
		return pipeline.Outcome{
			Key: name, Generation: 1, Kind: invoices.Kind, Tenant: invoices.Tenant, Folder: invoices.Folder, Queue: invoices.Name,
			Stage: pipeline.StageFinal, Status: status, DecidedBy: by,
		}
	}
	unknown := outcome("INV-3", pipeline.StatusUnknown, pipeline.ByLookup)
	unknown.Error = &pipeline.OutcomeError{Kind: "in_doubt", Message: "two items carry the Reference"}

	report := history.Check(history.Run{
		Requests: []history.Request{{Key: key("INV-1")}, {Key: key("INV-1")}, {Key: key("INV-2")}, {Key: key("INV-3")}},
		Effects:  []history.Effect{{Key: key("INV-1"), ID: 17}, {Key: key("INV-2"), ID: 18}, {Key: key("INV-2"), ID: 23}},
		Outcomes: []pipeline.Outcome{
			outcome("INV-1", pipeline.StatusAccepted, pipeline.ByLookup),
			outcome("INV-2", pipeline.StatusAccepted, pipeline.ByAnswer),
			unknown,
		},
	})
	fmt.Println(report)
	for _, v := range report.Verdicts {
		fmt.Println(v.Key, v.Verdict)
	}
	report.Verdicts = report.Verdicts[:1]
	_ = report.WriteVerdicts(os.Stdout)
	// Output:
	// effects: 3, duplicates: 1, lost: 0
	// INV-1 held: accepted by lookup, 1 effect (item 17)
	// INV-2 BROKEN: 2 effects: [18 23]
	// INV-3 unknown: two items carry the Reference (no effect)
	// {"lane":"Default:Finance:items:Invoices","key":"INV-1","copies":2,"effects":[17],"outcomes":[{"generation":1,"status":"accepted","decidedBy":"lookup"}],"deadLetters":0,"held":true,"verdict":"held: accepted by lookup, 1 effect (item 17)"}
}
