package orchestrator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// newTenant gives a simulated tenant with a folder, a plain and a unique queue
// and a process, and a client of it.
func newTenant(t *testing.T, sim simulator.Config, change ...func(*orchestrator.Config)) (*simulator.Server, *orchestrator.Client) {
	t.Helper()
	server := simulator.New(sim)
	t.Cleanup(server.Close)
	for _, queue := range []simulator.Queue{{Name: "Invoices"}, {Name: "Once", Unique: true, MaxRetries: 1}} {
		if _, err := server.AddQueue("Finance", queue); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := server.AddRelease("Finance", "Pay invoices"); err != nil {
		t.Fatal(err)
	}
	cfg := orchestrator.Config{
		BaseURL:   "https://cloud.uipath.com/acme/prod/orchestrator_",
		Login:     orchestrator.ClientCredentials{ClientID: "app", ClientSecret: "secret"},
		Transport: server.RoundTripper(),
	}
	for _, f := range change {
		f(&cfg)
	}
	client, err := orchestrator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return server, client
}

// TestEveryCallAgainstASimulatedTenant goes over the network: headers, bodies
// and answers as they are on the wire.
func TestEveryCallAgainstASimulatedTenant(t *testing.T) {
	t.Parallel()
	network := httptest.NewUnstartedServer(nil)
	server, client := newTenant(t, simulator.Config{}, func(c *orchestrator.Config) {
		c.Transport = nil
		c.BaseURL = "http://" + network.Listener.Addr().String() + "/acme/prod/orchestrator_"
	})
	network.Config.Handler = server
	network.Start()
	t.Cleanup(network.Close)
	ctx := t.Context()

	folder, err := client.Folder(ctx, orchestrator.FolderRef{Path: "Finance"})
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []orchestrator.FolderRef{{Key: folder.Key}, {ID: folder.ID}} {
		if same, err := client.Folder(ctx, ref); err != nil || same.ID != folder.ID {
			t.Errorf("%s: got %+v, %v", ref, same, err)
		}
	}
	if _, err := client.Folder(ctx, orchestrator.FolderRef{Path: "Nope"}); !errors.Is(err, orchestrator.ErrNotFound) {
		t.Errorf("missing folder: got %v", err)
	}

	queue, err := client.QueueDefinitionByName(ctx, folder, "ONCE")
	if err != nil || queue.Name != "Once" || !queue.EnforceUniqueReference || queue.MaxNumberOfRetries != 1 {
		t.Fatalf("got %+v, %v", queue, err)
	}
	content := json.RawMessage(`{"Amount": 12.50, "Id": 9007199254740993, "Due": "2026-12-01T00:00:00.000Z", "Due@odata.type": "#String", "None": null}`)
	item := orchestrator.QueueItemData{Name: "Once", Reference: "O'Brien 1", Priority: "High", SpecificContent: content}
	added, err := client.AddQueueItem(ctx, folder, item)
	if err != nil || added.Status != "New" || added.Reference != item.Reference {
		t.Fatalf("got %+v, %v", added, err)
	}
	if !orchestrator.SameContent(content, added.SpecificContent) {
		t.Errorf("sent %s, got back %s", content, added.SpecificContent)
	}
	if _, err := client.AddQueueItem(ctx, folder, item); !errors.Is(err, orchestrator.ErrDuplicateReference) {
		t.Errorf("same Reference again: got %v", err)
	}
	bulk, err := client.BulkAddQueueItems(ctx, folder, orchestrator.BulkAddQueueItemsRequest{
		QueueName: "Once", CommitType: orchestrator.ProcessAllIndependently,
		QueueItems: []orchestrator.QueueItemData{{Reference: "2"}, item, {Reference: "3"}},
	})
	if err != nil || len(bulk.FailedItems) != 1 || *bulk.FailedItems[0].Ordinal != 2 || bulk.FailedItems[0].ErrorCode != "DuplicateReference" {
		t.Errorf("got %+v, %v, want item 2 refused", bulk, err)
	}

	filter := orchestrator.And(orchestrator.EqInt("QueueDefinitionId", queue.ID), orchestrator.In("Reference", "O'Brien 1", "3"))
	found := map[string]int64{}
	for item, err := range client.QueueItems(ctx, folder, orchestrator.Query{Filter: filter}) {
		if err != nil {
			t.Fatal(err)
		}
		found[item.Reference] = item.ID
	}
	if len(found) != 2 || found["O'Brien 1"] != added.ID {
		t.Errorf("got %v", found)
	}
	if _, err := server.FinishQueueItem(added.ID, simulator.Result{Status: "Failed"}); err != nil {
		t.Fatal(err)
	}
	if got, err := client.QueueItem(ctx, folder, added.ID); err != nil || got.Status != "Retried" || got.Ended() {
		t.Errorf("got %+v, %v, want Retried", got, err)
	}
	if got, err := client.QueueItemLastRetry(ctx, folder, added.ID); err != nil || got.Status != "New" || got.ID == added.ID || got.AncestorID == nil {
		t.Errorf("got %+v, %v, want the successor", got, err)
	}

	release, err := client.ReleaseByName(ctx, folder, "Pay invoices")
	if err != nil || release.Name != "Pay invoices" {
		t.Fatalf("got %+v, %v", release, err)
	}
	jobs, err := client.StartJobs(ctx, folder, orchestrator.StartInfo{
		ReleaseKey: release.Key, Strategy: "ModernJobsCount", JobsCount: 1, Reference: "run-7",
		InputArguments: `{"a":1}`, BatchExecutionKey: "7d382470-2b1e-4f6e-8f7b-0c8f4a9d1e02",
	})
	if err != nil || len(jobs) != 1 || jobs[0].Reference != "run-7" || jobs[0].BatchExecutionKey != "7d382470-2b1e-4f6e-8f7b-0c8f4a9d1e02" {
		t.Fatalf("got %+v, %v", jobs, err)
	}
	if got, err := client.Job(ctx, folder, jobs[0].ID); err != nil || got.State != "Pending" || !orchestrator.SameArguments(`{"a":1.0}`, got.InputArguments) {
		t.Errorf("got %+v, %v", got, err)
	}
	byKey := orchestrator.Query{Filter: orchestrator.And(
		orchestrator.EqGUID("BatchExecutionKey", jobs[0].BatchExecutionKey), orchestrator.Ge("CreationTime", jobs[0].CreationTime.Add(-time.Second)))}
	for job, err := range client.Jobs(ctx, folder, byKey) {
		if err != nil || job.ID != jobs[0].ID {
			t.Errorf("got %+v, %v", job, err)
		}
	}
	if _, err := client.Job(ctx, folder, 1<<40); !errors.Is(err, orchestrator.ErrNotFound) {
		t.Errorf("missing job: got %v", err)
	}

	server.RenumberFolders()
	if _, err := client.AddQueueItem(ctx, folder, orchestrator.QueueItemData{Name: "Invoices", Reference: "4"}); err != nil {
		t.Errorf("after the folder's id changed: %v", err)
	}
	if got := server.Calls()["Token"]; got != 1 {
		t.Errorf("got %d logins, want 1", got)
	}
}

// TestKindsTellTheTruth starts jobs and adds items under all faults at once and
// compares what the client says with what came to be. No call may ever have two
// effects, for the client repeats nothing that may be done.
func TestKindsTellTheTruth(t *testing.T) {
	t.Parallel()
	for seed := range int64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server, client := newTenant(t, simulator.Config{Seed: seed}, func(c *orchestrator.Config) { c.RetryFor = 3 * time.Second })
				ctx := t.Context()
				folder, err := client.Folder(ctx, orchestrator.FolderRef{Path: "Finance"})
				if err != nil {
					t.Fatal(err)
				}
				release, err := client.ReleaseByName(ctx, folder, "Pay invoices")
				if err != nil {
					t.Fatal(err)
				}
				if err := server.SetFaults(simulator.Faults{Rate: 0.6}); err != nil {
					t.Fatal(err)
				}
				said := map[string]error{}
				for i := range 150 {
					reference := fmt.Sprintf("R%d", i)
					if i%2 == 0 {
						_, said[reference] = client.StartJobs(ctx, folder, orchestrator.StartInfo{
							ReleaseKey: release.Key, Strategy: "ModernJobsCount", JobsCount: 1, Reference: reference,
						})
					} else {
						_, said[reference] = client.AddQueueItem(ctx, folder, orchestrator.QueueItemData{Name: "Invoices", Reference: reference})
					}
				}
				time.Sleep(time.Minute) // what is late has come by now
				tally := map[orchestrator.Kind]int{}
				for reference, err := range said {
					effects := len(server.EffectsOf(reference))
					kind := orchestrator.Kind(0)
					if e, ok := errors.AsType[*orchestrator.Error](err); ok {
						kind = e.Kind
					}
					tally[kind]++
					switch {
					case effects > 1,
						err == nil && effects != 1,
						kind == orchestrator.Transient && effects != 0,
						err != nil && kind != orchestrator.Transient && kind != orchestrator.Uncertain:
						t.Errorf("%s has %d effects, the client said %v", reference, effects, err)
					}
				}
				if tally[0] == 0 || tally[orchestrator.Uncertain] == 0 {
					t.Errorf("got %v, too one-sided to show anything", tally)
				}
			})
		})
	}
}
