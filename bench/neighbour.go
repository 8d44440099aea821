package main

import (
	"context"
	"time"
)

// neighbour is a tenant that the worker serves beside the one that is measured.
// What becomes of its requests is not looked at.
type neighbour struct {
	tenant  string // of an organization of the same name
	count   int    // requests that wait when the worker starts
	denied  bool   // it denies every login
	latency time.Duration
}

// denies is the temper of a tenant that denies every login.
const denies = "denies"

// temper is how it takes calls, as the stub is told: what those that write take,
// or that it denies logins.
func (n neighbour) temper() string {
	if n.denied {
		return denies
	}
	return n.latency.String()
}

// publishBeside publishes the other tenants' requests. Their keys are beyond
// those of the tenant that is measured: one that strays there is seen.
func (r *run) publishBeside(ctx context.Context) error {
	first := r.w.ledger + r.w.count
	for _, n := range r.w.beside {
		theirs := r.w
		theirs.count = n.count
		if err := publishRequests(ctx, r.server, theirs, n.tenant, first); err != nil {
			return err
		}
		first += n.count
	}
	return nil
}
