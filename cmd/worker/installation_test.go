package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/history"
)

// installation is NATS, a simulated Orchestrator and workers, each a process
// of its own, with what is known from outside: which requests were published,
// which outcomes came, which effects there are.
type installation struct {
	store     string // folder for what JetStream keeps
	logs      string // folder for what the processes write, a file for each name
	processes map[string]*process

	natsURL string
	nc      *nats.Conn
	js      jetstream.JetStream
	control string // URL of the simulator's control pages
	http    *http.Client

	requested []history.Key
	collector *collector
}

func newInstallation(dir, logs string) *installation {
	return &installation{
		store: filepath.Join(dir, "jetstream"), logs: logs, processes: make(map[string]*process),
		http: &http.Client{Transport: &http.Transport{}},
	}
}

// setUp makes an installation for a test, which ends with it.
func setUp(t *testing.T) *installation {
	t.Helper()
	in := newInstallation(t.TempDir(), t.ArtifactDir())
	t.Cleanup(func() {
		if err := in.close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// close ends everything and waits until it has ended. It reports the processes
// that have panicked or found a data race, whatever became of the requests.
func (in *installation) close() error {
	if in.collector != nil {
		in.collector.stop()
	}
	for _, p := range in.processes {
		p.kill()
	}
	if in.nc != nil {
		in.nc.Close()
	}
	in.http.CloseIdleConnections()
	var faults []error
	for name := range in.processes {
		text, err := os.ReadFile(in.logOf(name))
		if fault := regexp.MustCompile(`(?ms)^(panic: |fatal error: |WARNING: DATA RACE).{0,1000}`).Find(text); fault != nil {
			err = fmt.Errorf("%s: %s", name, fault)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// run starts a program, under a name that no running process has.
func (in *installation) run(name string, env []string, program string, args ...string) (*process, error) {
	if p := in.processes[name]; p != nil {
		select {
		case <-p.ended:
		default:
			return nil, fmt.Errorf("%s is running already", name)
		}
	}
	file, err := os.OpenFile(in.logOf(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	p, err := startProcess(name, env, file, program, args...)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go func() {
		<-p.ended
		_ = file.Close() // it is only for people
	}()
	in.processes[name] = p
	return p, nil
}

func (in *installation) logOf(name string) string { return filepath.Join(in.logs, name+".log") }

// process gives a process by its name, running or ended.
func (in *installation) process(name string) (*process, error) {
	if p := in.processes[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no process has been started under the name %s", name)
}

// startNATS starts the server; a second time, after it was killed, on the same
// port and with what it had written.
func (in *installation) startNATS(ctx context.Context, env []string) error {
	port := "-1"
	if in.natsURL != "" {
		port = in.natsURL[strings.LastIndexByte(in.natsURL, ':')+1:]
	}
	p, err := in.run("nats", env, "nats-server", "-store", in.store, "-port", port)
	if err != nil {
		return err
	}
	match, err := p.says(ctx, `NATS server ready" url=(\S+)`)
	if err != nil || in.nc != nil {
		return err
	}
	in.natsURL = match[1]
	if in.nc, err = nats.Connect(in.natsURL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.Name("waybill test")); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	in.js, err = jetstream.New(in.nc)
	return err
}

// startOrchestrator starts the simulator; a second time on the same port, with
// nothing in it.
func (in *installation) startOrchestrator(ctx context.Context, env []string, flags ...string) error {
	listen := "127.0.0.1:0"
	if in.control != "" {
		listen = strings.Split(in.control, "/")[2]
	}
	p, err := in.run("orchestrator", env, "worker", append([]string{"simulator", "--listen", listen}, flags...)...)
	if err != nil {
		return err
	}
	match, err := p.says(ctx, `control=(\S+)/`)
	if err == nil {
		in.control = match[1]
	}
	return err
}

// orchestratorURL is where a tenant's API begins.
func (in *installation) orchestratorURL(tenant string) string {
	return strings.TrimSuffix(in.control, "/simulator") + "/demo/" + tenant + "/orchestrator_"
}

// ask makes a call to the simulator's control pages.
func (in *installation) ask(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode control call: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, in.control+path, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("control call: %w", err)
	}
	resp, err := in.http.Do(req)
	if err != nil {
		return fmt.Errorf("control call: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s %s: %w", method, path, resp.Status, answer, cmp.Or(err, errors.ErrUnsupported))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// The lanes of the simulated Orchestrator as worker simulator makes it.
var (
	uniqueQueue = pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}
	plainQueue  = pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindItem, Name: "Orders"}
	payInvoices = pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindJob, Name: "Pay invoices"}
)

// newRequest is a request whose content tells it from every other.
func newRequest(lane pipeline.Lane, key string) pipeline.Request {
	if lane.Kind == pipeline.KindJob {
		return pipeline.Request{Key: key, Job: json.RawMessage(fmt.Sprintf(`{"InputArguments":{"in_Key":%q}}`, key))}
	}
	return pipeline.Request{Key: key, Item: json.RawMessage(fmt.Sprintf(`{"Priority":"Normal","SpecificContent":{"Number":%q}}`, key))}
}

// publish publishes requests and remembers what was asked for.
func (in *installation) publish(ctx context.Context, lane pipeline.Lane, requests ...pipeline.Request) error {
	for _, r := range requests {
		in.requested = append(in.requested, history.Key{Lane: lane, Key: r.Key})
	}
	receipts, err := pipeline.NewPublisher(in.js, pipeline.Topology{}).PublishAll(ctx, lane, requests)
	faults := []error{err}
	for _, r := range receipts {
		faults = append(faults, r.Err)
	}
	return errors.Join(faults...)
}

// collect gathers the outcomes from the first one on, once there is a ledger.
func (in *installation) collect(ctx context.Context) error {
	if in.collector != nil {
		return nil
	}
	var err error
	in.collector, err = startCollector(ctx, in.js)
	return err
}

// await waits until each request published has its final outcome, or has come
// to the stage accepted.
func (in *installation) await(ctx context.Context, stage pipeline.Stage) error {
	for {
		missing, changed, err := in.collector.without(stage, in.requested)
		if err != nil || len(missing) == 0 {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d requests have not come to the stage %s, %s among them: %w", len(missing), len(in.requested), stage, missing[0], context.Cause(ctx))
		}
	}
}

// effects gives what Orchestrator was made to do, by the request whose key is
// the Reference.
func (in *installation) effects(ctx context.Context) ([]history.Effect, error) {
	var answer struct{ Effects []simulator.Effect }
	if err := in.ask(ctx, http.MethodGet, "/effects", nil, &answer); err != nil {
		return nil, err
	}
	// The simulator has one tenant under many names, so the tenant is the
	// request's.
	tenants := make(map[history.Key]string, len(in.requested))
	for _, key := range in.requested {
		tenant := key.Lane.Tenant
		key.Lane.Tenant = ""
		tenants[key] = tenant
	}
	effects := make([]history.Effect, len(answer.Effects))
	for i, e := range answer.Effects {
		key := history.Key{Lane: pipeline.Lane{Folder: e.Folder, Kind: pipeline.Kind(e.Kind), Name: e.Name}, Key: e.Reference}
		key.Lane.Tenant = tenants[key]
		effects[i] = history.Effect{Key: key, ID: e.ID}
	}
	return effects, nil
}

// judge holds everything that has happened against the promise.
func (in *installation) judge(ctx context.Context) (history.Report, error) {
	effects, err := in.effects(ctx)
	if err != nil {
		return history.Report{}, err
	}
	return history.Check(in.requested, effects, in.collector.all()), nil
}

// collector gathers outcomes as they are stored, repeats and all, in a
// goroutine of its own.
type collector struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	outcomes []pipeline.Outcome
	settled  map[history.Key]bool // at the stage final
	accepted map[history.Key]bool // at the stage accepted
	changed  chan struct{}
	err      error // why it has ended early
}

// startCollector returns when no outcome can be missed any more.
func startCollector(ctx context.Context, js jetstream.JetStream) (*collector, error) {
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &collector{cancel: cancel, settled: make(map[history.Key]bool), accepted: make(map[history.Key]bool), changed: make(chan struct{})}
	ready := make(chan struct{})
	c.done.Go(func() {
		for o, err := range pipeline.Watch(watch, js, pipeline.Topology{}, pipeline.OutcomeFilter{All: true}, func() { close(ready) }) {
			c.add(o, err)
		}
	})
	select {
	case <-ready:
		return c, nil
	case <-ctx.Done():
		c.stop()
		return nil, fmt.Errorf("watch outcomes: %w", cmp.Or(c.err, context.Cause(ctx)))
	}
}

func (c *collector) stop() {
	c.cancel()
	c.done.Wait()
}

func (c *collector) add(o pipeline.Outcome, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
	if err != nil {
		c.err = errors.Join(c.err, err)
		return
	}
	c.outcomes = append(c.outcomes, o)
	c.at(o.Stage)[history.Key{Lane: o.Lane(), Key: o.Key}] = true
}

func (c *collector) at(stage pipeline.Stage) map[history.Key]bool {
	if stage == pipeline.StageFinal {
		return c.settled
	}
	return c.accepted
}

// without gives the keys that have not come to a stage yet, and the channel
// that is closed when there is more to know.
func (c *collector) without(stage pipeline.Stage, keys []history.Key) (missing []history.Key, changed <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reached := c.at(stage)
	missing = slices.DeleteFunc(slices.Clone(keys), func(k history.Key) bool { return reached[k] })
	return missing, c.changed, c.err
}

func (c *collector) all() []pipeline.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.outcomes)
}
