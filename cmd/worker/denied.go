package main

import (
	"context"
	"strings"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// tellingDenials runs what needs a NATS server. Where that denies something, it
// ends at once, and the error says what would allow it.
func tellingDenials(ctx context.Context, server *cli.NATS, do func(context.Context) error) error {
	server.Denials = &cli.Denials{}
	ctx, stop := server.Denials.Watch(ctx)
	defer stop()
	err := do(ctx)
	if denied := cli.DeniedIn(ctx); denied != nil {
		return denied.Needs(roleFor(denied)) //nolint:wrapcheck // says all there is to say
	}
	return err
}

// roleFor names what allows a worker what was denied to it.
func roleFor(denied *cli.DeniedError) string {
	if strings.HasPrefix(denied.Subject, "$JS.API.STREAM.CREATE.") || denied.Subject == "$JS.API.INFO" {
		return string(pipeline.RoleWorker) + " --provision"
	}
	return string(pipeline.RoleWorker)
}
