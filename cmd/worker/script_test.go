package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/proving"
	"waybill/pipeline"
)

// TestScript runs the scripts in testdata/script: the programs themselves, as
// processes that are killed and started again. Beside testscript's own
// commands a script has:
//
//	nats                            start NATS; again, after a crash, with what it had stored
//	orchestrator [flag...]          start the simulated Orchestrator, and point the environment at it
//	start NAME [flag...]            start worker run with short times, and wait until it is ready
//	log NAME REGEXP                 wait until the process has logged this
//	crash NAME                      kill -9
//	interrupt NAME, terminate NAME  send the signal
//	freeze NAME, thaw NAME          stop the process as a machine that is suspended, and let it go on
//	insist NAME                     interrupt it again and again until it ends
//	ends NAME CODE                  wait for the process's end, with this exit code
//	exits CODE PROGRAM [arg...]     run a program to its end, with this exit code
//	publish LANE KEY... [until=completed]
//	                                ask for an item or job for each key; KEY may be INV-1..40
//	await [accepted]                wait until everything asked for has its final outcome, or is accepted
//	outcomes                        print the outcomes so far, a line for each key
//	check                           hold everything that happened against the promise
//	hold OPERATION before|after [REFERENCE] [outlives]
//	                                have the simulator stop the next such call before its effect, or after
//	held                            wait until a call has run into the hold
//	release                         let the held call go on
//	calls OPERATION N               compare how many such calls Orchestrator has had
//	effects N                       compare how much Orchestrator has been made to do
//	faults KIND...                  have the simulator spoil every write call from now on; none: no more
//	proxy html|open                 put a proxy before Orchestrator that shows a page of its own, or lets calls through
//	stream FILE                     make a stream by its configuration in JSON
//
// LANE is items/QUEUE or jobs/PROCESS in the folder Shared, with the tenant
// ahead (Second/items/Orders) where it is not the default one. The processes
// nats and orchestrator can be named like the workers.
func TestScript(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes, and waits for the claims of killed ones to run out")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUpStage,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"nats":         onStage((*stage).nats),
			"orchestrator": onStage((*stage).orchestrator),
			"start":        onStage((*stage).start),
			"log":          onStage((*stage).log),
			"crash":        onStage((*stage).crash),
			"interrupt":    onStage((*stage).interrupt),
			"terminate":    onStage((*stage).terminate),
			"freeze":       onStage((*stage).freeze),
			"thaw":         onStage((*stage).thaw),
			"insist":       onStage((*stage).insist),
			"ends":         onStage((*stage).ends),
			"exits":        onStage((*stage).exits),
			"publish":      onStage((*stage).publish),
			"await":        onStage((*stage).await),
			"outcomes":     onStage((*stage).outcomes),
			"check":        onStage((*stage).check),
			"hold":         onStage((*stage).hold),
			"held":         onStage((*stage).held),
			"release":      onStage((*stage).release),
			"calls":        onStage((*stage).calls),
			"effects":      onStage((*stage).effects),
			"faults":       onStage((*stage).faults),
			"proxy":        onStage((*stage).proxy),
			"stream":       onStage((*stage).stream),
		},
	})
}

// stage is what one script plays on.
type stage struct {
	*proving.Installation
	holdID  string
	gateway *gateway
}

type stageKey struct{}

func setUpStage(env *testscript.Env) error {
	s := &stage{Installation: proving.New("worker", env.WorkDir, env.WorkDir)}
	env.Values[stageKey{}] = s
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("UIPATH_CLIENT_ID", "id")
	env.Setenv("UIPATH_CLIENT_SECRET", "secret")
	env.Setenv("UIPATH_FOLDER_PATH", "Shared")
	env.Defer(func() {
		err := s.Close()
		if t, ok := env.T().(interface{ Failed() bool }); ok && t.Failed() {
			env.T().Log(s.lastWords())
		}
		if err != nil {
			env.T().Fatal(err)
		}
	})
	return nil
}

// lastWords is the end of every log.
func (s *stage) lastWords() string {
	const most = 4000
	var b strings.Builder
	for name := range s.Processes {
		text, err := os.ReadFile(s.LogOf(name))
		if err != nil {
			text = []byte(err.Error())
		}
		fmt.Fprintf(&b, "\n-- %s --\n%s", name, text[max(0, len(text)-most):])
	}
	return b.String()
}

// scriptCmd is a command of a script, with the time it may take.
type scriptCmd func(*stage, context.Context, *testscript.TestScript, []string) error

func onStage(f scriptCmd) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s, ok := ts.Value(stageKey{}).(*stage)
		if !ok || neg {
			ts.Fatalf("this command cannot be negated")
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), proving.Patience, fmt.Errorf("%s have passed", proving.Patience))
		defer cancel()
		ts.Check(f(s, ctx, ts, args))
	}
}

var errUsage = errors.New("usage: see TestScript")

