package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func robotsPath(folderID int64) string {
	return fmt.Sprintf("/odata/Robots/UiPath.Server.Configuration.OData.GetRobotsFromFolder(folderId=%d)", folderID)
}

func machinesPath(folderID int64) string {
	return fmt.Sprintf("/odata/Sessions/UiPath.Server.Configuration.OData.GetMachineSessionRuntimesByFolderId(folderId=%d)", folderID)
}

func TestRobotsAndMachinesOfAFolder(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	folder, other := s.AddFolder(testFolder), s.AddFolder("Other")
	for _, name := range []string{"payer", "teller"} {
		if _, err := s.AddRobot(testFolder, Robot{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddMachine("Other", Machine{Name: "pool", Host: "HOST1"}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Value []struct {
			Name, MachineName, Type, RuntimeType, Status string
			Runtimes                                     int64
		}
	}
	c.get(http.StatusOK, robotsPath(folder.ID)+"?$orderby=Id&$filter="+url.QueryEscape("Name eq 'teller'")).decode(t, &got)
	if len(got.Value) != 1 || got.Value[0].Name != "teller" || got.Value[0].Type != "Unattended" {
		t.Errorf("robots: got %+v", got)
	}
	c.get(http.StatusOK, machinesPath(other.ID)).decode(t, &got)
	if len(got.Value) != 1 || got.Value[0].MachineName != "pool" || got.Value[0].RuntimeType != "Unattended" || got.Value[0].Status != "Available" || got.Value[0].Runtimes != 1 {
		t.Errorf("machines: got %+v", got)
	}
	for _, path := range []string{robotsPath(other.ID), machinesPath(folder.ID)} {
		if rows := c.get(http.StatusOK, path).rows(t); len(rows) != 0 {
			t.Errorf("%s: got %d", path, len(rows))
		}
	}
	for _, path := range []string{robotsPath(1), machinesPath(1)} {
		if got := c.get(http.StatusBadRequest, path).code(t); got != codeUnknownFolder {
			t.Errorf("%s: got code %d", path, got)
		}
	}
	c.header.Set("Authorization", "Bearer "+c.login(http.StatusOK, url.Values{"scope": {"OR.Jobs"}}).token(t))
	c.get(http.StatusForbidden, robotsPath(folder.ID))
	c.get(http.StatusForbidden, machinesPath(folder.ID))
	c.header.Set("Authorization", "Bearer "+c.login(http.StatusOK, url.Values{"scope": {"OR.Robots.Read"}}).token(t))
	c.get(http.StatusOK, robotsPath(folder.ID))
	c.get(http.StatusOK, machinesPath(folder.ID))
}

func TestRobotsAndMachinesAreChecked(t *testing.T) {
	t.Parallel()
	s, _ := setup(t, Config{})
	for _, name := range []string{"", "a name that is too long"} {
		if _, err := s.AddRobot(testFolder, Robot{Name: name}); err == nil {
			t.Errorf("robot %q was taken", name)
		}
	}
	if _, err := s.AddMachine(testFolder, Machine{}); err == nil {
		t.Error("a machine without name was taken")
	}
}

// Parameters come where they are asked for.
func TestReleaseArguments(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	if _, err := s.AddRelease(testFolder, "Pay", Release{
		Inputs:  []Argument{{Name: "in_Batch", Type: "System.Int32", Required: true}},
		Outputs: []Argument{{Name: "out_Paid", Type: "System.Boolean", HasDefault: true}},
	}); err != nil {
		t.Fatal(err)
	}
	type arguments struct{ Input, Output *string }
	for query, want := range map[string]arguments{
		"": {},
		"&$expand=Arguments": {
			Input:  new(`[{"name":"in_Batch","type":"System.Int32","required":true,"hasDefault":false}]`),
			Output: new(`[{"name":"out_Paid","type":"System.Boolean","required":false,"hasDefault":true}]`),
		},
	} {
		var got struct {
			Value []struct{ Arguments arguments }
		}
		c.get(http.StatusOK, "/odata/Releases?$filter="+url.QueryEscape("Name eq 'Pay'")+query).decode(t, &got)
		if len(got.Value) != 1 {
			t.Fatalf("got %+v", got)
		}
		if diff := cmp.Diff(want, got.Value[0].Arguments); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
	}
}
