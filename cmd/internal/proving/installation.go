// Package proving runs waybill against the promise: NATS, a simulated
// Orchestrator and workers as processes of their own, which are killed, frozen
// and cut off while requests are published; and what has happened is held
// against what was asked for. Command worker prove and the tests of cmd/worker
// are made of it.
package proving

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

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/history"
)

// Installation is NATS, a simulated Orchestrator and workers, each a process
// of its own, with what is known from outside: which requests were published,
// which outcomes came, which effects there are.
type Installation struct {
	// Logs is the folder for what the processes write, a file for each name.
	Logs string
	// Processes are those that run or have run, by their names.
	Processes map[string]*Process
	NATSURL   string              // where clients connect
	JS        jetstream.JetStream // over a connection of the installation's own
	Control   string              // URL of the simulator's control pages
	Requested []history.Key       // what was asked for
	// Published is what is known of messages beyond their keys, where it is.
	Published []history.Request
	Collector *Collector // from Collect on

	// Nodes is how many NATS servers there are, 1 or 3; SyncDefault leaves it
	// to each when its writes reach the disk. Both are set before StartNATS.
	Nodes       int
	SyncDefault bool

	mu      sync.Mutex // of Processes
	nodes   []node
	program string // worker, or where it lies
	store   string // folder for what JetStream keeps
	nc      *nats.Conn
	http    *http.Client
}

// New prepares an installation, of which nothing runs yet. The program is
// cmd/worker, dir is where JetStream keeps its files, and logs where the
// processes write theirs.
func New(program, dir, logs string) *Installation {
	return &Installation{
		program: program, store: filepath.Join(dir, "jetstream"), Logs: logs, Processes: make(map[string]*Process),
		http: &http.Client{Transport: &http.Transport{}},
	}
}