// environment is what the script has set of the variables that our programs,
// and Go's race detector, look at.
func environment(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "GORACE", "GOCOVERDIR", "NATS_URL",
		"UIPATH_URL", "UIPATH_TENANT", "UIPATH_IDENTITY_URI", "UIPATH_CLIENT_ID", "UIPATH_CLIENT_SECRET", "UIPATH_CLIENT_SECRET_FILE", "UIPATH_FOLDER_PATH",
	} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func (s *stage) nats(ctx context.Context, ts *testscript.TestScript, _ []string) error {
	err := s.StartNATS(ctx, environment(ts))
	ts.Setenv("NATS_URL", s.NATSURL)
	return err
}

func (s *stage) orchestrator(ctx context.Context, ts *testscript.TestScript, args []string) error {
	err := s.StartOrchestrator(ctx, environment(ts), args...)
	ts.Setenv("UIPATH_URL", s.OrchestratorURL(cli.DefaultTenant))
	return err
}

// shortTimes have a worker that was killed succeeded within seconds: its
// deliveries come back after one, its claims are dead after six and a half.
var shortTimes = []string{"--ack-wait", "1s", "--call-timeout", "2s", "--hold", "5.5s", "--settle", "1s"}

func (s *stage) start(ctx context.Context, ts *testscript.TestScript, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	p, err := s.Run(args[0], environment(ts), slices.Concat([]string{"run"}, shortTimes, args[1:])...)
	if err != nil {
		return err
	}
	if _, err = p.Says(ctx, "worker ready"); err != nil {
		return err
	}
	return s.Collect(ctx)
}

func (s *stage) log(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	p, err := s.Process(args[0])
	if err != nil {
		return err
	}
	_, err = p.Says(ctx, args[1])
	return err
}

func (s *stage) crash(_ context.Context, _ *testscript.TestScript, args []string) error {
	p, err := s.Process(strings.Join(args, " "))
	if err == nil {
		p.Kill()
	}
	return err
}

func (s *stage) interrupt(_ context.Context, _ *testscript.TestScript, args []string) error {
	return s.send(syscall.SIGINT, args)
}

func (s *stage) terminate(_ context.Context, _ *testscript.TestScript, args []string) error {
	return s.send(syscall.SIGTERM, args)
}

func (s *stage) freeze(_ context.Context, _ *testscript.TestScript, args []string) error {
	return s.send(syscall.SIGSTOP, args)
}

func (s *stage) thaw(_ context.Context, _ *testscript.TestScript, args []string) error {
	return s.send(syscall.SIGCONT, args)
}

func (s *stage) send(signal os.Signal, args []string) error {
	p, err := s.Process(strings.Join(args, " "))
	if err != nil {
		return err
	}
	return p.Signal(signal)
}

// insist repeats the signal since the kernel drops one that comes before the
// last has been taken.
func (s *stage) insist(ctx context.Context, _ *testscript.TestScript, args []string) error {
	p, err := s.Process(strings.Join(args, " "))
	if err != nil {
		return err
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-p.Ended:
			return nil
		case <-again.C:
			_ = p.Signal(syscall.SIGINT) // it may just have ended
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *stage) ends(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	p, err := s.Process(args[0])
	if err != nil {
		return err
	}
	code, err := p.ExitCode(ctx)
	if err != nil {
		return err
	}
	return compare("exit code of "+args[0], strconv.Itoa(code), args[1])
}

func (s *stage) exits(_ context.Context, ts *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			return err
		}
		code = exit.ExitCode()
	}
	return compare("exit code", strconv.Itoa(code), args[0])
}

func compare(what, got, want string) error {
	if got != want {
		return fmt.Errorf("%s: got %s, want %s", what, got, want)
	}
	return nil
}

func (s *stage) publish(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	lane, err := parseLane(args[0])
	if err != nil {
		return err
	}
	var requests []pipeline.Request
	for _, arg := range args[1:] {
		for _, key := range expandKeys(arg) {
			requests = append(requests, proving.NewRequest(lane, key))
		}
	}
	if args[len(args)-1] == "until=completed" {
		requests = requests[:len(requests)-1]
		for i := range requests {
			requests[i].Until = pipeline.UntilCompleted
		}
	}
	return s.Publish(ctx, lane, requests...)
}

func parseLane(text string) (pipeline.Lane, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 2 {
		parts = append([]string{cli.DefaultTenant}, parts...)
	}
	if len(parts) != 3 {
		return pipeline.Lane{}, errUsage
	}
	lane := pipeline.Lane{Tenant: parts[0], Folder: "Shared", Kind: pipeline.Kind(strings.TrimSuffix(parts[1], "s")), Name: parts[2]}
	return lane, lane.Validate()
}

