package simulator

import (
	"cmp"
	"net/http"
	"strings"
)

// service is what a path leads to.
type service int

const (
	serviceNone service = iota
	serviceAPI
	serviceIdentity
	serviceControl
)

// target is a path taken apart.
type target struct {
	service service
	prefix  string // "/org/tenant/orchestrator_" in the cloud form, empty on standalone installations
	path    string // below the prefix
	org     string // the organisation in the path, if it names one
}

// base is the URL that the API's own links begin with.
func (t target) base(r *http.Request) string { return origin(r) + t.prefix }

// origin is the scheme and host that a call was made to.
func origin(r *http.Request) string {
	scheme := "http"
	if isTLS(r) {
		scheme = "https"
	}
	return scheme + "://" + cmp.Or(r.Host, r.URL.Host)
}

// isTLS takes the word of the URL where there is no connection.
func isTLS(r *http.Request) bool { return r.TLS != nil || r.URL.Scheme == "https" }

const orchestratorService = "/orchestrator_"

// locate finds the service in both forms of URL: /{org}/{tenant}/orchestrator_/... and /...
func (s *Server) locate(path string) target {
	if strings.HasPrefix(path, "/simulator/") || path == "/simulator" {
		return target{service: serviceControl, path: path}
	}
	if t, ok := s.locateIdentity(path); ok {
		return t
	}
	prefix, rest, cloud := strings.Cut(path, orchestratorService+"/")
	if !cloud {
		return apiTarget(target{path: path})
	}
	org, tenant, ok := strings.Cut(strings.TrimPrefix(prefix, "/"), "/")
	if !ok || !named(s.cfg.Org, org) || !named(s.cfg.Tenant, tenant) {
		return target{}
	}
	return apiTarget(target{prefix: prefix + orchestratorService, path: "/" + rest, org: org})
}

func apiTarget(t target) target {
	isAPI := strings.HasPrefix(t.path, "/odata/") || strings.HasPrefix(t.path, "/api/")
	if !isAPI || t.path == authenticatePath { // in the cloud there is no such login
		return target{}
	}
	t.service = serviceAPI
	return t
}

// named compares a name in a path; without a name in the configuration any single segment will do.
func named(want, got string) bool {
	if want == "" {
		return got != "" && !strings.Contains(got, "/")
	}
	return strings.EqualFold(want, got)
}

// operation is one operation of the API. Exactly one of read and prepare is set: a read answers under the read lock, a
// write first checks everything that needs no lock and then hands over its effect.
type operation struct {
	name       string // as the API calls it
	scope      string
	folderless bool // answers without a folder header
	read       func(*Server, *call) (answer, *refusal)
	prepare    func(*Server, *call) (effect, *refusal)
}

// operations maps method and path, with "()" for any argument in parentheses.
var operations = map[string]operation{
	"GET /odata/Folders":   {name: "Folders", scope: "OR.Folders.Read", folderless: true, read: (*Server).listFolders},
	"GET /odata/Folders()": {name: "Folder", scope: "OR.Folders.Read", folderless: true, read: (*Server).getFolder},
	"GET /odata/Folders/UiPath.Server.Configuration.OData.GetByKey()": {
		name: "FolderByKey", scope: "OR.Folders.Read", folderless: true, read: (*Server).getFolderByKey,
	},
	"GET /api/Folders/GetAllForCurrentUser": {
		name: "FoldersForCurrentUser", scope: "OR.Folders.Read", folderless: true, read: (*Server).listFoldersForUser,
	},

	"GET /odata/Releases":   {name: "Releases", scope: "OR.Execution.Read", read: (*Server).listReleases},
	"GET /odata/Releases()": {name: "Release", scope: "OR.Execution.Read", read: (*Server).getRelease},

	"GET /odata/QueueDefinitions":   {name: "QueueDefinitions", scope: "OR.Queues.Read", read: (*Server).listQueues},
	"GET /odata/QueueDefinitions()": {name: "QueueDefinition", scope: "OR.Queues.Read", read: (*Server).getQueue},
	"GET /odata/QueueDefinitions/UiPath.Server.Configuration.OData.GetByKey()": {
		name: "QueueDefinitionByKey", scope: "OR.Queues.Read", read: (*Server).getQueueByKey,
	},

	"GET /odata/Robots/UiPath.Server.Configuration.OData.GetRobotsFromFolder()": {
		name: "RobotsFromFolder", scope: "OR.Robots.Read", read: (*Server).listFolderRobots,
	},
	"GET /odata/Sessions/UiPath.Server.Configuration.OData.GetMachineSessionRuntimesByFolderId()": {
		name: "MachineSessionRuntimesByFolderId", scope: "OR.Robots.Read", folderless: true, read: (*Server).listFolderMachines,
	},

	"POST /odata/Queues/UiPathODataSvc.AddQueueItem": {
		name: "AddQueueItem", scope: "OR.Queues.Write", prepare: (*Server).addQueueItem,
	},
	"POST /odata/Queues/UiPathODataSvc.BulkAddQueueItems": {
		name: "BulkAddQueueItems", scope: "OR.Queues.Write", prepare: (*Server).bulkAddQueueItems,
	},

	"GET /odata/QueueItems":      {name: "QueueItems", scope: "OR.Queues.Read", read: (*Server).listQueueItems},
	"GET /odata/QueueItems()":    {name: "QueueItem", scope: "OR.Queues.Read", read: (*Server).getQueueItem},
	"DELETE /odata/QueueItems()": {name: "DeleteQueueItem", scope: "OR.Queues.Write", prepare: (*Server).deleteQueueItem},
	"GET /odata/QueueItems()/UiPath.Server.Configuration.OData.GetItemLastRetry": {
		name: "QueueItemLastRetry", scope: "OR.Queues.Read", read: (*Server).getLastRetry,
	},
	"GET /odata/QueueItems/UiPathODataSvc.GetItemLastRetryByKey()": {
		name: "QueueItemLastRetryByKey", scope: "OR.Queues.Read", read: (*Server).getLastRetryByKey,
	},

	"GET /odata/Jobs":   {name: "Jobs", scope: "OR.Jobs.Read", read: (*Server).listJobs},
	"GET /odata/Jobs()": {name: "Job", scope: "OR.Jobs.Read", read: (*Server).getJob},
	"GET /odata/Jobs/UiPath.Server.Configuration.OData.GetByKey()": {
		name: "JobByKey", scope: "OR.Jobs.Read", read: (*Server).getJobByKey,
	},
	"POST /odata/Jobs/UiPath.Server.Configuration.OData.StartJobs": {
		name: "StartJobs", scope: "OR.Jobs.Write", prepare: (*Server).startJobs,
	},
	"POST /odata/Jobs/UiPath.Server.Configuration.OData.StopJobs": {
		name: "StopJobs", scope: "OR.Jobs.Write", prepare: (*Server).stopJobs,
	},
}

// findOperation looks a path up. A ServeMux cannot: its wildcards fill whole segments, and QueueItems(123) is one.
func findOperation(method, path string) (op operation, argument string, ok bool) {
	before, rest, found := strings.Cut(path, "(")
	if !found {
		op, ok = operations[method+" "+path]
		return op, "", ok
	}
	argument, after, closed := strings.Cut(rest, ")")
	if !closed || argument == "" {
		return operation{}, "", false
	}
	op, ok = operations[method+" "+before+"()"+after]
	return op, argument, ok
}
