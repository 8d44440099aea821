package orchestrator

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFolderRobotsAndMachines(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("X-Uipath-Organizationunitid"); got != "7" {
			t.Errorf("got folder %q, want 7", got)
		}
		order := r.URL.Query().Get("$orderby")
		switch path := strings.TrimPrefix(r.URL.Path, "/acme/prod/orchestrator_"); {
		case path == "/odata/Robots/UiPath.Server.Configuration.OData.GetRobotsFromFolder(folderId=7)" && order == "Id":
			reply(w, 200, `{"value":[{"Id":3,"Name":"payer","Username":"ACME\\payer","Type":"Unattended","HostingType":"Floating","MachineId":null,"Enabled":true,"LicenseKey":"k","Password":"p"}]}`)
		case path == "/odata/Sessions/UiPath.Server.Configuration.OData.GetMachineSessionRuntimesByFolderId(folderId=7)" && order == "MachineId,SessionId":
			reply(w, 200, `{"value":[{"SessionId":1,"MachineId":2,"MachineName":"pool","HostMachineName":"HOST1","RuntimeType":"Unattended","Status":"Available","Runtimes":4,"UsedRuntimes":1,"ReportingTime":null}]}`)
		default:
			t.Errorf("got %s ordered by %q", path, order)
		}
	})
	for robot, err := range client.FolderRobots(t.Context(), testFolder, Query{}) {
		want := Robot{ID: 3, Name: "payer", Username: `ACME\payer`, Type: "Unattended", HostingType: "Floating", Enabled: new(true)}
		if diff := cmp.Diff(want, robot); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	for machine, err := range client.FolderMachines(t.Context(), testFolder, Query{}) {
		want := MachineRuntime{SessionID: 1, MachineID: 2, MachineName: "pool", HostMachineName: "HOST1", RuntimeType: "Unattended", Status: "Available", Runtimes: 4, UsedRuntimes: 1}
		if diff := cmp.Diff(want, machine); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestFolderRobotsWithoutRights(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, answers(403, `{"message":"You are not authorized!","errorCode":0}`))
	for _, err := range client.FolderRobots(t.Context(), testFolder, Query{}) {
		e := asError(t, err, Denied)
		if e.Class != Reads || e.LoginRefused() {
			t.Errorf("got class %s, login refused %t", e.Class, e.LoginRefused())
		}
		wantText(t, e.Error(), "list robots: 403 Forbidden")
	}
}

// Some versions refuse to expand what is no entity.
func TestReleasesWithArguments(t *testing.T) {
	t.Parallel()
	const entry = `{"value":[{"Id":1,"Key":"k","Name":"Pay","Arguments":{"Input":"[]","Output":null}}]}`
	for name, test := range map[string]struct {
		refusal http.HandlerFunc
		want    Kind
		calls   int
	}{
		"taken":                   {nil, 0, 1},
		"refused":                 {answers(400, `{"message":"Invalid OData query options.","errorCode":0}`), 0, 2},
		"the folder is unknown":   {answers(400, `{"message":"Folder does not exist","errorCode":1100}`), Rejected, 2}, // once to look the folder up
		"no right to read it":     {answers(403, `{}`), Denied, 1},
		"the server has a crisis": {answers(500, `{}`), Transient, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
				calls++
				if r.URL.Query().Get("$expand") == "Arguments" && test.refusal != nil || strings.Contains(r.URL.Path, "/Folders/") {
					test.refusal(w, r)
					return
				}
				reply(w, 200, entry)
			})
			for release, err := range client.ReleasesWithArguments(t.Context(), testFolder, Query{}) {
				if test.want != 0 {
					wantKind(t, err, test.want)
				} else if err != nil || release.Name != "Pay" {
					t.Errorf("got %+v, %v", release, err)
				}
			}
			if calls != test.calls {
				t.Errorf("got %d calls, want %d", calls, test.calls)
			}
		})
	}
}