// expandKeys writes INV-1..40 out.
func expandKeys(text string) []string {
	match := regexp.MustCompile(`^(.*?)(\d+)\.\.(\d+)$`).FindStringSubmatch(text)
	if match == nil {
		return []string{text}
	}
	first, _ := strconv.Atoi(match[2]) // digits
	last, _ := strconv.Atoi(match[3])
	var keys []string
	for n := first; n <= last; n++ {
		keys = append(keys, match[1]+strconv.Itoa(n))
	}
	return keys
}

func (s *stage) await(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) > 0 {
		return s.Await(ctx, pipeline.Stage(args[0]))
	}
	return s.Await(ctx, pipeline.StageFinal)
}

// outcomes prints, in the order of their names, what is known of the keys. A
// key that has got several outcomes has several lines.
func (s *stage) outcomes(_ context.Context, ts *testscript.TestScript, _ []string) error {
	var lines []string
	for _, o := range s.Collector.All() {
		line := fmt.Sprintf("%s %s: %s by %s", o.Lane().Name, o.Key, o.Status, o.DecidedBy)
		if o.Stage != pipeline.StageFinal {
			line += ", to be followed"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	for _, line := range lines {
		fmt.Fprintln(ts.Stdout(), line)
	}
	return nil
}

func (s *stage) check(ctx context.Context, ts *testscript.TestScript, _ []string) error {
	report, err := s.Judge(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(ts.Stdout(), report)
	for _, v := range report.Violations {
		err = errors.Join(err, fmt.Errorf("%s: %s", v.Key, v.What))
	}
	return err
}

func (s *stage) hold(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) < 2 {
		return errUsage
	}
	body := map[string]any{"operation": args[0], "when": args[1]}
	for _, arg := range args[2:] {
		if arg == "outlives" {
			body["outlives"] = true
		} else {
			body["reference"] = arg
		}
	}
	var answer struct{ ID string }
	err := s.Ask(ctx, http.MethodPost, "/holds", body, &answer)
	s.holdID = answer.ID
	return err
}

func (s *stage) held(ctx context.Context, _ *testscript.TestScript, _ []string) error {
	var answer struct{ Arrived bool }
	err := s.Ask(ctx, http.MethodGet, "/holds/"+s.holdID+"?wait="+proving.Patience.String(), nil, &answer)
	if err == nil && !answer.Arrived {
		err = errors.New("no call has run into the hold")
	}
	return err
}

func (s *stage) release(ctx context.Context, _ *testscript.TestScript, _ []string) error {
	return s.Ask(ctx, http.MethodDelete, "/holds/"+s.holdID, nil, nil)
}

func (s *stage) calls(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	var counts map[string]int
	if err := s.Ask(ctx, http.MethodGet, "/calls", nil, &counts); err != nil {
		return err
	}
	return compare(fmt.Sprintf("calls of %s (all calls: %v)", args[0], counts), strconv.Itoa(counts[args[0]]), args[1])
}

func (s *stage) effects(ctx context.Context, _ *testscript.TestScript, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	var all struct{ Count int }
	if err := s.Ask(ctx, http.MethodGet, "/effects", nil, &all); err != nil {
		return err
	}
	return compare("effects", strconv.Itoa(all.Count), args[0])
}

func (s *stage) faults(ctx context.Context, _ *testscript.TestScript, args []string) error {
	faults := map[string]any{"rate": 1, "kinds": args}
	if len(args) == 1 && args[0] == "none" {
		faults = map[string]any{"rate": 0}
	}
	return s.Ask(ctx, http.MethodPut, "/faults", faults, nil)
}

// gateway is a proxy that may show a page of its own instead, with status 200,
// as those with a login page or a maintenance page do.
type gateway struct {
	*httptest.Server
	html atomic.Bool
}

func newGateway(target *url.URL) *gateway {
	g := &gateway{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.html.Load() {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<!DOCTYPE html><html><title>Down for maintenance</title></html>")
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	return g
}

func (s *stage) proxy(_ context.Context, ts *testscript.TestScript, args []string) error {
	if s.gateway == nil {
		target, err := url.Parse(strings.TrimSuffix(s.Control, "/simulator"))
		if err != nil {
			return err
		}
		s.gateway = newGateway(target)
		ts.Defer(s.gateway.Close)
		ts.Setenv("UIPATH_URL", s.gateway.URL+"/demo/"+cli.DefaultTenant+"/orchestrator_")
	}
	switch strings.Join(args, " ") {
	case "html":
		s.gateway.html.Store(true)
	case "open":
		s.gateway.html.Store(false)
	default:
		return errUsage
	}
	return nil
}

func (s *stage) stream(ctx context.Context, ts *testscript.TestScript, args []string) error {
	var cfg jetstream.StreamConfig
	if err := json.Unmarshal([]byte(ts.ReadFile(filepath.Clean(strings.Join(args, " ")))), &cfg); err != nil {
		return err
	}
	_, err := s.JS.CreateStream(ctx, cfg)
	return err
}
