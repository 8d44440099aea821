package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tour makes every call that the simulator answers, and every kind of error, and returns the exchanges. It is what the
// bodies are judged by.
func tour(t *testing.T) []exchange {
	t.Helper()
	var exchanges []exchange
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{ListReadsPerMinute: 30, Robots: Robots{Count: 1, FaultShare: 0.5}})
		c.record = func(x exchange) { exchanges = append(exchanges, x) }
		tourFolders(s, c)
		tourMachines(s, c)
		tourItems(s, c)
		tourJobs(c)
		tourErrors(s, c)
		tourLogins(s, c)
	})
	return exchanges
}

func tourFolders(s *Server, c *client) {
	c.tb.Helper()
	f := s.AddFolder(testFolder)
	c.get(http.StatusOK, "/odata/Folders?$count=true")
	c.get(http.StatusOK, fmt.Sprintf("/odata/Folders(%d)", f.ID))
	c.get(http.StatusOK, "/odata/Folders/UiPath.Server.Configuration.OData.GetByKey(identifier="+f.Key+")")
	c.get(http.StatusOK, "/api/Folders/GetAllForCurrentUser")
	if _, err := s.AddRelease(testFolder, "Strict", Release{
		InputArguments: `{"a":1}`, Inputs: []Argument{{Name: "a", Type: "System.Int32", Required: true}},
	}); err != nil {
		c.tb.Fatal(err)
	}
	c.get(http.StatusOK, "/odata/Releases?$expand=Arguments")
	for _, set := range []string{"Releases", "QueueDefinitions"} {
		rows := c.get(http.StatusOK, "/odata/"+set+"?$count=true&$top=2").rows(c.tb)
		c.get(http.StatusOK, "/odata/"+set+"("+string(rows[0]["Id"])+")")
		if set == "QueueDefinitions" {
			key := strings.Trim(string(rows[0]["Key"]), `"`)
			c.get(http.StatusOK, "/odata/QueueDefinitions/UiPath.Server.Configuration.OData.GetByKey(identifier="+key+")")
		}
	}
}

func tourMachines(s *Server, c *client) {
	c.tb.Helper()
	f := s.AddFolder(testFolder)
	_, err := s.AddRobot(testFolder, Robot{Name: "payer", Username: `ACME\payer`})
	_, err2 := s.AddMachine(testFolder, Machine{Name: "pool", Host: "HOST1", Runtimes: 4})
	_, err3 := s.AddMachine(testFolder, Machine{Name: "idle", RuntimeType: "NonProduction"})
	if err := errors.Join(err, err2, err3); err != nil {
		c.tb.Fatal(err)
	}
	c.get(http.StatusOK, fmt.Sprintf("/odata/Robots/UiPath.Server.Configuration.OData.GetRobotsFromFolder(folderId=%d)?$count=true&$orderby=Id", f.ID))
	c.get(http.StatusOK, fmt.Sprintf("/odata/Sessions/UiPath.Server.Configuration.OData.GetMachineSessionRuntimesByFolderId(folderId=%d)?$orderby=MachineId,SessionId", f.ID))
}

func tourItems(s *Server, c *client) {
	c.tb.Helper()
	id := c.post(http.StatusCreated, addPath, item("Unique", "R", object{
		"SpecificContent": object{"Text": "x", "Number": 1.5, "Flag": true, "Nothing": nil, "Date": "2026-01-01T00:00:00.000Z"},
		"DueDate":         "2027-01-01T00:00:00Z", "DeferDate": "2026-12-01T00:00:00Z", "RiskSlaDate": "2026-12-31T00:00:00Z",
		"Progress": "begun", "ParentOperationId": "op-1",
	})).created(c.tb)
	c.post(http.StatusCreated, addPath, `{"itemData":{"Name":"Invoices"}}`)
	c.post(http.StatusOK, bulkPath, bulk("Unique", processAllIndependently, "S", "R", "T"))
	c.post(http.StatusOK, bulkPath, bulk("Invoices", allOrNothing, "S"))
	if _, err := s.FinishQueueItem(id, Result{Status: "Failed", Exception: &Exception{Type: "ApplicationException", Reason: "down", Details: "at"}}); err != nil {
		c.tb.Fatal(err)
	}
	if _, err := s.FinishQueueItem(id+1, Result{Status: "Successful", Output: json.RawMessage(`{"Posted":true,"At":5}`)}); err != nil {
		c.tb.Fatal(err)
	}
	c.get(http.StatusOK, "/odata/QueueItems?$count=true&$expand=QueueDefinition")
	c.get(http.StatusOK, itemPath(id))
	c.get(http.StatusOK, itemPath(id+1))
	var shown struct{ UniqueKey string }
	c.get(http.StatusOK, itemPath(id)+"/UiPath.Server.Configuration.OData.GetItemLastRetry").decode(c.tb, &shown)
	c.get(http.StatusOK, "/odata/QueueItems/UiPathODataSvc.GetItemLastRetryByKey(key="+shown.UniqueKey+")")
	c.do(http.StatusNoContent, http.MethodDelete, itemPath(id+1), nil)
}

