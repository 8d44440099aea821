package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
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

// What no worker can take is told apart from what another worker serves.
func TestMisspeltTenantIsMentioned(t *testing.T) {
	t.Parallel()
	inBubble(t, simulator.Config{}, func(t *testing.T, r *rig) {
		var log bytes.Buffer
		cfg := r.config()
		cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
		stop := r.start(cfg)
		for _, tenant := range []string{"We%20ird%27s", "Second", "a%2fb", "c%2fd", "e%2ff"} {
			r.publishRaw("uipath.requests."+tenant+".-.items.Plain", `{"key":"INV-1","item":{}}`)
		}
		time.Sleep(30 * time.Second)
		stop()
		var errs []string
		for line := range strings.Lines(log.String()) {
			var said struct {
				Msg     string
				Error   string
				Tenants []string
			}
			if err := json.Unmarshal([]byte(line), &said); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(said.Msg, "requests wait that no worker can take") {
				errs = append(errs, said.Error)
			}
			if len(said.Tenants) > 0 && !slices.Equal(said.Tenants, []string{"Second"}) {
				t.Errorf("tenants %v are told to be another's, want Second alone", said.Tenants)
			}
		}
		if len(errs) != 3 {
			t.Errorf("%d lines on subjects that are misspelt, want the first three: %v", len(errs), errs)
		}
	})
}

// A subject that is misspelt is told with how it must be written.
func TestMisspeltBacklog(t *testing.T) {
	t.Parallel()
	js, _ := servertest.JetStream(t)
	if err := pipeline.Provision(t.Context(), js, pipeline.Topology{}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // empty: it cannot be told, or is not needed
		"We%20ird%27s.-.items.q":               "We%20ird's.-.items.q",
		"We%20ird.a%2fb.items.q":               "We%20ird.a%2Fb.items.q",
		"a/b.-.items.q":                        "a%2Fb.-.items.q",
		"%GG.-.items.q":                        "",
		"%FF.-.items.q":                        "",
		"Default.a%2fb.items.q":                "", // the tenant's worker refuses it
		"We%20ird's.-.items.q":                 "",
		strings.Repeat("a", 257) + ".-.jobs.p": "",
	}
	nobodys := []string{"%GG.-.items.q", "%FF.-.items.q", strings.Repeat("a", 257) + ".-.jobs.p"}
	for scope := range want {
		if _, err := js.Publish(t.Context(), "uipath.requests."+scope, nil); err != nil {
			t.Fatal(err)
		}
	}
	lanes, err := pipeline.Backlogs(t.Context(), js, pipeline.Topology{})
	if err != nil || len(lanes) != len(want) {
		t.Fatalf("got %v, %v, want %d lanes", lanes, err, len(want))
	}
	for _, lane := range lanes {
		scope := strings.TrimPrefix(lane.Subject, "uipath.requests.")
		right := want[scope]
		if misspelt := right != "" || slices.Contains(nobodys, scope); misspelt != (lane.Misspelt != nil) {
			t.Errorf("%s: got %v", scope, lane.Misspelt)
		} else if misspelt && strings.TrimPrefix(lane.Misspelt.Right, "uipath.requests.") != right {
			t.Errorf("%s: got %v, want %s", scope, lane.Misspelt, right)
		}
	}
}
