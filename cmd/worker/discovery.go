package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"waybill/orchestrator"
	"waybill/pipeline"
)

// foldersAtATime bounds the calls that are under way while a tenant is looked
// through: what it lists draws on no budget, and others work there meanwhile.
const foldersAtATime = 4

// survey looks through one tenant.
type survey struct {
	client    *orchestrator.Client
	tenant    string // its token in subjects
	topology  pipeline.Topology
	discovery string // where the discovery service of a legacy tenant is
	folder    string // path of the only folder to look at, with those below it; empty: all
}

// look lists what there is. An error is of the tenant as a whole: what the
// login may not read is told in notes.
func (s survey) look(ctx context.Context) (tenantFound, error) {
	found := tenantFound{Tenant: s.tenant, Folders: []folderFound{}}
	var err error
	if s.discovery != "" {
		if found.Accounts, err = s.accounts(ctx, &found); err != nil {
			return found, err
		}
	}
	folders, err := s.folders(ctx)
	if err != nil {
		return found, err
	}
	found.Folders = make([]folderFound, len(folders))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(foldersAtATime)
	for i, folder := range folders {
		group.Go(func() error {
			var err error
			if found.Folders[i], err = s.lookInto(ctx, folder); err != nil {
				return fmt.Errorf("folder %s: %w", folder.FullyQualifiedName, err)
			}
			return nil
		})
	}
	return found, group.Wait() //nolint:wrapcheck // says which folder
}

// folders are those to look into, by path.
func (s survey) folders(ctx context.Context) ([]orchestrator.Folder, error) {
	var folders []orchestrator.Folder
	for folder, err := range s.client.Folders(ctx, orchestrator.Query{}) {
		if err != nil {
			return nil, err
		}
		if s.wants(folder.FullyQualifiedName) {
			folders = append(folders, folder)
		}
	}
	slices.SortStableFunc(folders, func(a, b orchestrator.Folder) int {
		return byName(a.FullyQualifiedName, b.FullyQualifiedName)
	})
	return folders, nil
}

// wants compares paths as Orchestrator does, whatever their case.
func (s survey) wants(path string) bool {
	path, only := strings.ToLower(path), strings.ToLower(strings.Trim(s.folder, "/"))
	return only == "" || path == only || strings.HasPrefix(path, only+"/")
}

// byName sorts names as people do, and those that differ in case alone always
// in the same way.
func byName(a, b string) int {
	return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
}

// askForRobots is how to have a scope that no worker needs: by itself the login
// does not ask for it, whatever the application has.
var askForRobots = `; and have the login ask for that scope, by UIPATH_SCOPE="` +
	strings.Join(slices.Concat(orchestrator.DefaultScopes, []string{"OR.Robots.Read"}), " ") + `" or scopes`

// part is one list of a folder.
type part struct {
	name   string
	rights string // what a refusal means that does not say which right it takes
	ask    string // what to do beside what the refusal says
	read   func() error
}

// lookInto lists what is in a folder. A list that the login may not read stays
// nil, and a note says so.
func (s survey) lookInto(ctx context.Context, folder orchestrator.Folder) (folderFound, error) {
	f := folderFound{Path: folder.FullyQualifiedName, Key: folder.Key, ID: folder.ID, Type: folder.FolderType}
	for _, p := range []part{
		{name: "processes", read: func() error { return s.processes(ctx, folder, &f) }},
		{name: "queues", read: func() error { return s.queues(ctx, folder, &f) }},
		{name: "robots", ask: askForRobots, read: func() error { return s.robots(ctx, folder, &f) }},
		{name: "machines", ask: askForRobots, read: func() error { return s.machines(ctx, folder, &f) }},
	} {
		err := p.read()
		if err == nil {
			continue
		}
		note, ok := p.note(err)
		if !ok {
			return f, err
		}
		f.Notes = append(f.Notes, note)
		if isFolderRefused(err) {
			break // the other lists would be refused in the same way
		}
	}
	return f, nil
}

// note explains an error that is about this list alone.
func (p part) note(err error) (string, bool) {
	e, ok := errors.AsType[*orchestrator.Error](err)
	switch {
	case !ok || e.LoginRefused():
		return "", false
	case isFolderRefused(err):
		return "not permitted, or gone: " + e.Message, true
	case e.Kind == orchestrator.Denied && e.StatusCode == http.StatusForbidden && e.Err != nil:
		return p.name + " cannot be listed: " + e.Err.Error() + p.ask, true // without what differs from folder to folder
	case e.Kind == orchestrator.Denied && e.StatusCode == http.StatusForbidden:
		return "no right to read " + p.name + ": " + p.rights, true
	case e.Kind == orchestrator.Denied || e.Kind == orchestrator.Rejected:
		return p.name + " cannot be listed: " + e.Error(), true // an older version without this list, say
	}
	return "", false
}

const codeFolderRefused = 1100

func isFolderRefused(err error) bool {
	e, ok := errors.AsType[*orchestrator.Error](err)
	return ok && e.Code == codeFolderRefused
}
