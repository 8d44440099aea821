package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"waybill/orchestrator"
)

// target is what a lane is in Orchestrator.
type target struct {
	lane    Lane // canonical
	folder  orchestrator.Folder
	queue   orchestrator.QueueDefinition // of a lane for items
	release orchestrator.Release         // of a lane for jobs
	fault   error                        // there is no such folder, queue or process
}

// resolve finds out what the lane is in Orchestrator. What does not exist
// there is the target's fault; an error means that it cannot be told now.
func (r *runner) resolve(ctx context.Context) (target, error) {
	t := target{lane: r.published, fault: r.fault}
	if t.fault != nil {
		return t, nil //nolint:nilerr // that nothing can work here is an answer
	}
	err := r.lookUp(ctx, &t)
	if e, ok := errors.AsType[*orchestrator.Error](err); ok && e.Kind == orchestrator.Rejected {
		err = r.bindMissing(ctx, &t, e)
	} else if err == nil {
		err = r.bind(ctx, &t)
	}
	return t, err
}

func (r *runner) lookUp(ctx context.Context, t *target) error {
	var err error
	if r.published.Folder == DefaultFolder {
		t.folder, err = r.tenant.defaultFolder(ctx)
	} else {
		t.folder, err = r.tenant.Client.Folder(ctx, orchestrator.FolderRef{Path: r.published.Folder})
	}
	if err != nil {
		return fmt.Errorf("resolve lane %s: %w", r.published, err)
	}
	name := ""
	if r.published.Kind == KindItem {
		t.queue, err = r.tenant.Client.QueueDefinitionByName(ctx, t.folder, r.published.Name)
		name = t.queue.Name
	} else {
		t.release, err = r.tenant.Client.ReleaseByName(ctx, t.folder, r.published.Name)
		name = t.release.Name
	}
	if err != nil {
		return fmt.Errorf("resolve lane %s: %w", r.published, err)
	}
	t.lane = Lane{Tenant: r.published.Tenant, Folder: t.folder.FullyQualifiedName, Kind: r.published.Kind, Name: name}
	return nil
}

// bindMissing has the requests of a lane that Orchestrator does not have end,
// unless it had it once: a right taken away, or a folder on the move, must not
// end requests, least of all one that may have been carried out.
func (r *runner) bindMissing(ctx context.Context, t *target, missing *orchestrator.Error) error {
	lane := r.published
	lane.Folder = cmp.Or(t.folder.FullyQualifiedName, lane.Folder)
	b, err := r.control.bind(ctx, r.published, binding{Lane: lane, FolderKey: t.folder.Key, BoundAt: r.clock.now(), Missing: true})
	if err != nil {
		return err
	}
	if !b.Missing {
		return fmt.Errorf("lane %s was served as %s and is not found now: %w", r.published, b.Lane, missing)
	}
	t.lane, t.fault = b.Lane, errors.New(missing.Message)
	return nil
}

// isBound reports whether it is known what the lane is, and has been.
func (r *runner) isBound() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bound != nil
}

// bind holds the lane to what it meant when it was first served. A path that
// now leads to another folder is for an operator to judge: keys of the old
// folder say nothing of the new one.
func (r *runner) bind(ctx context.Context, t *target) error {
	r.mu.Lock()
	bound := r.bound
	r.mu.Unlock()
	if bound == nil {
		b, err := r.control.bind(ctx, r.published, binding{Lane: t.lane, FolderKey: t.folder.Key, BoundAt: r.clock.now()})
		if err == nil && b.Missing { // it has been made since
			b.FolderKey, b.Missing = t.folder.Key, false
			err = r.control.put(ctx, bindingKey(r.published), b)
		}
		if err != nil {
			return err
		}
		bound = &b
		r.mu.Lock()
		r.bound = bound
		r.mu.Unlock()
	}
	if bound.FolderKey != t.folder.Key || bound.Lane.Folder != t.lane.Folder && t.folder.Key == "" {
		return fmt.Errorf("lane %s was bound to folder %s with key %s and now leads to %s with key %s; if that is meant, delete the key %s in bucket %s and start the worker again",
			r.published, bound.Lane.Folder, bound.FolderKey, t.lane.Folder, t.folder.Key, bindingKey(r.published), r.cfg.Topology.ControlBucket())
	}
	t.lane = bound.Lane // claims stay where they are, should the folder or the queue be renamed
	return nil
}
