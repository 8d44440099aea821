package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"waybill/cmd/internal/cli"
	"waybill/internal/shell"
	"waybill/pipeline"
)

// submission is what enqueue item and enqueue job share: one request, and
// perhaps the wait for its outcome.
type submission struct {
	target   target
	lane     lane
	key      string
	until    string
	notAfter string
	wait     bool
	timeout  time.Duration
	output   string
}

func (s *submission) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&s.key, "key", "", "the request's key; handed in again, the same request is not carried out twice (made up and printed)")
	addUntilFlag(fs, &s.until)
	addNotAfterFlag(fs, &s.notAfter, "the request")
	fs.BoolVar(&s.wait, "wait", false, "wait for the final outcome and print it")
	cli.DurationFlag(fs, &s.timeout, "timeout", 10*time.Minute, "how long to wait for it")
	cli.OutputFlag(fs, &s.output, cli.FormatTable)
	s.target.addFlags(fs)
}

func addUntilFlag(fs *pflag.FlagSet, into *string) {
	cli.ChoiceFlag(fs, into, "until", "", string(pipeline.UntilAccepted), []string{string(pipeline.UntilAccepted), string(pipeline.UntilCompleted)},
		"how far it is followed: until Orchestrator holds it, or until the job or transaction has ended")
}

func addNotAfterFlag(fs *pflag.FlagSet, into *string, what string) {
	fs.StringVar(into, "not-after", "", "let "+what+" expire if nothing was done by then, as 2006-01-02T15:04:05Z")
}

// request completes a request by the flags and makes up its key if need be.
func (s *submission) request(r pipeline.Request) (pipeline.Request, error) {
	var err error
	if r.NotAfter, err = parseTime("not-after", s.notAfter); err != nil {
		return r, err
	}
	r.Until, r.Key = pipeline.Until(s.until), s.key
	if r.Key == "" {
		id, err := uuid.NewV7() // ordered by time, as people expect of numbers they are given
		if err != nil {
			return r, fmt.Errorf("make up a key: %w", err)
		}
		r.Key = id.String()
	}
	return r, nil
}

// run hands the request in and prints what there is to know about it: that it
// is stored, or with --wait its outcome.
func (s *submission) run(cmd *cobra.Command, lane pipeline.Lane, r pipeline.Request) error {
	if err := r.Validate(lane); err != nil {
		return explain(err)
	}
	s.target.wait = s.wait
	return s.target.within(cmd, 1, func(ctx context.Context, open *session) error {
		h := handIn{session: open, lane: lane, request: r, isNew: s.key == ""}
		if s.wait {
			return s.runAndWait(ctx, cmd, &h)
		}
		if err := h.submit(ctx); err != nil {
			return err
		}
		return cli.PrintOne(cmd.OutOrStdout(), s.output, receiptColumns, h.receipt)
	})
}

func (s *submission) runAndWait(ctx context.Context, cmd *cobra.Command, h *handIn) error {
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "key %s\n", h.request.Key)
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	outcome, err := h.await(ctx)
	if err != nil {
		return s.explainWait(h, err)
	}
	columns := outcomeColumns[:len(outcomeColumns)-1] // the error is the command's own
	if err := cli.PrintOne(cmd.OutOrStdout(), s.output, columns, outcome); err != nil {
		return err //nolint:wrapcheck // says all there is to say
	}
	return verdict(outcome)
}

// explainWait says what a wait that came to nothing means for the request.
func (s *submission) explainWait(h *handIn, err error) error {
	_, interrupted := errors.AsType[*cli.SignalError](err)
	timedOut := errors.Is(err, context.DeadlineExceeded)
	stands := "the request stands and will be carried out once a worker serves tenant " + h.lane.Tenant + " and the lane is not paused (where one should, see its log, or worker doctor); follow it with: enqueue watch --all --key " + shell.Quote(h.request.Key)
	switch {
	case timedOut && h.stands:
		return cli.Errorf(cli.ExitTimeout, "no outcome within %v; %s", s.timeout, stands)
	case interrupted && h.stands:
		return fmt.Errorf("%w; %s", err, stands)
	}
	return explain(err)
}

// verdict is the error that an outcome is to whoever waited for it.
func verdict(o pipeline.Outcome) error {
	if isSuccess(o.Status) {
		return nil
	}
	reason := "no reason is given"
	if o.Error != nil {
		reason = cmp.Or(o.Error.Message, o.Error.Kind)
	}
	return cli.Errorf(cli.ExitRejects, "%s %s: %s: %s", o.Kind, o.Key, o.Status, reason)
}

// isSuccess tells the final statuses that somebody hopes for from the others.
func isSuccess(s pipeline.Status) bool {
	return s == pipeline.StatusAccepted || s == pipeline.StatusSucceeded
}

// handIn is one request on its way into the stream.
type handIn struct {
	session *session
	lane    pipeline.Lane
	request pipeline.Request
	isNew   bool // the key was made up, so nobody knows it yet
	hash    string
	stands  bool // JetStream or the ledger has it
	receipt receipt
}

