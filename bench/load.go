package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// keyPrefix and the number of the request are its key.
const keyPrefix = "K"

// keyOf is the key of a request. All have the same length.
func keyOf(i int) string { return fmt.Sprintf("%s%08d", keyPrefix, i) }

// indexOf is keyOf's inverse; -1 for a key that is none of ours.
func indexOf(key string) int {
	if len(key) != len(keyPrefix)+8 || key[:len(keyPrefix)] != keyPrefix {
		return -1
	}
	i, err := strconv.Atoi(key[len(keyPrefix):])
	if err != nil {
		return -1
	}
	return i
}

// appendRequest appends a request of about so many bytes: what an invoice has,
// and further members, which become longer rather than more where there are
// maxFields of them.
func appendRequest(dst []byte, kind string, i, size int) []byte {
	start := len(dst)
	dst = append(append(dst, `{"key":"`...), keyOf(i)...)
	if kind == kindJobs {
		dst = append(dst, `","job":{"InputArguments":{`...)
	} else {
		dst = append(dst, `","item":{"Priority":"Normal","SpecificContent":{`...)
	}
	dst = fmt.Appendf(dst, `"Invoice":"INV-%08d","Amount":%d.25,"Currency":"EUR"`, i, i)
	const closing, around, least, maxFields = len("}}}"), len(`,"Field00":""`), 20, 20
	room := size - (len(dst) - start) - closing
	fields := min(room/(around+least), maxFields)
	for n := range fields {
		dst = fmt.Appendf(dst, `,"Field%02d":"`, n)
		dst = append(appendText(dst, room/fields-around), '"')
	}
	return append(dst, "}}}"...)
}

// appendText appends words of so many bytes in all.
func appendText(dst []byte, size int) []byte {
	const words = "as agreed with the supplier, to be paid within thirty days "
	for ; size > len(words); size -= len(words) {
		dst = append(dst, words...)
	}
	return append(dst, words[:size]...)
}

// publishRequests publishes all requests of a workload to a tenant, with keys
// from first on, and returns when JetStream has stored them. Lanes take turns.
func publishRequests(ctx context.Context, s *natsServer, w workload, tenant string, first int) error {
	var failed atomic.Pointer[error]
	nc, js, err := s.connect(jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
		failed.CompareAndSwap(nil, &err)
	}))
	if err != nil {
		return err
	}
	defer nc.Close()
	before, err := lastRequest(ctx, js)
	if err != nil {
		return err
	}
	subjects := make([]string, w.lanes)
	for lane := range subjects {
		subjects[lane] = requestSubject(tenant, w.kind, lane)
	}
	var body []byte
	for i := range w.count {
		body = appendRequest(body[:0], w.kind, first+i, w.body)
		if _, err := js.PublishAsync(subjects[i%w.lanes], bytes.Clone(body)); err != nil {
			return fmt.Errorf("publish requests: %w", err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return fmt.Errorf("publish requests: %w", context.Cause(ctx))
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("publish requests: %w", *err)
	}
	last, err := lastRequest(ctx, js)
	if err == nil && last-before != uint64(w.count) { //nolint:gosec // G115: a number of messages
		return fmt.Errorf("the stream has had %d requests of %d", last-before, w.count)
	}
	return err
}

// lastRequest is how many requests the stream has ever had.
func lastRequest(ctx context.Context, js jetstream.JetStream) (uint64, error) {
	stream, err := js.Stream(ctx, pipeline.Topology{}.RequestsStream())
	if err != nil {
		return 0, fmt.Errorf("count the requests: %w", err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

var errNotPublished = errors.New("a request was not published in time")

// publishPaced publishes some requests at the workload's pace, and tells of
// each when it was sent.
func publishPaced(ctx context.Context, js jetstream.JetStream, w workload, from, to int, sent func(i int, at time.Time)) error {
	tick := time.NewTicker(time.Second / time.Duration(w.pace))
	defer tick.Stop()
	for i := from; i < to; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errNotPublished, context.Cause(ctx))
		}
		body := appendRequest(nil, w.kind, i, w.body)
		sent(i, time.Now())
		if _, err := js.PublishAsync(requestSubject(tenantName, w.kind, i%w.lanes), body); err != nil {
			return fmt.Errorf("publish request: %w", err)
		}
	}
	return nil
}
