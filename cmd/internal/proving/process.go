package proving

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs beside the test.
type Process struct {
	name  string
	cmd   *exec.Cmd
	log   *logbook      // what it writes
	Ended chan struct{} // closed when it has ended
}

// startProcess runs a program. What it writes goes into its logbook and to
// the file as well.
func startProcess(name string, env []string, file io.Writer, program string, args ...string) (*Process, error) {
	p := &Process{name: name, log: newLogbook(file), Ended: make(chan struct{})}
	p.cmd = exec.Command(program, args...) //nolint:noctx,gosec // it is ended by signals, as programs are; G204: it is this program itself
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	dieWithUs(p.cmd)
	started := make(chan error, 1)
	go func() {
		// Its life hangs on the thread that starts it, which must be ours
		// alone until it has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.Ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Kill ends it as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.Ended
}

// WasKilled reports whether it has ended by SIGKILL.
func (p *Process) WasKilled() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Running reports whether it has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// ID is its process id, and that of the process group it leads.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Signal sends it a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// ExitCode waits for its end.
func (p *Process) ExitCode(ctx context.Context) (int, error) {
	select {
	case <-p.Ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s has not ended: %w", p.name, context.Cause(ctx))
	}
}

// Says waits until it has written what the expression matches, and gives the
// match with its groups.
func (p *Process) Says(ctx context.Context, expression string) ([]string, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("expression for what %s says: %w", p.name, err)
	}
	ended := p.Ended
	for {
		match, changed := p.log.find(re)
		switch {
		case match != nil:
			return match, nil
		case ended == nil:
			return nil, fmt.Errorf("%s has ended with code %d and never said %q", p.name, p.cmd.ProcessState.ExitCode(), expression)
		}
		select {
		case <-changed:
		case <-ended:
			ended = nil // look once more: all it wrote is in the logbook now
		case <-ctx.Done():
			return nil, fmt.Errorf("%s does not say %q: %w", p.name, expression, context.Cause(ctx))
		}
	}
}

// logbook keeps what a process writes, and tells who waits for it.
type logbook struct {
	file io.Writer

	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newLogbook(file io.Writer) *logbook {
	return &logbook{file: file, changed: make(chan struct{})}
}

// Write never fails the process that writes: the file is only for people.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(p)
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(p) //nolint:wrapcheck // it never fails
}

// find looks for an expression, and gives the channel that is closed at the
// next change.
func (l *logbook) find(re *regexp.Regexp) (match []string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return re.FindStringSubmatch(l.text.String()), l.changed
}

// Patience bounds every wait of a test for another process: far more than any
// takes, so that only what never happens fails.
const Patience = 90 * time.Second
