package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// watch runs enqueue watch until it has printed so many lines, and gives them.
func (i *installation) watch(t *testing.T, lines int, args ...string) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	root := newRoot()
	out := &lineCounter{want: lines, done: cancel}
	root.SetOut(out)
	root.SetErr(t.Output())
	root.SetArgs(append([]string{"watch", "--nats-url", i.url}, args...))
	err := root.ExecuteContext(ctx)
	return strings.Split(strings.TrimSpace(out.String()), "\n"), err
}

// lineCounter ends something when enough lines were written.
type lineCounter struct {
	mu   sync.Mutex
	text bytes.Buffer
	want int
	done func()
}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	if bytes.Count(c.text.Bytes(), []byte("\n")) >= c.want {
		c.done()
	}
	return len(p), nil
}

func (c *lineCounter) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

func TestWatch(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if err := i.bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, status := range map[string]pipeline.Status{"K1": pipeline.StatusAccepted, "K2": pipeline.StatusRejected} {
		if err := i.settle(t.Context(), canonical, pipeline.Request{Key: key, Item: json.RawMessage(`{}`)}, status); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := i.watch(t, 2, "--all", "--queue", "invoices", "--status", "rejected")
	if err != nil {
		t.Errorf("watch ended with %v, want nil: being stopped is how it ends", err)
	}
	want := []string{
		"FINISHED              STATUS     KEY                                   LANE                              ID        ERROR",
		"2026-11-22T10:00:00Z  rejected   K2                                    Default:Shared:items:Invoices     4711      queue does not exist",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}

	lines, err = i.watch(t, 1, "--since", "1h", "--key", "K1", "-o", "jsonl")
	var o pipeline.Outcome
	if err := errors.Join(err, json.Unmarshal([]byte(lines[0]), &o)); err != nil || o.Key != "K1" {
		t.Errorf("printed %q, want the outcome of K1 (error %v)", lines, err)
	}
}

// A folder alone is found however it is spelled.
func TestWatchFolder(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	other := canonical
	other.Folder = "Other"
	for key, lane := range map[string]pipeline.Lane{"K1": canonical, "K2": other} {
		if err := i.settle(t.Context(), lane, pipeline.Request{Key: key, Item: json.RawMessage(`{}`)}, pipeline.StatusAccepted); err != nil {
			t.Fatal(err)
		}
	}
	for folder, want := range map[string]string{"shared": "K1", "OTHER": "K2"} {
		lines, err := i.watch(t, 1, "--all", "--folder", folder, "-o", "jsonl")
		var o pipeline.Outcome
		if err := errors.Join(err, json.Unmarshal([]byte(lines[0]), &o)); err != nil || o.Key != want {
			t.Errorf("--folder %s: printed %q, want the outcome of %s (error %v)", folder, lines, want, err)
		}
	}
}

// A queue may be served in any folder: without --folder nothing is said of one.
// With it, it is told that nobody knows the lane yet.
func TestWatchUnknownLane(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	if err := i.settle(t.Context(), canonical, pipeline.Request{Key: "K1", Item: json.RawMessage(`{}`)}, pipeline.StatusAccepted); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		told bool
	}{{nil, false}, {[]string{"--folder", "Shared"}, true}} {
		ctx, cancel := context.WithCancel(t.Context())
		root := newRoot()
		var said lineCounter
		said.done = func() {}
		root.SetOut(&lineCounter{want: 1, done: cancel})
		root.SetErr(&said)
		root.SetArgs(append([]string{"watch", "--nats-url", i.url, "--all", "--queue", "Invoices", "-o", "jsonl"}, test.args...))
		if err := root.ExecuteContext(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if told := strings.Contains(said.String(), "no worker has served"); told != test.told {
			t.Errorf("%v: it says %q", test.args, said.String())
		}
	}
}

// What follows outcomes leaves no consumer behind.
func TestWatchLeavesNothing(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.work(t, pipeline.StatusAccepted)
	i.run(t, "", "item", "--queue", "invoices", "--key", "K1", "--wait").want(t, cli.ExitOK)
	if _, err := i.watch(t, 1, "--all", "-o", "jsonl"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // sooner than by itself
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		stream, err := i.js.Stream(ctx, i.topology.LedgerStream())
		if err != nil {
			t.Fatal(err)
		}
		if stream.CachedInfo().State.Consumers == 0 {
			return
		}
		<-look.C
	}
}

func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.run(t, "", "watch", "--folder", "-").want(t, cli.ExitUsage, "--folder -: which folder that is depends on the queue or process")
	i.run(t, "", "watch", "--prefix", "other").want(t, cli.ExitUnreachable, "start a worker against this NATS server")
}

func TestWithoutRepeats(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	outcome := func(key string, generation int) pipeline.Outcome {
		return pipeline.Outcome{Key: key, Generation: generation, Kind: pipeline.KindItem, Queue: "Q", Stage: pipeline.StageFinal}
	}
	var all iter.Seq2[pipeline.Outcome, error] = func(yield func(pipeline.Outcome, error) bool) {
		for _, o := range []pipeline.Outcome{outcome("K1", 1), outcome("K1", 1), outcome("K2", 1), outcome("K1", 2), outcome("K1", 1)} {
			if !yield(o, nil) {
				return
			}
		}
		yield(pipeline.Outcome{}, broken)
	}
	var got []string
	for o, err := range withoutRepeats(all) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, fmt.Sprintf("%s/%d", o.Key, o.Generation))
	}
	if diff := cmp.Diff([]string{"K1/1", "K2/1", "K1/2", "broken"}, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}
