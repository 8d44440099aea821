package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program of a run. What it writes goes to a file.
type process struct {
	name    string
	cmd     *exec.Cmd
	logPath string
	started time.Time
	ended   chan struct{}
	health  string // address of its health checks, if it has any
	peak    int64  // KiB, as last read
}

// stopTimeout is how long a process may take to end when it is told to.
const stopTimeout = 40 * time.Second

// startProcess runs a program until it is stopped, or the context ends.
func startProcess(ctx context.Context, dir, name string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, logPath: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	file, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd = exec.CommandContext(ctx, program, args...) //nolint:gosec // G204: programs that were built for it, or that the user names
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.started = time.Now()
	err = p.cmd.Start()
	_ = file.Close() // the process has its own
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	return p, nil
}

// kill ends it as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// stop tells it to end and waits until it has.
func (p *process) stop(ctx context.Context) error {
	p.sample()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
	case <-time.After(stopTimeout):
	}
	p.kill()
	return fmt.Errorf("stop %s: it had to be killed\n%s", p.name, p.tail())
}

// check is an error if the process has ended though nobody told it to.
func (p *process) check() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended early: %s\n%s", p.name, p.cmd.ProcessState, p.tail())
	default:
		return nil
	}
}

// tail is the end of what it wrote.
func (p *process) tail() string {
	data, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	const most = 2_000
	return string(data[max(0, len(data)-most):])
}

// cpu is the time, user and system, that the process used; 0 before its end.
func (p *process) cpu() time.Duration {
	if p.cmd.ProcessState == nil {
		return 0
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// cpuSoFar is cpu of a process that still runs, to the hundredth of a second;
// 0 where there is no /proc.
func (p *process) cpuSoFar() time.Duration {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The second field is the program's name, which may hold blanks.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const user, system, tick = 11, 12, 10 * time.Millisecond
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.ParseInt(fields[user], 10, 64)
	s, _ := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * tick
}

// sample notes how much memory it has had at most. (What wait4 tells includes
// the runner's own memory, which the child shares until it runs its program.)
func (p *process) sample() {
	if peak := p.status("VmHWM"); peak > 0 {
		p.peak = peak
	}
}

// resident is how much memory it has now, in KiB; 0 where there is no /proc.
func (p *process) resident() int64 { return p.status("VmRSS") }

func (p *process) status(field string) int64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	defer file.Close() //nolint:errcheck // it was only read
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			return kib
		}
	}
	return 0
}

// freeAddress finds a port on the loopback address that nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return address, nil
}

// poll asks at intervals until it is so, an error or the end of the context.
func poll(ctx context.Context, every time.Duration, is func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if done, err := is(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // callers say what was awaited
		}
	}
}

var errTooLong = errors.New("it takes too long")