func tourJobs(c *client) {
	c.tb.Helper()
	jobs := c.post(http.StatusCreated, startPath, start(object{"JobsCount": 5, "Reference": "run"})).jobs(c.tb)
	time.Sleep(100 * time.Millisecond)
	c.get(http.StatusOK, jobPath(jobs[0].ID)) // Running
	c.get(http.StatusOK, jobPath(jobs[1].ID)) // Pending
	c.post(http.StatusOK, stopPath, object{"jobIds": []int64{jobs[4].ID}, "strategy": "Kill"})
	time.Sleep(time.Minute)
	c.get(http.StatusOK, "/odata/Jobs?$expand=Release&$count=true") // Successful, Faulted and Stopped
	c.get(http.StatusOK, "/odata/Jobs/UiPath.Server.Configuration.OData.GetByKey(identifier="+jobs[0].Key+")")
}

func tourErrors(s *Server, c *client) {
	c.tb.Helper()
	c.post(http.StatusConflict, addPath, item("Unique", "S"))
	c.post(http.StatusNotFound, addPath, item("NoSuchQueue", "R"))
	c.post(http.StatusBadRequest, addPath, object{})
	c.post(http.StatusNotFound, startPath, start(object{"ReleaseName": "Nope"}))
	c.post(http.StatusBadRequest, startPath, start(object{"JobPriority": "Low", "SpecificPriorityValue": 5}))
	c.get(http.StatusNotFound, jobPath(1))
	c.get(http.StatusNotFound, itemPath(1))
	c.get(http.StatusBadRequest, "/odata/QueueItems?$filter="+url.QueryEscape("Reference eq 'O'Brien'"))
	c.folder = ""
	c.get(http.StatusBadRequest, "/odata/Jobs")
	c.folder = "Nowhere"
	c.get(http.StatusBadRequest, "/odata/Jobs")
	c.folder = testFolder
	c.record(c.login(http.StatusOK, nil))
	c.record(c.login(http.StatusBadRequest, url.Values{"scope": {"offline_access"}}))
	c.header.Set("Authorization", "Bearer "+c.login(http.StatusOK, url.Values{"scope": {"OR.Jobs"}}).token(c.tb))
	c.get(http.StatusForbidden, "/odata/QueueItems")
	c.header.Del("Authorization")
	c.get(http.StatusUnauthorized, "/odata/QueueItems")
	c.header.Set("Authorization", "Bearer rt_test")
	for range 40 {
		if x, err := c.try(c.tb.Context(), http.MethodGet, "/odata/Jobs", nil); err != nil || x.status == http.StatusTooManyRequests {
			break
		}
	}
	tourFaults(s, c)
}

func tourFaults(s *Server, c *client) {
	c.tb.Helper()
	for _, kind := range FaultKinds() {
		if err := s.SetFaults(Faults{Rate: 1, Kinds: []FaultKind{kind}}); err != nil {
			c.tb.Fatal(err)
		}
		_, _ = c.try(c.tb.Context(), http.MethodPost, addPath, item("Invoices", "fault")) // recorded however it ends
	}
}

func tourLogins(s *Server, c *client) {
	c.tb.Helper()
	if err := s.SetFaults(Faults{}); err != nil {
		c.tb.Fatal(err)
	}
	user := c.redeem(http.StatusOK, codeOf(c.tb, s, nil), nil)
	c.record(user)
	c.record(c.refresh(http.StatusOK, user.granted(c.tb).RefreshToken, nil))
	c.record(c.refresh(http.StatusBadRequest, user.granted(c.tb).RefreshToken, nil))

	base, folder, header := c.base, c.folder, c.header
	defer func() { c.base, c.folder, c.header = base, folder, header }()
	c.base, c.folder, c.header = testHost, "", http.Header{}
	c.post(http.StatusOK, authenticatePath, passwordLogin("Default", "admin", "p"))
	c.post(http.StatusBadRequest, authenticatePath, passwordLogin("Default", "admin", ""))
	c.post(http.StatusBadRequest, "/oauth/token", strings.Replace(legacyBody, `"key"`, `""`, 1))
	token := c.post(http.StatusOK, "/oauth/token", legacyBody).granted(c.tb).AccessToken
	c.header = http.Header{"Authorization": {"Bearer " + token}}
	c.get(http.StatusOK, "/cloudrpa/api/getAccountsForUser")
	c.get(http.StatusOK, "/cloudrpa/api/account/acme/getAllServiceInstances")
}
