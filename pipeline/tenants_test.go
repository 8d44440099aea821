package pipeline_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
)

// tenantOf is a tenant of the rig's simulator, reached by a transport.
func (r *rig) tenantOf(name string, transport http.RoundTripper) pipeline.Tenant {
	r.t.Helper()
	return pipeline.Tenant{Name: name, Client: r.client(transport), DefaultFolder: orchestrator.FolderRef{Path: "Shared"}, ListReadsPerMinute: 90}
}

// inTenant is a lane of another tenant.
func inTenant(lane pipeline.Lane, name string) pipeline.Lane {
	lane.Tenant = name
	return lane
}

// denied is a tenant that takes no login.
type denied struct{}

func (denied) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}},
		Body: http.NoBody,
	}, nil
}

// stalled is a tenant whose answers take long, whatever is asked.
type stalled struct {
	next http.RoundTripper
	took time.Duration
}

func (s stalled) RoundTrip(r *http.Request) (*http.Response, error) {
	timer := time.NewTimer(s.took)
	defer timer.Stop()
	select {
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	case <-timer.C:
		return s.next.RoundTrip(r)
	}
}

// TestTenantsDoNotSlowEachOther: beside a tenant that denies every login and two
// whose calls take nearly as long as they may, each with more waiting than a
// worker holds, another keeps its rate.
func TestTenantsDoNotSlowEachOther(t *testing.T) {
	t.Parallel()
	const calls, requests = 100 * time.Millisecond, 6000
	took := func(t *testing.T, beside bool) time.Duration {
		t.Helper()
		var duration time.Duration
		inBubble(t, simulator.Config{}, func(_ *testing.T, r *rig) {
			cfg := r.config()
			cfg.BulkItems, cfg.MaxHeld = 50, 1000 // so that a tenant's calls in flight have all there is to hold
			cfg.Tenants = []pipeline.Tenant{r.tenantOf("Good", stalled{r.simulator.RoundTripper(), calls})}
			if beside {
				slow := leisurely{r.simulator.RoundTripper(), 25 * time.Second}
				cfg.Tenants = append(cfg.Tenants, r.tenantOf("Denied", denied{}), r.tenantOf("Slow", slow), r.tenantOf("Slower", slow))
				for _, name := range []string{"Denied", "Slow", "Slower"} {
					r.publish(inTenant(plainItems, name), items(12_000)...)
				}
			}
			stop := r.start(cfg)
			time.Sleep(4 * time.Minute) // the others have in hand all that they can have
			started := time.Now()
			good := inTenant(plainItems, "Good")
			r.publish(good, items(requests)...)
			r.publish(inTenant(jobs, "Good"), someJobs(400)...)
			r.await(good, time.Hour, items(requests)...)
			r.await(inTenant(jobs, "Good"), time.Hour, someJobs(400)...)
			duration = time.Since(started)
			stop()
		})
		return duration
	}
	alone, beside := took(t, false), took(t, true)
	t.Logf("%d items and 400 jobs: alone in %s, beside one denied and two slow tenants in %s, %.2f of its rate", requests, alone, beside, alone.Seconds()/beside.Seconds())
	if alone.Seconds() < 0.9*beside.Seconds() {
		t.Errorf("the tenant keeps %.2f of its rate, want 0.9", alone.Seconds()/beside.Seconds())
	}
}

// A worker of several tenants starts if one of them can be served, at once, and
// says what is wrong with the others; one that can serve none does not start.
func TestStartWithTenantsThatFail(t *testing.T) {
	t.Parallel()
	nowhere := orchestrator.FolderRef{Path: "Nowhere"}
	for _, test := range []struct {
		name    string
		tenants func(*rig) []pipeline.Tenant
		want    string // why it does not start
	}{
		{"one is well", func(r *rig) []pipeline.Tenant {
			lost := r.tenantOf("Lost", r.simulator.RoundTripper())
			lost.DefaultFolder = nowhere
			return []pipeline.Tenant{r.tenantOf("Denied", denied{}), lost, r.tenantOf("Good", r.simulator.RoundTripper()), r.tenantOf("Slow", stalled{r.simulator.RoundTripper(), time.Hour})}
		}, ""},
		{"none is", func(r *rig) []pipeline.Tenant {
			lost := r.tenantOf("Lost", r.simulator.RoundTripper())
			lost.DefaultFolder = nowhere
			return []pipeline.Tenant{r.tenantOf("Denied", denied{}), lost}
		}, "tenant Denied: list folders: log in: 400 Bad Request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
				cfg := r.config()
				cfg.Tenants = test.tenants(r)
				w, err := pipeline.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if test.want == "" {
					r.publish(inTenant(plainItems, "Good"), item("INV-1", 1))
				}
				err = w.Run(ctx)
				time.Sleep(time.Minute) // a login under way goes on to its end
				if test.want == "" {
					if len(r.finals(inTenant(plainItems, "Good"), "INV-1")) != 1 || err != nil {
						t.Errorf("the good tenant was not served within a second: %v", err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, pipeline.ErrDefaultFolder) {
					t.Errorf("got %v, want what is wrong with each", err)
				}
			})
		})
	}
}

// A login that is refused pauses the tenant for all workers. One that is started
// with a login that works does not wait for the end of it.
func TestMendedLoginIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(_ *testing.T, r *rig) {
		r.publish(inTenant(plainItems, "Mended"), item("INV-1", 1))
		cfg := r.config()
		cfg.Tenants = []pipeline.Tenant{r.tenantOf("Good", r.simulator.RoundTripper()), r.tenantOf("Mended", denied{})}
		stop := r.start(cfg)
		time.Sleep(10 * time.Minute) // the pauses grow to five
		stop()
		time.Sleep(time.Second)
		cfg = r.config()
		cfg.Tenants = []pipeline.Tenant{r.tenantOf("Mended", r.simulator.RoundTripper())}
		r.start(cfg)
		r.await(inTenant(plainItems, "Mended"), 15*time.Second, item("INV-1", 1))
	})
}
