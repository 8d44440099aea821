package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/sheet"
	"waybill/internal/shell"
	"waybill/pipeline"
)

const (
	// answerTimeout bounds the wait for JetStream's answer to one request.
	answerTimeout = 10 * time.Second
	// attemptTimeout bounds one attempt to settle a batch; a question that was
	// lost with its connection is never answered.
	attemptTimeout = 12 * time.Second
	// batchBytes bounds a batch in memory, whatever its number of rows.
	batchBytes = 8 << 20
	// maxWaiting bounds how many of the requests that wait are looked at, and
	// with it the memory that takes. Rows that are handed in once more because
	// there are more do no harm.
	maxWaiting = 50_000
	// publishTries is how often a batch is sent to a server that does not
	// answer.
	publishTries = 3
)

// importer publishes the rows of a sheet in batches and counts what becomes of
// them. Without a publisher it only checks them.
type importer struct {
	sheet     *sheet.Sheet
	lane      pipeline.Lane
	publisher *publisher
	batch     int
	rejects   *rejects
	progress  *progress
	started   bool // whether the rows have been looked at
	result    importResult

	rows  []sheet.Row // gathered for the next batch
	bytes int
	last  int // the last row that is dealt with
	// waiting are the keys, with their payload hashes, of requests that no
	// worker has taken on yet: the ledger does not know them.
	waiting map[string]string
}

// importResult is how an import went.
type importResult struct {
	File     string `json:"file"`
	Lane     string `json:"lane"`
	DryRun   bool   `json:"dryRun,omitempty"`
	Complete bool   `json:"complete"` // the whole file was read
	Read     int    `json:"read"`     // rows of which it is known what became

	Published   int `json:"published"`          // stored, or in a dry run: would be
	Known       int `json:"alreadyKnown"`       // handed in before
	KnownFailed int `json:"alreadyKnownFailed"` // those of them that came to nothing
	Rejected    int `json:"rejected"`

	Rejects string  `json:"rejects,omitempty"` // the file of rejected rows
	Seconds float64 `json:"seconds"`

	failed map[pipeline.Status]int // how those came to nothing
	shown  []string                // the first rejects, for people
	warn   string
}

func (r importResult) settled() int { return r.Published + r.Known + r.Rejected }

// run imports the file. A context that ends stops it between two batches: what
// was published is published, and the error says how far it came.
func (i *importer) run(ctx context.Context) error {
	begin := time.Now()
	defer i.progress.stop()
	if err := i.sheet.Index(ctx, i.progress.checked); err != nil {
		if errors.Is(err, context.Canceled) || ctx.Err() != nil {
			return fmt.Errorf("interrupted before any row was published: %w", err)
		}
		return err //nolint:wrapcheck // explained by the caller
	}
	i.started = true
	if i.publisher != nil {
		waiting, _, err := i.publisher.Waiting(ctx, i.lane, maxWaiting)
		if err != nil {
			return err
		}
		i.waiting = waiting
	}
	err := errors.Join(i.importRows(ctx), i.rejects.close())
	i.result.Read = i.result.settled()
	i.result.Seconds = time.Since(begin).Seconds()
	if err != nil {
		return err
	}
	i.result.Complete = true
	return i.verdict()
}

// verdict is the error that an import is which was done in full.
func (i *importer) verdict() error {
	var faults []string
	if i.result.Rejected > 0 {
		faults = append(faults, fmt.Sprintf("%d of %d rows were rejected; mend them in %s and import that file", i.result.Rejected, i.result.Read, i.result.Rejects))
	}
	if i.result.KnownFailed > 0 {
		faults = append(faults, fmt.Sprintf("%d of %d rows already known came to nothing (%s); see why with: %s", i.result.KnownFailed, i.result.Known, i.result.failures(), i.watchFailed()))
	}
	if len(faults) == 0 {
		return nil
	}
	return cli.Errorf(cli.ExitRejects, "%s", strings.Join(faults, "; "))
}

