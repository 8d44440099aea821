package orchestrator

import (
	"context"
	"iter"
	"strconv"
	"time"
)

// Robot is a robot that may run a folder's jobs: in modern folders the one that
// belongs to a user, robot account or application assigned to the folder. What
// robots and machines log in with is in Orchestrator's answer and left there.
type Robot struct {
	ID            int64  `json:"Id"`
	Name          string `json:"Name"`
	Username      string `json:"Username"` // on the machine
	UserFullName  string `json:"UserFullName"`
	UserType      string `json:"UserType"` // DirectoryUser, DirectoryRobot, …
	Type          string `json:"Type"`     // Unattended, NonProduction, Attended, …
	HostingType   string `json:"HostingType"`
	ProvisionType string `json:"ProvisionType"`
	MachineName   string `json:"MachineName"` // empty for robots that use any machine
	MachineID     int64  `json:"MachineId"`
	Enabled       *bool  `json:"Enabled"` // nil where Orchestrator does not say
}

// FolderRobots lists the robots of a folder; scope OR.Robots.Read. It follows
// GetRobotsFromFolder on the page "Robots" of UiPath's API reference.
func (c *Client) FolderRobots(ctx context.Context, folder Folder, q Query) iter.Seq2[Robot, error] {
	path := "/odata/Robots/UiPath.Server.Configuration.OData.GetRobotsFromFolder(folderId=" + c.folderArgument(folder) + ")"
	return list[Robot](ctx, c, call{op: "list robots", class: Reads, path: path, folder: folder}, q, maxTop)
}

// MachineRuntime is what a machine of a folder has to offer: one kind of runtime
// on one of its hosts.
type MachineRuntime struct {
	SessionID       int64      `json:"SessionId"`
	MachineID       int64      `json:"MachineId"`
	MachineName     string     `json:"MachineName"`
	HostMachineName string     `json:"HostMachineName"` // a template has as many as are connected
	MachineType     string     `json:"MachineType"`     // Standard, Template
	RuntimeType     string     `json:"RuntimeType"`     // Unattended, NonProduction, Serverless, …
	Status          string     `json:"Status"`          // Available, Busy, Disconnected, Unknown
	IsUnresponsive  bool       `json:"IsUnresponsive"`
	Runtimes        int64      `json:"Runtimes"`
	UsedRuntimes    int64      `json:"UsedRuntimes"`
	Version         string     `json:"Version"`
	Platform        string     `json:"Platform"`
	ReportingTime   *time.Time `json:"ReportingTime"`
}

// FolderMachines lists the machines assigned to a folder, by runtime and host;
// scope OR.Robots.Read, with the permission to view machines or to start jobs. It
// follows GetMachineSessionRuntimesByFolderId on the page "Sessions" of UiPath's
// API reference.
func (c *Client) FolderMachines(ctx context.Context, folder Folder, q Query) iter.Seq2[MachineRuntime, error] {
	if q.OrderBy == "" {
		q.OrderBy = "MachineId,SessionId" // entries have no Id
	}
	path := "/odata/Sessions/UiPath.Server.Configuration.OData.GetMachineSessionRuntimesByFolderId(folderId=" + c.folderArgument(folder) + ")"
	return list[MachineRuntime](ctx, c, call{op: "list machines", class: Reads, path: path, folder: folder}, q, maxTop)
}

// folderArgument is the folder's id for a path. Unlike a header it is not mended
// while the listing goes on: whoever gets error code 1100 looks the folder up
// again.
func (c *Client) folderArgument(folder Folder) string {
	return strconv.FormatInt(c.currentFolderID(folder), 10)
}
