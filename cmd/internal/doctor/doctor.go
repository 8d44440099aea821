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