// watchFailed is the command that shows what became of the rows that came to
// nothing.
func (i *importer) watchFailed() string {
	command := "enqueue watch --all --queue " + shell.Quote(i.lane.Name)
	if i.lane.Tenant != defaultTenant() {
		command += " --tenant " + shell.Quote(i.lane.Tenant)
	}
	if i.lane.Folder != defaultFolder() {
		command += " --folder " + shell.Quote(i.lane.Folder)
	}
	if statuses := slices.Collect(maps.Keys(i.result.failed)); len(statuses) == 1 {
		command += " --status " + string(statuses[0])
	}
	return command
}

func (i *importer) importRows(ctx context.Context) error {
	for row, err := range i.sheet.Rows() {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted behind row %d; run it again, it adds the rest: %w", i.last, context.Cause(ctx))
		}
		if err != nil {
			return i.breakOff(ctx, err)
		}
		if err := i.take(ctx, row); err != nil {
			return err
		}
		i.progress.read(row.End, &i.result)
	}
	return i.flush(ctx)
}

// breakOff publishes what stands before the place where the file breaks.
func (i *importer) breakOff(ctx context.Context, broken error) error {
	if err := i.flush(ctx); err != nil {
		return errors.Join(broken, err)
	}
	if format, ok := errors.AsType[*sheet.FormatError](broken); ok && format.Rest {
		format.Mend += fmt.Sprintf(". The %d rows before it are done; mend the file and run this again, it adds the rest", i.result.settled())
	}
	return broken
}

// take gathers a row, or rejects it.
func (i *importer) take(ctx context.Context, row sheet.Row) error {
	if row.Reference != "" && i.result.warn == "" && row.Err == nil {
		i.result.warn = fmt.Sprintf("row %d and perhaps others have a Reference, %q, that is not their key: where an answer of Orchestrator's is lost, the item cannot be told from somebody else's and its outcome will be unknown; with --key naming the Reference's column this cannot happen", row.Number, row.Reference)
	}
	i.rows = append(i.rows, row)
	i.bytes += len(row.Request.Item) + len(row.Text)
	if len(i.rows) < i.batch && i.bytes < batchBytes {
		return nil
	}
	return i.flush(ctx)
}

// flush deals with the gathered rows.
func (i *importer) flush(ctx context.Context) error {
	var sound []sheet.Row
	for _, row := range i.rows {
		if row.Err != nil {
			if err := i.reject(row, row.Err); err != nil {
				return err
			}
			continue
		}
		sound = append(sound, row)
	}
	if err := i.publish(ctx, sound); err != nil {
		return err
	}
	if n := len(i.rows); n > 0 {
		i.last = i.rows[n-1].Number
	}
	clear(i.rows)
	i.rows, i.bytes = i.rows[:0], 0
	return nil
}

// publish leaves out what the ledger knows and stores the rest. A server that
// does not answer is asked again: a repeat does no harm.
func (i *importer) publish(ctx context.Context, rows []sheet.Row) error {
	if i.publisher == nil || len(rows) == 0 {
		i.result.Published += len(rows)
		return nil
	}
	first, last := rows[0].Number, rows[len(rows)-1].Number
	for try := 1; ; try++ {
		left, err := i.attempt(ctx, rows)
		if err == nil {
			return nil
		}
		if try == publishTries || ctx.Err() != nil || !isPassing(err) {
			return explain(fmt.Errorf("rows %d to %d: %d are not confirmed; run it again, it adds the rest: %w", first, last, len(left), err))
		}
		rows = left
		wait(ctx, time.Second)
	}
}

// attempt publishes rows once and gives those it could not settle. It finishes
// what it has begun even when the context ends, so that the counts are right.
func (i *importer) attempt(ctx context.Context, rows []sheet.Row) (left []sheet.Row, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	fresh, err := i.unknown(ctx, rows)
	if err != nil {
		return rows, err
	}
	return i.store(ctx, fresh)
}

