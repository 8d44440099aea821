package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// startSide starts the processes that carry the requests out.
func (r *run) startSide(ctx context.Context) error {
	for range r.w.processes {
		if err := r.startWorker(ctx); err != nil {
			return err
		}
	}
	return r.awaitReady(ctx)
}

func (r *run) startWorker(ctx context.Context) error {
	var p *process
	var err error
	name := fmt.Sprintf("%s-%d", r.side, len(r.ran))
	if r.side == sideWaybill {
		p, err = r.startWaybill(ctx, name)
	} else {
		p, err = r.startUnder(ctx, name, cleanEnvironment(), r.self, r.roleArguments()...)
	}
	if err == nil {
		r.ran = append(r.ran, p)
	}
	return err
}

// startUnder starts a process of the side, under the command that was asked
// for.
func (r *run) startUnder(ctx context.Context, name string, env []string, program string, args ...string) (*process, error) {
	line := append(slices.Clone(r.under), program)
	return startProcess(ctx, r.dir, name, env, line[0], append(line[1:], args...)...)
}

func (r *run) roleArguments() []string {
	bulk := r.w.bulk
	if r.side == sideWatermill {
		bulk = 1
	}
	args := []string{
		"role", string(r.side), "--nats", r.server.url(), "--api", r.api.base(), "--kind", r.w.kind,
		"--lanes", strconv.Itoa(r.w.lanes), "--in-flight", strconv.Itoa(r.w.inFlight), "--bulk", strconv.Itoa(bulk),
	}
	if r.side == sideBare {
		args = append(args, "--publish", string(r.w.barePublish()))
	}
	if r.side == sideBare && r.least {
		args = append(args, "--least")
	}
	if r.profile != "" {
		args = append(args, "--cpuprofile", r.profile)
	}
	return args
}

// startWaybill starts the worker as anybody does, with a configuration file.
func (r *run) startWaybill(ctx context.Context, name string) (*process, error) {
	limits := r.w.workerLimits()
	if r.w.kind == kindItems {
		limits += fmt.Sprintf("  bulkItems: %d\n", r.w.bulk)
	}
	if limits != "" {
		limits = "limits:\n" + limits
	}
	secret := filepath.Join(r.dir, "secret") // the environment's would be one tenant's alone
	if err := os.WriteFile(secret, []byte("bench"), 0o600); err != nil {
		return nil, fmt.Errorf("write the worker's secret: %w", err)
	}
	config := []string{limits, "tenants:\n", r.tenantConfig(tenantName, r.api.base(), secret)}
	for _, n := range r.w.beside {
		config = append(config, r.tenantConfig(n.tenant, r.api.baseOf(n.tenant, n.tenant), secret))
	}
	path := filepath.Join(r.dir, "waybill.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(config, "")), 0o600); err != nil {
		return nil, fmt.Errorf("write the worker's configuration: %w", err)
	}
	health, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	env := cleanEnvironment("NATS_URL=" + r.server.url())
	p, err := r.startUnder(ctx, name, env, r.worker, "run", "--config", path, "--listen", health)
	if err != nil {
		return nil, err
	}
	p.health = health
	return p, nil
}

func (r *run) tenantConfig(name, base, secret string) string {
	return fmt.Sprintf(`  - name: %s
    url: %s
    clientId: bench
    clientSecretFile: %q
    folder: {path: %s}
    maxInFlight: %d
    listReadsPerMinute: 6000
`, name, base, secret, folderName, r.w.inFlight)
}

// awaitReady takes the time until waybill's workers are ready to pull.
func (r *run) awaitReady(ctx context.Context) error {
	const often, most = 2 * time.Millisecond, time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, most, errTooLong)
	defer cancel()
	for _, p := range r.ran {
		if p.health == "" || p.check() != nil {
			continue // it is another side's, or was killed
		}
		if err := poll(ctx, often, func() (bool, error) { return isReady(ctx, p.health), p.check() }); err != nil {
			return fmt.Errorf("wait for the worker to be ready: %w", err)
		}
		r.ready = time.Since(p.started)
	}
	return nil
}

func isReady(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = resp.Body.Close() // only the status counts
	return resp.StatusCode == http.StatusOK
}
