package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// api is the stub of Orchestrator, or the simulated one, as the runner sees
// it.
type api struct {
	*process

	address   string
	simulated bool
}

// base is where the API of the tenant that is measured begins.
func (a *api) base() string { return a.baseOf(organization, tenantName) }

func (a *api) baseOf(organization, tenant string) string {
	return "http://" + a.address + "/" + organization + "/" + tenant + "/orchestrator_"
}

// startStub starts the stub.
func (b *bench) startStub(ctx context.Context, dir string, w workload) (*api, error) {
	return b.startAPI(ctx, dir, false, func(address string) []string {
		line := []string{b.self, "role", "stub", "--listen", address, "--latency", w.latency.String()}
		for _, n := range w.beside {
			line = append(line, "--beside", n.tenant+"="+n.temper())
		}
		return line
	})
}

func (b *bench) startAPI(ctx context.Context, dir string, simulated bool, command func(address string) []string) (*api, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	line := command(address)
	p, err := startProcess(ctx, dir, "orchestrator", cleanEnvironment(), line[0], line[1:]...)
	if err != nil {
		return nil, err
	}
	a := &api{process: p, address: address, simulated: simulated}
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Second, errTooLong)
	defer cancel()
	err = poll(ctx, 10*time.Millisecond, func() (bool, error) {
		_, err := a.counts(ctx)
		return err == nil, a.check()
	})
	if err != nil {
		a.kill()
		return nil, fmt.Errorf("wait for Orchestrator's stand-in: %w", err)
	}
	return a, nil
}

// counts is what it has had to do.
func (a *api) counts(ctx context.Context) (stubCounts, error) {
	var c stubCounts
	if !a.simulated {
		return c, a.get(ctx, pathCounts, &c)
	}
	if err := a.get(ctx, "/simulator/effects/counts", &c); err != nil { // it has members of the same names
		return c, err
	}
	var calls map[string]uint64
	err := a.get(ctx, "/simulator/calls", &calls)
	c.Calls = calls
	return c, err
}

func (a *api) get(ctx context.Context, path string, into any) error {
	body, err := a.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // it was only read
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func (a *api) do(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+a.address+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return resp.Body, nil
}

// eachReference tells of every Reference how often it took effect.
func (a *api) eachReference(ctx context.Context, tell func(reference string, n int)) error {
	if a.simulated {
		return a.eachEffect(ctx, tell)
	}
	body, err := a.do(ctx, http.MethodGet, pathEffects, nil)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		reference, count, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return fmt.Errorf("read the effects: %w", err)
		}
		tell(reference, n)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the effects: %w", err)
	}
	return nil
}

func (a *api) eachEffect(ctx context.Context, tell func(reference string, n int)) error {
	var all struct {
		Effects []struct {
			Reference string `json:"reference"`
		} `json:"effects"`
	}
	if err := a.get(ctx, "/simulator/effects", &all); err != nil {
		return err
	}
	for _, effect := range all.Effects {
		tell(effect.Reference, 1)
	}
	return nil
}