// unknown asks the ledger which rows it has not seen. One that it has seen
// with another content is rejected.
func (i *importer) unknown(ctx context.Context, rows []sheet.Row) ([]sheet.Row, error) {
	keys := make([]string, len(rows))
	for n, row := range rows {
		keys[n] = row.Request.Key
	}
	known, err := i.publisher.Known(ctx, i.lane, keys)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if hash, waits := i.waiting[key]; waits && known[key].PayloadHash == "" {
			known[key] = pipeline.KnownKey{PayloadHash: hash}
		}
	}
	var fresh []sheet.Row
	for _, row := range rows {
		k, ok := known[row.Request.Key]
		if !ok {
			fresh = append(fresh, row)
			continue
		}
		hash, err := row.Request.PayloadHash(i.lane)
		switch {
		case err != nil:
			return nil, fmt.Errorf("row %d: %w", row.Number, err)
		case hash == k.PayloadHash:
			i.result.noteKnown(k.Status)
		default:
			if err := i.reject(row, keyConflict(cmp.Or(i.sheet.KeyColumn(), "key"), row.Request.Key)); err != nil {
				return nil, err
			}
		}
	}
	return fresh, nil
}

func keyConflict(field, key string) error {
	return &pipeline.InvalidError{Field: field, Value: key, Mend: "key_conflict: a request of this key was handed in before and asks for something else; nothing was changed, choose another key"}
}

// store publishes rows and gives those that were not confirmed.
func (i *importer) store(ctx context.Context, rows []sheet.Row) (left []sheet.Row, err error) {
	requests := make([]pipeline.Request, len(rows))
	for n, row := range rows {
		requests[n] = row.Request
	}
	receipts, err := i.publisher.PublishAll(ctx, i.lane, requests)
	if err != nil {
		return rows, err
	}
	for n, receipt := range receipts {
		if receipt.Err == nil {
			i.result.Published++
			continue
		}
		if _, ok := errors.AsType[*pipeline.InvalidError](receipt.Err); ok {
			if err := i.reject(rows[n], receipt.Err); err != nil {
				return nil, err
			}
			continue
		}
		left, err = append(left, rows[n]), receipt.Err
	}
	return left, err
}

// shownRejects is how many rejects are shown to people; all are in the file.
const shownRejects = 10

func (i *importer) reject(row sheet.Row, reason error) error {
	i.result.Rejected++
	i.result.Rejects = i.rejects.path
	if len(i.result.shown) < shownRejects {
		i.result.shown = append(i.result.shown, fmt.Sprintf("row %d (line %d): %s", row.Number, row.Line, oneLine(reason)))
	}
	return i.rejects.add(row, reason)
}

// wait pauses until the time is over or the context ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// print gives the result: to people on standard error, to programs on
// standard output.
func (r importResult) print(cmd *cobra.Command, format string) error {
	w := cmd.ErrOrStderr()
	for _, line := range r.shown {
		_, _ = fmt.Fprintln(w, line)
	}
	if more := r.Rejected - len(r.shown); more > 0 {
		_, _ = fmt.Fprintf(w, "and %d more, see %s\n", more, r.Rejects)
	}
	if r.warn != "" {
		_, _ = fmt.Fprintln(w, "warning: "+r.warn)
	}
	_, _ = fmt.Fprintf(w, "%s: %s, in %.1f s\n", r.File, r.summary(), r.Seconds)
	if format == cli.FormatTable {
		return nil
	}
	return cli.PrintOne(cmd.OutOrStdout(), format, nil, r) //nolint:wrapcheck // says all there is to say
}

// noteKnown counts a row that was handed in before, by its final outcome if it
// has one.
func (r *importResult) noteKnown(status pipeline.Status) {
	r.Known++
	if isSuccess(status) || status == "" {
		return
	}
	r.KnownFailed++
	if r.failed == nil {
		r.failed = map[pipeline.Status]int{}
	}
	r.failed[status]++
}

// summary says in a few words what became of the rows.
func (r importResult) summary() string {
	published := fmt.Sprintf("%d published, ", r.Published)
	switch {
	case r.DryRun:
		published = fmt.Sprintf("%d could be published, ", r.Published)
	case r.Published == 0 && r.Known > 0:
		published = "nothing new: "
	}
	known := ""
	if r.KnownFailed > 0 {
		known = " (of them " + r.failures() + ")"
	}
	return fmt.Sprintf("%d rows read, %s%d already known%s, %d rejected", r.Read, published, r.Known, known, r.Rejected)
}

// failures counts what came to nothing by how it did.
func (r importResult) failures() string {
	var counts []string
	for _, status := range slices.Sorted(maps.Keys(r.failed)) {
		counts = append(counts, fmt.Sprintf("%d %s", r.failed[status], status))
	}
	return strings.Join(counts, ", ")
}
