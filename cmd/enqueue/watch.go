package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// watchCommand holds the flags of enqueue watch.
type watchCommand struct {
	target  target
	tenant  string
	folder  string
	kind    string
	queue   string
	process string
	key     string
	status  string
	all     bool
	since   time.Duration
	output  string
}

func newWatchCommand() *cobra.Command {
	c := &watchCommand{target: target{role: pipeline.RoleConsumer}}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Follow what becomes of requests",
		Long: `Follows the outcomes of requests as they come, until Ctrl-C: from now on, or
from earlier with --all or --since. Without flags that choose, all of them.

A request handed in with --until completed has two: one of stage accepted when
Orchestrator holds it, and the final one.

A NATS user that is narrowed to a tenant, a folder, a queue or a process may see
that alone: name all that it is narrowed to, with --tenant, --folder and --queue
or --process. One that may only listen (worker permissions consumer --live)
cannot watch: nats --inbox-prefix _INBOX_user sub 'uipath.outcomes.>' listens.`,
		Example: `  enqueue watch
  enqueue watch --queue Invoices --status rejected --all
  enqueue watch --key INV-42 --all -o json
  enqueue watch --since 1h -o jsonl | jq .error.message`,
		Args: cobra.NoArgs,
		RunE: c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.queue, "queue", "", "items of this queue only")
	fs.StringVar(&c.process, "process", "", "jobs of this process only")
	cli.ChoiceFlag(fs, &c.kind, "kind", "", "", []string{string(pipeline.KindItem), string(pipeline.KindJob)}, "items or jobs only")
	fs.StringVar(&c.key, "key", "", "this key only")
	cli.ChoiceFlag(fs, &c.status, "status", "", "", []string{"accepted", "succeeded", "failed", "rejected", "expired", "canceled", "unknown"}, "this status only")
	fs.StringVar(&c.tenant, "tenant", "", "this tenant only")
	fs.StringVar(&c.folder, "folder", "", "this folder only, by its path")
	fs.BoolVar(&c.all, "all", false, "begin with the oldest outcome there is")
	cli.DurationFlag(fs, &c.since, "since", 0, "begin with outcomes of that age, such as 1h")
	cli.OutputFlag(fs, &c.output, cli.FormatTable)
	c.target.addFlags(fs)
	cmd.MarkFlagsMutuallyExclusive("queue", "process")
	cmd.MarkFlagsMutuallyExclusive("all", "since")
	return cmd
}

func (c *watchCommand) run(cmd *cobra.Command, _ []string) error {
	if err := checkKey(cmd, c.key); err != nil {
		return err
	}
	filter, err := c.filter()
	if err != nil {
		return err
	}
	return c.target.within(cmd, 1, func(ctx context.Context, s *session) error { return c.follow(ctx, cmd, s, filter) })
}

func (c *watchCommand) follow(ctx context.Context, cmd *cobra.Command, s *session, filter pipeline.OutcomeFilter) error {
	spelled, err := c.spell(ctx, cmd, s, &filter)
	if err != nil {
		return err
	}
	folder := ""
	if !spelled {
		folder, filter.Folder = filter.Folder, "" // subjects have one spelling, people several
	}
	ready := func() { _, _ = fmt.Fprintln(cmd.ErrOrStderr(), "watching, Ctrl-C ends it") }
	outcomes := withoutRepeats(inFolder(folder, pipeline.Watch(ctx, s.js, s.topology, filter, ready)))
	err = explain(cli.PrintAll(cmd.OutOrStdout(), c.output, outcomeColumns, outcomes))
	if denied := cli.DeniedIn(ctx); err == nil && denied != nil {
		return c.target.explainDenial(denied) // the context's end is no error of a watch
	}
	return err
}

func (c *watchCommand) filter() (pipeline.OutcomeFilter, error) {
	f := pipeline.OutcomeFilter{Tenant: c.tenant, Folder: c.folder, Kind: pipeline.Kind(c.kind), Name: c.queue + c.process, Key: c.key, Status: pipeline.Status(c.status), All: c.all}
	named := map[bool]pipeline.Kind{c.queue != "": pipeline.KindItem, c.process != "": pipeline.KindJob}[true]
	if named != "" {
		if f.Kind != "" && f.Kind != named {
			return f, cli.Errorf(cli.ExitUsage, "--kind %s does not fit the other flags: a queue has items, a process has jobs", c.kind)
		}
		f.Kind = named
	}
	if c.since < 0 {
		return f, cli.Errorf(cli.ExitUsage, "--since %v: give an age, such as 1h", c.since)
	}
	if c.since > 0 {
		f.Since = time.Now().Add(-c.since)
	}
	return f, nil
}

// spell writes the filter's lane as Orchestrator spells it, by which outcomes
// are filed, and reports whether that is known.
func (c *watchCommand) spell(ctx context.Context, cmd *cobra.Command, s *session, f *pipeline.OutcomeFilter) (bool, error) {
	if f.Name == "" {
		if f.Folder == pipeline.DefaultFolder {
			return false, cli.Errorf(cli.ExitUsage, "--folder -: which folder that is depends on the queue or process; name one, or give the folder's path")
		}
		return false, nil
	}
	typed := lane{tenant: cmp.Or(f.Tenant, defaultTenant()), folder: cmp.Or(f.Folder, defaultFolder()), name: f.Name}
	lane, err := typed.of(f.Kind)
	if err != nil {
		return false, err
	}
	canonical, err := s.publisher.Canonical(ctx, lane)
	if errors.Is(err, pipeline.ErrLaneUnknown) && f.Folder == "" {
		return false, nil // it may be served in any folder, and no right is granted to list them
	}
	if errors.Is(err, pipeline.ErrLaneUnknown) && f.Folder == pipeline.DefaultFolder {
		return false, cli.Errorf(cli.ExitUsage, "--folder -: no worker has served %s yet, so which folder that is is not known; give the folder's path", lane)
	}
	if errors.Is(err, pipeline.ErrLaneUnknown) { // who may follow this lane alone may not look for other spellings
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "no worker has served %s yet: make sure that it is spelled as in Orchestrator\n", lane)
		return true, nil
	}
	if err != nil {
		return false, explain(err)
	}
	f.Name = canonical.Name
	if f.Folder != "" {
		f.Folder = canonical.Folder
	}
	return true, nil
}

// inFolder leaves out what is of another folder, however it is spelled.
func inFolder(folder string, outcomes iter.Seq2[pipeline.Outcome, error]) iter.Seq2[pipeline.Outcome, error] {
	if folder == "" {
		return outcomes
	}
	return func(yield func(pipeline.Outcome, error) bool) {
		for o, err := range outcomes {
			if err == nil && !strings.EqualFold(o.Folder, folder) {
				continue
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// withoutRepeats drops outcomes that came before. It remembers the last many,
// which is enough: a repeat follows soon.
func withoutRepeats(outcomes iter.Seq2[pipeline.Outcome, error]) iter.Seq2[pipeline.Outcome, error] {
	type id struct {
		lane       pipeline.Lane
		key        string
		generation int
		stage      pipeline.Stage
	}
	const many = 10_000
	return func(yield func(pipeline.Outcome, error) bool) {
		recent, before := map[id]bool{}, map[id]bool{}
		for o, err := range outcomes {
			this := id{o.Lane(), o.Key, o.Generation, o.Stage}
			if err == nil && (recent[this] || before[this]) {
				continue
			}
			if recent[this] = true; len(recent) == many {
				recent, before = map[id]bool{}, recent
			}
			if !yield(o, err) {
				return
			}
		}
	}
}
