package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"waybill/orchestrator"
)

// newExampleServer answers as an Orchestrator on-premises would.
func newExampleServer() *httptest.Server {
	mux := http.NewServeMux()
	for path, answer := range map[string]string{
		"POST /identity/connect/token": `{"access_token":"t","expires_in":3600,"token_type":"Bearer"}`,
		"GET /odata/Folders":           `{"value":[{"Id":7,"FullyQualifiedName":"Finance"}]}`,
		"GET /odata/Releases":          `{"value":[{"Id":12,"Key":"6f459380-1b98-4f33-9682-6f8a7457490f","Name":"Pay invoices"}]}`,
		"POST /odata/Jobs/UiPath.Server.Configuration.OData.StartJobs": `{"value":[{"Id":12287,"Key":"8652d3bb-0d4c-4a55-9b9e-9a6a2c1f0c01","State":"Pending","Reference":"run-7"}]}`,
		"POST /odata/Queues/UiPathODataSvc.BulkAddQueueItems": `{"Success":false,"Message":"Some items were not added.",
			"FailedItems":[{"Ordinal":2,"ErrorCode":"DuplicateReference","ErrorMessage":"Duplicate Reference."}]}`,
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, answer)
		})
	}
	return httptest.NewServer(mux)
}

func ExampleClient_StartJobs() {
	server := newExampleServer()
	defer server.Close()
	ctx := context.Background()

	client, err := orchestrator.New(orchestrator.Config{
		BaseURL: server.URL,
		Login:   orchestrator.ClientCredentials{ClientID: "app", ClientSecret: "secret"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	folder, err := client.Folder(ctx, orchestrator.FolderRef{Path: "Finance"})
	if err != nil {
		fmt.Println(err)
		return
	}
	release, err := client.ReleaseByName(ctx, folder, "Pay invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	jobs, err := client.StartJobs(ctx, folder, orchestrator.StartInfo{
		ReleaseKey:     release.Key,
		Strategy:       "ModernJobsCount",
		JobsCount:      1,
		InputArguments: `{"in_Date":"2026-11-22"}`,
		Reference:      "run-7",
	})
	if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Uncertain {
		fmt.Println("look for a job with this Reference before another try")
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(jobs[0].ID, jobs[0].State, jobs[0].Reference)
	// Output: 12287 Pending run-7
}

func ExampleClient_BulkAddQueueItems() {
	server := newExampleServer()
	defer server.Close()
	ctx := context.Background()

	client, err := orchestrator.New(orchestrator.Config{
		BaseURL: server.URL,
		Login:   orchestrator.PersonalAccessToken("rt_example"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseIdleConnections()
	folder, err := client.Folder(ctx, orchestrator.FolderRef{Path: "Finance"})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.BulkAddQueueItems(ctx, folder, orchestrator.BulkAddQueueItemsRequest{
		QueueName:  "Invoices",
		CommitType: orchestrator.ProcessAllIndependently,
		QueueItems: []orchestrator.QueueItemData{
			{Reference: "INV-1", SpecificContent: json.RawMessage(`{"Amount":12.50}`)},
			{Reference: "INV-2", SpecificContent: json.RawMessage(`{"Amount":99.00}`)},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, failed := range answer.FailedItems {
		fmt.Println("item", *failed.Ordinal, failed.ErrorCode)
	}
	// Output: item 2 DuplicateReference
}
