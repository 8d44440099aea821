// Package doctor looks at everything that worker run needs, and changes nothing:
// the NATS server with the streams and the rights on them, and each tenant's
// Orchestrator with the way to it, the login and the rights.
//
// What is seen of each thing is a [Finding]. One that is not ok says what to
// change. What depends on something that was found wanting is skipped, the rest
// goes on; each check has a time limit.
package doctor

import (
	"context"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Run looks at NATS, and then at all tenants at once. tenants is told the way to
// JetStream, nil where there is none, since logins may be kept there. The order
// of the findings is always the same.
func Run(ctx context.Context, s Server, tenants func(jetstream.JetStream) []Tenant) []Finding {
	nats := s.look(ctx)
	if nats.nc != nil {
		defer nats.nc.Close()
	}
	all := tenants(nats.js)
	found := make([][]Finding, len(all))
	var looks sync.WaitGroup
	for i, t := range all {
		looks.Go(func() { found[i] = t.look(ctx, nats.skew) })
	}
	looks.Wait()
	return slices.Concat(nats.findings, slices.Concat(found...))
}
