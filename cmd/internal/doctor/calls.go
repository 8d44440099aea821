package doctor

import (
	"context"
	"errors"
	"iter"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
)

// one is a listing of at most one entry.
var one = orchestrator.Query{Top: 1, Limit: 1}

// readFolders is the first call that every worker makes.
func (l *tenant) readFolders(ctx context.Context) bool {
	return first(ctx, l, "read folders", "OR.Folders.Read", "Units.View or SubFolders.View", func(ctx context.Context) iter.Seq2[orchestrator.Folder, error] {
		return l.client.Folders(ctx, one)
	})
}

// findFolder looks for what "-" means in subjects.
func (l *tenant) findFolder(ctx context.Context) bool {
	if l.Folder == (orchestrator.FolderRef{}) {
		l.warn(checkFolder, "set UIPATH_FOLDER_PATH, UIPATH_FOLDER_KEY or UIPATH_FOLDER_ID (folder), if requests are to have the folder -", "none is set: requests for the folder - wait, and rights cannot be tried in it")
		return false
	}
	if !l.canRead {
		l.skipAll("the right to read folders", checkFolder)
		return false
	}
	ctx, cancel := l.within(ctx)
	defer cancel()
	folder, err := l.client.Folder(ctx, l.Folder)
	if err != nil {
		code, found, mend := l.called(err, "OR.Folders.Read", "Units.View or SubFolders.View")
		if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Rejected {
			found, mend = e.Message, "correct UIPATH_FOLDER_PATH, UIPATH_FOLDER_KEY or UIPATH_FOLDER_ID (folder), or give the login a role in the folder"
		}
		l.fail(code, checkFolder, mend, "%s", found)
		return false
	}
	l.folder = folder
	l.ok(checkFolder, "%s, key %s, id %d", folder.FullyQualifiedName, orElse(folder.Key, "none"), folder.ID)
	if l.Folder.ID != 0 && folder.Key != "" {
		l.warn(checkFolder, "set UIPATH_FOLDER_KEY (folder.key) to "+folder.Key+" in place of the id", "it is named by its id, which changes when a licence plan is migrated")
	}
	return true
}

// reads try the look-ups, which are not limited.
func (*tenant) reads() []func(context.Context, *tenant) {
	return []func(context.Context, *tenant){
		func(ctx context.Context, l *tenant) {
			first(ctx, l, "read processes", "OR.Execution.Read", "Processes.View", func(ctx context.Context) iter.Seq2[orchestrator.Release, error] {
				return l.client.Releases(ctx, l.folder, one)
			})
		},
		func(ctx context.Context, l *tenant) {
			first(ctx, l, "read queues", "OR.Queues.Read", "Queues.View", func(ctx context.Context) iter.Seq2[orchestrator.QueueDefinition, error] {
				return l.client.QueueDefinitions(ctx, l.folder, one)
			})
		},
	}
}

// listReads try the listings of which Orchestrator answers 100 a minute each.
func (l *tenant) listReads() []func(context.Context, *tenant) {
	const items, jobs, flag = "list queue items", "list jobs", "--no-list-reads"
	if l.NoListReads {
		return []func(context.Context, *tenant){leaveOut(items, flag), leaveOut(jobs, flag)}
	}
	return []func(context.Context, *tenant){
		func(ctx context.Context, l *tenant) {
			first(ctx, l, items, "OR.Queues.Read", "Queues.View and Transactions.View", func(ctx context.Context) iter.Seq2[orchestrator.QueueItem, error] {
				return l.client.QueueItems(ctx, l.folder, one)
			})
		},
		func(ctx context.Context, l *tenant) {
			first(ctx, l, jobs, "OR.Jobs.Read", "Jobs.View", func(ctx context.Context) iter.Seq2[orchestrator.Job, error] {
				return l.client.Jobs(ctx, l.folder, one)
			})
		},
	}
}

func leaveOut(check, flag string) func(context.Context, *tenant) {
	return func(_ context.Context, l *tenant) {
		l.skip(check, "leave out "+flag+" to try it", "not tried (%s)", flag)
	}
}

// first makes a listing and reports what became of it.
func first[T any](ctx context.Context, l *tenant, check, scope, permission string, list func(context.Context) iter.Seq2[T, error]) bool {
	ctx, cancel := l.within(ctx)
	defer cancel()
	begin := time.Now()
	for _, err := range list(ctx) {
		if err != nil {
			code, found, mend := l.called(err, scope, permission)
			l.fail(code, check, mend, "%s", found)
			return false
		}
	}
	l.ok(check, "granted, answered in %s", short(time.Since(begin)))
	return true
}

// writes try the rights to change something, by calls that cannot: how that is
// sure is told where the client has them.
func (l *tenant) writes() []func(context.Context, *tenant) {
	var checks []func(context.Context, *tenant)
	for _, w := range []struct {
		check, scope, permission string
		try                      func(context.Context, orchestrator.Folder) error
	}{
		{"add queue items", "OR.Queues.Write", "Queues.View and Transactions.Create", l.client.TryAddQueueItem},
		{"add queue items in bulk", "OR.Queues.Write", "Queues.View and Transactions.Create", l.client.TryBulkAddQueueItems},
		{"start jobs", "OR.Jobs.Write", "Jobs.Create", l.client.TryStartJobs},
	} {
		if l.NoWrites {
			checks = append(checks, leaveOut(w.check, "--no-writes"))
			continue
		}
		checks = append(checks, func(ctx context.Context, l *tenant) { l.write(ctx, w.check, w.scope, w.permission, w.try) })
	}
	return checks
}

func (l *tenant) write(ctx context.Context, check, scope, permission string, try func(context.Context, orchestrator.Folder) error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	begin := time.Now()
	err := try(ctx, l.folder)
	switch {
	case err == nil:
		l.ok(check, "granted, by a call that cannot add or start anything; answered in %s", short(time.Since(begin)))
	case errors.Is(err, orchestrator.ErrTrialTaken):
		l.fail(cli.ExitUnexpected, check, "report it, and use --no-writes", "%v", err)
	case errors.Is(err, orchestrator.ErrNotTold):
		l.warn(check, "publish one request to see", "%s", oneLine(err))
	default:
		code, found, mend := l.called(err, scope, permission)
		l.fail(code, check, mend, "%s", found)
	}
}