// Close ends everything and waits until it has ended. It reports the processes
// that have panicked or found a data race, whatever became of the requests.
func (in *Installation) Close() error {
	if in.Collector != nil {
		in.Collector.stop()
	}
	for _, p := range in.Processes {
		p.Kill()
	}
	if in.nc != nil {
		in.nc.Close()
	}
	in.http.CloseIdleConnections()
	var faults []error
	for name := range in.Processes {
		text, err := os.ReadFile(in.LogOf(name))
		if fault := regexp.MustCompile(`(?ms)^(panic: |fatal error: |WARNING: DATA RACE).{0,1000}`).Find(text); fault != nil {
			err = fmt.Errorf("%s: %s", name, fault)
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// Run starts a program, under a name that no running process has.
func (in *Installation) Run(name string, env []string, args ...string) (*Process, error) {
	if p, err := in.Process(name); err == nil && p.Running() {
		return nil, fmt.Errorf("%s is running already", name)
	}
	file, err := os.OpenFile(in.LogOf(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	p, err := startProcess(name, env, file, in.program, args...)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	go func() {
		<-p.Ended
		_ = file.Close() // it is only for people
	}()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.Processes[name] = p
	return p, nil
}

// LogOf is the file that a process writes to.
func (in *Installation) LogOf(name string) string { return filepath.Join(in.Logs, name+".log") }

// Process gives a process by its name, running or ended.
func (in *Installation) Process(name string) (*Process, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if p := in.Processes[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no process has been started under the name %s", name)
}

// StartOrchestrator starts the simulator; a second time on the same port, with
// nothing in it.
func (in *Installation) StartOrchestrator(ctx context.Context, env []string, flags ...string) error {
	listen := "127.0.0.1:0"
	if in.Control != "" {
		listen = strings.Split(in.Control, "/")[2]
	}
	p, err := in.Run("orchestrator", env, append([]string{"simulator", "--listen", listen}, flags...)...)
	if err != nil {
		return err
	}
	match, err := p.Says(ctx, `control=(\S+)/`)
	if err == nil {
		in.Control = match[1]
	}
	return err
}

// OrchestratorURL is where a tenant's API begins.
func (in *Installation) OrchestratorURL(tenant string) string {
	return strings.TrimSuffix(in.Control, "/simulator") + "/demo/" + tenant + "/orchestrator_"
}

// Ask makes a call to the simulator's control pages.
func (in *Installation) Ask(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode control call: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, in.Control+path, bytes.NewReader(data))
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
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

// The lanes of the simulated Orchestrator as worker simulator makes it.
var (
	UniqueQueue = pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindItem, Name: "Invoices"}
	PlainQueue  = pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindItem, Name: "Orders"}
	PayInvoices = pipeline.Lane{Tenant: cli.DefaultTenant, Folder: "Shared", Kind: pipeline.KindJob, Name: "Pay invoices"}
)

// NewRequest is a request whose content tells it from every other.
func NewRequest(lane pipeline.Lane, key string) pipeline.Request {
	if lane.Kind == pipeline.KindJob {
		return pipeline.Request{Key: key, Job: json.RawMessage(fmt.Sprintf(`{"InputArguments":{"in_Key":%q}}`, key))}
	}
	return pipeline.Request{Key: key, Item: json.RawMessage(fmt.Sprintf(`{"Priority":"Normal","SpecificContent":{"Number":%q}}`, key))}
}

// Publish publishes requests and remembers what was asked for.
func (in *Installation) Publish(ctx context.Context, lane pipeline.Lane, requests ...pipeline.Request) error {
	for _, r := range requests {
		in.Requested = append(in.Requested, history.Key{Lane: lane, Key: r.Key})
	}
	receipts, err := pipeline.NewPublisher(in.JS, pipeline.Topology{}).PublishAll(ctx, lane, requests)
	faults := []error{err}
	for _, r := range receipts {
		faults = append(faults, r.Err)
	}
	return errors.Join(faults...)
}

// Collect gathers the outcomes from the first one on, once there is a ledger.
func (in *Installation) Collect(ctx context.Context) error {
	if in.Collector != nil {
		return nil
	}
	var err error
	in.Collector, err = startCollector(ctx, in.JS)
	return err
}

// Await waits until each request published has its final outcome, or has come
// to the stage accepted.
func (in *Installation) Await(ctx context.Context, stage pipeline.Stage) error {
	for {
		missing, changed, err := in.Collector.Without(stage, in.Requested)
		if err != nil || len(missing) == 0 {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d requests have not come to the stage %s, %s among them: %w", len(missing), len(in.Requested), stage, missing[0], context.Cause(ctx))
		}
	}
}

// Effects gives what Orchestrator was made to do, by the request whose key is
// the Reference.
func (in *Installation) Effects(ctx context.Context) ([]history.Effect, error) {
	var answer struct{ Effects []simulator.Effect }
	if err := in.Ask(ctx, http.MethodGet, "/effects", nil, &answer); err != nil {
		return nil, err
	}
	// The simulator has one tenant under many names, so the tenant is the
	// request's.
	tenants := make(map[history.Key]string, len(in.Requested))
	for _, key := range in.Requested {
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

// Judge holds everything that has happened against the promise.
func (in *Installation) Judge(ctx context.Context) (history.Report, error) {
	effects, err := in.Effects(ctx)
	if err != nil {
		return history.Report{}, err
	}
	letters, err := in.deadLetters(ctx)
	if err != nil {
		return history.Report{}, err
	}
	run := history.Run{Requests: in.requests(), Effects: effects, Outcomes: in.Collector.All(), DeadLetters: make([]history.DeadLetter, len(letters))}
	for i, l := range letters {
		run.DeadLetters[i] = l.DeadLetter
	}
	return history.Check(run), nil
}

// requests are those of which more is known, and the keys of the others.
func (in *Installation) requests() []history.Request {
	all := slices.Clone(in.Published)
	known := make(map[history.Key]bool, len(all))
	for _, r := range all {
		known[r.Key] = true
	}
	for _, key := range in.Requested {
		if !known[key] {
			all = append(all, history.Request{Key: key})
		}
	}
	return all
}
