package orchestrator

import (
	"errors"
	"fmt"
	"net/http"
)

// rights are the scope and the permissions that an operation needs, as UiPath's
// definition of the API names them. A scope may also be had by its part that
// reads or writes alone.
var rights = map[string]struct{ scope, permissions string }{
	opFolder:                       {"OR.Folders.Read", "Units.View or SubFolders.View"},
	"list folders":                 {"OR.Folders.Read", "Units.View or SubFolders.View"},
	"list releases":                {"OR.Execution", "Processes.View"},
	"list queues":                  {"OR.Queues", "Queues.View"},
	"add queue item":               {"OR.Queues", "Queues.View and Transactions.Create"},
	"bulk add queue items":         {"OR.Queues", "Queues.View and Transactions.Create"},
	"get queue item":               {"OR.Queues", "Queues.View and Transactions.View"},
	"get last retry of queue item": {"OR.Queues", "Queues.View and Transactions.View"},
	"list queue items":             {"OR.Queues", "Queues.View and Transactions.View"},
	"start jobs":                   {"OR.Jobs", "Jobs.Create"},
	"get job":                      {"OR.Jobs", "Jobs.View"},
	"list jobs":                    {"OR.Jobs", "Jobs.View"},
	"list robots":                  {"OR.Robots.Read", "SubFolders.View, Units.View, Jobs.Create or Users.View"},
	"list machines":                {"OR.Robots.Read", "Machines.View or Jobs.Create"},
}

// advised adds what to change to an error that Orchestrator leaves at its word.
func (e *Error) advised(op string) *Error {
	if e == nil || e.Err != nil {
		return e
	}
	right, known := rights[op]
	switch {
	case e.Kind == Denied && e.StatusCode == http.StatusForbidden && known:
		e.Err = fmt.Errorf("the login lacks a right: give the application the scope %s, or where its rights go by roles (OR.Default, users) a role with %s, in the tenant and the folder concerned", right.scope, right.permissions)
	case e.Code == codeFolderRequired:
		e.Err = errors.New("the call needs a folder: give its path, key or id (folder, UIPATH_FOLDER_PATH)")
	}
	return e
}