// receipt is what is printed of a request that is not waited for.
type receipt struct {
	Key         string          `json:"key"`
	Lane        string          `json:"lane"`
	PayloadHash string          `json:"payloadHash"`
	Sequence    uint64          `json:"sequence,omitempty"` // in the requests stream
	Known       bool            `json:"known,omitempty"`    // handed in before, and not again
	Status      pipeline.Status `json:"status,omitempty"`   // its final outcome, if it has one already
}

var receiptColumns = []cli.Column[receipt]{
	{Name: "KEY", Width: 36, Value: func(r receipt) string { return r.Key }},
	{Name: "LANE", Width: 32, Value: func(r receipt) string { return r.Lane }},
	{Name: "STATE", Value: func(r receipt) string {
		if !r.Known {
			return "stored"
		}
		return cmp.Or(string(r.Status), "in hand")
	}},
}

// submit stores the request, unless the ledger knows it already.
func (h *handIn) submit(ctx context.Context) error {
	var err error
	if h.hash, err = h.request.PayloadHash(h.lane); err != nil {
		return err //nolint:wrapcheck // it names the member and the mend
	}
	h.receipt = receipt{Key: h.request.Key, Lane: h.lane.String(), PayloadHash: h.hash}
	if !h.isNew {
		known, err := h.session.publisher.Known(ctx, h.lane, []string{h.request.Key})
		if err != nil {
			return explain(err)
		}
		if k, ok := known[h.request.Key]; ok {
			h.receipt.Known, h.receipt.Status, h.stands = true, k.Status, true
			return h.compare(k.PayloadHash)
		}
	}
	stored, err := h.session.publisher.Publish(ctx, h.lane, h.request)
	if err != nil {
		return explain(fmt.Errorf("key %s is not confirmed; hand it in again under the same key: %w", h.request.Key, err))
	}
	h.receipt.Sequence, h.stands = stored.Sequence, true
	return nil
}

// compare refuses to take another request's outcome for ours.
func (h *handIn) compare(hash string) error {
	if hash == h.hash || hash == "" {
		return nil
	}
	return cli.Errorf(cli.ExitRejects, "%w", keyConflict("key", h.request.Key))
}

// await submits the request and waits for its final outcome, which may be
// there already. It watches before it submits, so that none can be missed.
func (h *handIn) await(ctx context.Context) (pipeline.Outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	filter := pipeline.OutcomeFilter{Tenant: h.lane.Tenant, Kind: h.lane.Kind, Key: h.request.Key, Stage: pipeline.StageFinal, All: true}
	submit := func() {
		if err := h.submit(ctx); err != nil {
			cancel(err)
		}
	}
	for outcome, err := range pipeline.Watch(ctx, h.session.js, h.session.topology, filter, submit) {
		if err != nil {
			return outcome, err
		}
		if ours, err := h.isOurs(ctx, outcome); err != nil || ours {
			return outcome, errors.Join(err, h.compare(outcome.PayloadHash))
		}
	}
	return pipeline.Outcome{}, context.Cause(ctx) //nolint:wrapcheck // explained by the caller
}

// isOurs tells the outcome of our lane from one that has the same key in
// another. Outcomes are filed under the lane as Orchestrator spells it, or as
// it was typed where Orchestrator has no such queue or process. The spelling is
// written down before any outcome is; but a replica may lag, so of one that
// could be ours it is asked again.
func (h *handIn) isOurs(ctx context.Context, o pipeline.Outcome) (bool, error) {
	if o.Lane() == h.lane {
		return true, nil
	}
	couldBe := strings.EqualFold(o.Lane().Name, h.lane.Name) && (h.lane.Folder == pipeline.DefaultFolder || strings.EqualFold(o.Folder, h.lane.Folder))
	if !couldBe {
		return false, nil
	}
	for range 5 {
		canonical, err := h.session.publisher.Canonical(ctx, h.lane)
		if !errors.Is(err, pipeline.ErrLaneUnknown) {
			return o.Lane() == canonical, err //nolint:wrapcheck // explained by the caller
		}
		wait(ctx, 200*time.Millisecond)
	}
	return false, nil
}

// outcomeColumns is the table of outcomes.
var outcomeColumns = []cli.Column[pipeline.Outcome]{
	{Name: "FINISHED", Width: 20, Value: func(o pipeline.Outcome) string { return o.FinishedAt.UTC().Format(time.RFC3339) }},
	{Name: "STATUS", Width: 9, Value: func(o pipeline.Outcome) string { return string(o.Status) }},
	{Name: "KEY", Width: 36, Value: func(o pipeline.Outcome) string { return o.Key }},
	{Name: "LANE", Width: 32, Value: func(o pipeline.Outcome) string { return o.Lane().String() }},
	{Name: "ID", Width: 8, Value: outcomeID},
	{Name: "ERROR", Value: func(o pipeline.Outcome) string {
		if o.Error == nil {
			return ""
		}
		return o.Error.Message
	}},
}

func outcomeID(o pipeline.Outcome) string {
	switch {
	case o.Item != nil && o.Item.ID != 0:
		return strconv.FormatInt(o.Item.ID, 10)
	case o.Job != nil && o.Job.ID != 0:
		return strconv.FormatInt(o.Job.ID, 10)
	}
	return ""
}
