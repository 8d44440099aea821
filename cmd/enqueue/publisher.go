package main

import (
	"context"
	"log/slog"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// publisher is pipeline's, under a user that may not be allowed all of it. To
// hand requests in is a producer's right; to see what was handed in before is
// not, since NATS cannot grant it for one queue alone. Without it everything
// is handed in again, which does no harm.
type publisher struct {
	*pipeline.Publisher
	denials *cli.Denials
	log     *slog.Logger
	blind   bool // it was refused to look
}

// Publish ends with what is denied, where it would wait for an answer.
func (p *publisher) Publish(ctx context.Context, lane pipeline.Lane, r pipeline.Request) (pipeline.Receipt, error) {
	receipts, err := p.PublishAll(ctx, lane, []pipeline.Request{r})
	if err != nil {
		return pipeline.Receipt{}, err
	}
	return receipts[0], receipts[0].Err
}

// PublishAll does so too.
func (p *publisher) PublishAll(ctx context.Context, lane pipeline.Lane, requests []pipeline.Request) ([]pipeline.Receipt, error) {
	ctx, stop := p.denials.Watch(ctx)
	defer stop()
	return p.Publisher.PublishAll(ctx, lane, requests) //nolint:wrapcheck // what it embeds
}

// Known says nothing of what it may not see.
func (p *publisher) Known(ctx context.Context, lane pipeline.Lane, keys []string) (map[string]pipeline.KnownKey, error) {
	known := map[string]pipeline.KnownKey{}
	err := p.look(ctx, func(ctx context.Context) (err error) {
		known, err = p.Publisher.Known(ctx, lane, keys)
		return err //nolint:wrapcheck // what it embeds
	})
	if known == nil {
		known = map[string]pipeline.KnownKey{}
	}
	return known, err
}

// Waiting does so too.
func (p *publisher) Waiting(ctx context.Context, lane pipeline.Lane, most int) (waiting map[string]string, all bool, err error) {
	err = p.look(ctx, func(ctx context.Context) (err error) {
		waiting, all, err = p.Publisher.Waiting(ctx, lane, most)
		return err //nolint:wrapcheck // what it embeds
	})
	return waiting, all, err
}

// look does something that may be denied, and then not again.
func (p *publisher) look(ctx context.Context, at func(context.Context) error) error {
	if p.blind {
		return nil
	}
	looking, stop := p.denials.Watch(ctx)
	defer stop()
	err := at(looking)
	denied := cli.DeniedIn(looking)
	if err == nil || denied == nil {
		return err
	}
	p.blind = true
	if p.log != nil {
		p.log.Info("what was handed in before cannot be seen: all is handed in again, and carried out once all the same", "denied", denied.Subject)
	}
	return nil
}
