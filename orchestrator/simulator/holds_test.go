package simulator

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestHold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		hold     Hold
		path     string
		body     any
		during   int // effects while held
		after    int // effects after release
		forsaken int // effects after release, where the caller has hung up
	}{
		{"add before", Hold{Operation: "AddQueueItem", When: Before}, addPath, item("Invoices", "R"), 0, 1, 0},
		{"add after", Hold{Operation: "AddQueueItem", When: After}, addPath, item("Invoices", "R"), 1, 1, 1},
		{"add before, outlives", Hold{Operation: "AddQueueItem", Outlives: true}, addPath, item("Invoices", "R"), 0, 1, 1},
		{"bulk before", Hold{Operation: "BulkAddQueueItems", Reference: "R"}, bulkPath, bulk("Invoices", allOrNothing, "Q", "R"), 0, 1, 0},
		{"bulk after", Hold{Operation: "BulkAddQueueItems", When: After, Reference: "R"}, bulkPath, bulk("Invoices", allOrNothing, "Q", "R"), 1, 1, 1},
		{"start before", Hold{Operation: "StartJobs", Reference: "R"}, startPath, start(object{"Reference": "R"}), 0, 1, 0},
		{"start after", Hold{Operation: "StartJobs", When: After}, startPath, start(object{"Reference": "R"}), 1, 1, 1},
	} {
		for _, forsaken := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s, c := setup(t, Config{})
					held := s.Hold(tt.hold)
					ctx, hangUp := context.WithCancel(t.Context())
					defer hangUp()
					ended := make(chan error)
					go func() {
						_, err := c.try(ctx, http.MethodPost, tt.path, tt.body)
						ended <- err
					}()
					<-held.Arrived()
					synctest.Wait()
					if got := len(s.EffectsOf("R")); got != tt.during {
						t.Errorf("effects while held: got %d, want %d", got, tt.during)
					}
					want := tt.after
					if forsaken {
						want = tt.forsaken
						hangUp()
						if err := <-ended; !errors.Is(err, context.Canceled) {
							t.Errorf("the caller got %v, want its own end", err)
						}
						synctest.Wait()
						held.Release()
					} else {
						held.Release()
						if err := <-ended; err != nil {
							t.Errorf("the caller got %v", err)
						}
					}
					synctest.Wait()
					if got := len(s.EffectsOf("R")); got != want {
						t.Errorf("effects after release: got %d, want %d", got, want)
					}
				})
			})
		}
	}
}

func TestHoldPicksItsCall(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	held := s.Hold(Hold{Operation: "AddQueueItem", Reference: "R"})
	c.post(http.StatusCreated, addPath, item("Invoices", "S"))
	c.post(http.StatusOK, bulkPath, bulk("Invoices", allOrNothing, "R"))
	c.get(http.StatusOK, "/odata/QueueItems")
	select {
	case <-held.Arrived():
		t.Error("a call has arrived that does not match")
	default:
	}
	held.Release()
	held.Release()
	c.post(http.StatusCreated, addPath, item("Invoices", "R")) // the hold is gone
}

func TestHoldRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{})
		held := s.Hold(Hold{Operation: "QueueItems"})
		go func() {
			<-held.Arrived()
			time.Sleep(time.Hour)
			held.Release()
		}()
		began := time.Now()
		c.get(http.StatusOK, "/odata/QueueItems")
		if took := time.Since(began); took != time.Hour {
			t.Errorf("took %v, want an hour", took)
		}
	})
}

func TestCloseCutsHeldCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{})
		held := s.Hold(Hold{Operation: "AddQueueItem", When: After})
		go func() {
			<-held.Arrived()
			s.Close()
		}()
		if _, err := c.try(t.Context(), http.MethodPost, addPath, item("Invoices", "R")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("held call: got %v, want a reset", err)
		}
		if _, err := c.try(t.Context(), http.MethodGet, "/odata/Folders", nil); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("later call: got %v, want a refused connection", err)
		}
	})
}
