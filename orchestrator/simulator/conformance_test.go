package simulator_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// TestClient sees the API's client and the simulator understand one another, through a whole life of items and jobs.
func TestClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := simulator.New(simulator.Config{
			ListReadsPerMinute: -1, ClientID: "app", ClientSecret: "secret", Robots: simulator.Robots{Count: 1},
		})
		defer sim.Close()
		sim.AddFolder("Finance/Invoices")
		if _, err := sim.AddQueue("Finance/Invoices", simulator.Queue{Name: "Unique", Unique: true, MaxRetries: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := sim.AddRelease("Finance/Invoices", "Post invoices"); err != nil {
			t.Fatal(err)
		}
		client, err := orchestrator.New(orchestrator.Config{
			BaseURL:   "https://orchestrator.test/acme/prod/orchestrator_",
			Login:     orchestrator.ClientCredentials{ClientID: "app", ClientSecret: "secret", Scopes: []string{"OR.Queues", "OR.Jobs", "OR.Execution.Read", "OR.Folders.Read"}},
			Transport: sim.RoundTripper(),
		})
		if err != nil {
			t.Fatal(err)
		}
		folder, err := client.Folder(t.Context(), orchestrator.FolderRef{Path: "Finance/Invoices"})
		if err != nil {
			t.Fatal(err)
		}
		clientItems(t, sim, client, folder)
		clientJobs(t, client, folder)
		// The licence is migrated: the client finds the folder again by its key.
		sim.RenumberFolders()
		if _, err := client.QueueDefinitionByName(t.Context(), folder, "Nope"); !errors.Is(err, orchestrator.ErrNotFound) {
			t.Errorf("queue that does not exist: got %v, want ErrNotFound", err)
		}
	})
}

func clientItems(t *testing.T, sim *simulator.Server, client *orchestrator.Client, folder orchestrator.Folder) {
	t.Helper()
	queue, err := client.QueueDefinitionByName(t.Context(), folder, "UNIQUE")
	if err != nil || !queue.EnforceUniqueReference || queue.Name != "Unique" {
		t.Fatalf("queue: got %+v, %v", queue, err)
	}
	content := json.RawMessage(`{"Amount":12.50,"Due":"2026-12-01T00:00:00.000Z","Note":null}`)
	data := orchestrator.QueueItemData{Name: "Unique", Reference: "R'1", SpecificContent: content}
	added, err := client.AddQueueItem(t.Context(), folder, data)
	if err != nil || !orchestrator.SameContent(content, added.SpecificContent) {
		t.Fatalf("add: got %+v, %v", added, err)
	}
	if _, err := client.AddQueueItem(t.Context(), folder, data); !errors.Is(err, orchestrator.ErrDuplicateReference) {
		t.Errorf("add again: got %v, want ErrDuplicateReference", err)
	}
	bulk := orchestrator.BulkAddQueueItemsRequest{QueueName: "Unique", CommitType: orchestrator.ProcessAllIndependently}
	for i := range 150 {
		data.Reference = "R'" + strconv.Itoa(i)
		bulk.QueueItems = append(bulk.QueueItems, data)
	}
	response, err := client.BulkAddQueueItems(t.Context(), folder, bulk)
	if err != nil || response.Success || len(response.FailedItems) != 1 || *response.FailedItems[0].Ordinal != 2 {
		t.Errorf("bulk: got %+v, %v", response, err)
	}
	listed := 0
	query := orchestrator.Query{Filter: orchestrator.Eq("Status", "New")}
	for item, err := range client.QueueItems(t.Context(), folder, query) {
		if err != nil || item.QueueDefinitionID != queue.ID {
			t.Fatalf("list: got %+v, %v", item, err)
		}
		listed++
	}
	if listed != 150 {
		t.Errorf("list: got %d items, want 150", listed)
	}
	successor, err := sim.FinishQueueItem(added.ID, simulator.Result{Status: "Failed"})
	if err != nil {
		t.Fatal(err)
	}
	if last, err := client.QueueItemLastRetry(t.Context(), folder, added.ID); err != nil || last.ID != successor {
		t.Errorf("last retry: got %+v, %v; want %d", last, err, successor)
	}
}

func clientJobs(t *testing.T, client *orchestrator.Client, folder orchestrator.Folder) {
	t.Helper()
	release, err := client.ReleaseByName(t.Context(), folder, "Post invoices")
	if err != nil {
		t.Fatal(err)
	}
	const batch = "7d382470-0000-4000-8000-000000000001"
	jobs, err := client.StartJobs(t.Context(), folder, orchestrator.StartInfo{
		ReleaseKey: release.Key, Strategy: "ModernJobsCount", JobsCount: 1, InputArguments: `{"a":1}`, Reference: "run", BatchExecutionKey: batch,
	})
	if err != nil || len(jobs) != 1 || jobs[0].State != "Pending" {
		t.Fatalf("start: got %+v, %v", jobs, err)
	}
	time.Sleep(time.Minute)
	job, err := client.Job(t.Context(), folder, jobs[0].ID)
	if err != nil || job.State != "Successful" || job.BatchExecutionKey != batch || job.OutputArguments != `{"a":1}` {
		t.Errorf("job: got %+v, %v", job, err)
	}
	found := 0
	for _, err := range client.Jobs(t.Context(), folder, orchestrator.Query{Filter: "BatchExecutionKey eq " + batch + " and Reference eq 'run'"}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
	}
	if found != 1 {
		t.Errorf("jobs of the batch: got %d, want 1", found)
	}
}
