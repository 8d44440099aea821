package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// lookEvery is how often a worker looks for lanes with new requests. One
	// request for the stream's state costs little; subjects are only listed
	// when something was published.
	lookEvery = 250 * time.Millisecond
	// laneIdle is after how long without requests a worker removes a lane's
	// consumer.
	laneIdle = 24 * time.Hour
	// abandoned is after how long the server removes a consumer that no worker has
	// pulled from. It goes with its pause, so this is long. It ends all the same:
	// a worker only serves lanes that have requests, and would never remove the
	// consumer of one that was empty when it started. Until then each costs the
	// server a small file and one of maxLanes, and those who trim a line in the
	// list of consumers, by which nothing is removed twice.
	abandoned = 30 * 24 * time.Hour
	// hopelessIdle is the same for a lane that leads nowhere.
	hopelessIdle = time.Minute
	// unservedEvery is how often requests that no tenant of this worker's
	// answers for are mentioned in the log.
	unservedEvery = time.Minute
	// troubleEvery spaces the looks while NATS does not answer.
	troubleEvery = 5 * time.Second
)

// serveLanes finds the lanes that have requests and runs each, until ctx ends
// and every runner has returned.
func (w *Worker) serveLanes(ctx, work context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	var served sync.Map   // subjects
	var ended atomic.Bool // a runner has ended: what came just then was passed over
	var seen uint64
	var mentioned time.Time
	for {
		if ended.Swap(false) {
			seen = 0
		}
		last, subjects, err := w.requestSubjects(ctx, seen)
		w.stats.unasked.Store(err != nil)
		if err != nil && ctx.Err() == nil {
			w.log.Log(ctx, w.troubleLevel(), "lanes not listed", "error", err)
			_ = sleep(ctx, troubleEvery) // the loop looks at the context itself
		}
		seen = last
		unserved := make(map[string][]string) // subjects, by tenant
		for _, subject := range subjects {
			if _, there := served.Load(subject); there {
				continue
			}
			r, err := w.newRunner(ctx, subject)
			switch {
			case err != nil:
				w.log.Log(ctx, w.troubleLevel(), "lane not opened", "subject", subject, "error", err)
				seen = 0 // look again
			case r == nil:
				lane, _ := w.cfg.Topology.laneOfRequest(subject) // its tenant is told as it stands
				unserved[lane.Tenant] = append(unserved[lane.Tenant], subject)
			default:
				served.Store(subject, true)
				running.Go(func() {
					r.run(ctx, work)
					served.Delete(subject)
					ended.Store(true)
				})
			}
		}
		if len(unserved) > 0 && time.Since(mentioned) > unservedEvery {
			mentioned = time.Now()
			w.mentionUnserved(ctx, unserved)
		}
		if sleep(ctx, lookEvery) != nil {
			return
		}
	}
}

// namedMisspelt is how many subjects that are misspelt are named at a time.
const namedMisspelt = 3

// mentionUnserved names the tenants of others that have requests waiting, and what
// no worker can serve. What is in the stream may have been carried out, and not
// been removed yet.
func (w *Worker) mentionUnserved(ctx context.Context, subjects map[string][]string) {
	var tenants []string
	named := 0
	for tenant, subjects := range subjects {
		subjects = slices.DeleteFunc(subjects, func(subject string) bool {
			misspelt := w.cfg.Topology.misspelt(subject)
			if misspelt != nil && named < namedMisspelt {
				named++
				w.log.Warn("requests wait that no worker can take: publish them anew under the right subject, and remove them", "error", misspelt)
			}
			return misspelt != nil
		})
		if slices.ContainsFunc(subjects, func(subject string) bool { return w.waits(ctx, subject) }) {
			tenants = append(tenants, tenant)
		}
	}
	if len(tenants) > 0 {
		slices.Sort(tenants)
		w.log.Warn("requests wait for tenants that this worker does not serve", "tenants", tenants, "serves", slices.Sorted(maps.Keys(w.tenants)))
	}
}

// waits reports whether a subject has requests that are not settled. Without a
// consumer nobody has ever taken any.
func (w *Worker) waits(ctx context.Context, subject string) bool {
	lane, _ := w.cfg.Topology.laneOfRequest(subject) // a misspelt lane has a consumer too
	consumer, err := w.js.Consumer(ctx, w.cfg.Topology.RequestsStream(), consumerName(subject, lane))
	if err != nil {
		return true
	}
	info := consumer.CachedInfo()
	return info.NumPending > 0 || info.NumAckPending > 0
}

// requestSubjects lists the subjects that have requests, if anything was
// published since the stream's sequence seen.
func (w *Worker) requestSubjects(ctx context.Context, seen uint64) (last uint64, subjects []string, err error) {
	stream, err := w.js.Stream(ctx, w.cfg.Topology.RequestsStream())
	if err != nil {
		return 0, nil, fmt.Errorf("look at the requests stream: %w", err) // which may be another when it is there again
	}
	info := stream.CachedInfo()
	w.clock.observe(info.TimeStamp)
	if info.State.LastSeq == seen {
		return seen, nil, nil
	}
	detailed, err := stream.Info(ctx, jetstream.WithSubjectFilter(w.cfg.Topology.subject("requests", ">")))
	if err != nil {
		return seen, nil, fmt.Errorf("list request subjects: %w", err)
	}
	for subject := range detailed.State.Subjects {
		subjects = append(subjects, subject)
	}
	return info.State.LastSeq, subjects, nil
}

// newRunner prepares to serve a subject; nil if its tenant is not ours.
func (w *Worker) newRunner(ctx context.Context, subject string) (*runner, error) {
	lane, fault := w.cfg.Topology.laneOfRequest(subject)
	t := w.tenants[lane.Tenant]
	if t == nil {
		return nil, nil //nolint:nilnil // no runner is an answer
	}
	consumer, err := w.openConsumer(ctx, subject, lane)
	if err != nil {
		return nil, err
	}
	return &runner{
		Worker: w, tenant: t, published: lane, subject: subject, fault: fault, consumer: consumer,
		log: w.log.With("lane", lane.String()),
	}, nil
}

// openConsumer makes or finds the lane's durable consumer. It is one for all
// workers, so that a stuck or paused lane holds up no other, and that a
// lane's backlog shows in every NATS tool.
func (w *Worker) openConsumer(ctx context.Context, subject string, lane Lane) (jetstream.Consumer, error) {
	consumer, err := w.js.CreateOrUpdateConsumer(ctx, w.cfg.Topology.RequestsStream(), jetstream.ConsumerConfig{
		Durable:           consumerName(subject, lane),
		Description:       "requests for " + lane.String(),
		FilterSubject:     subject,
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           w.cfg.AckWait,
		MaxDeliver:        -1,
		MaxAckPending:     w.maxAckPending(),
		InactiveThreshold: abandoned,
	})
	if err != nil {
		return nil, fmt.Errorf("open the consumer for %s: %w", lane, err)
	}
	w.mentionPause(consumer.CachedInfo())
	return consumer, nil
}

// mentionPause says once of each pause that a lane of ours stands still, as far as
// its consumer is looked at: when the lane is opened, and when settled requests
// are removed, which one worker does for all.
func (w *Worker) mentionPause(info *jetstream.ConsumerInfo) {
	subject := info.Config.FilterSubject
	lane, _ := w.cfg.Topology.laneOfRequest(subject) // its tenant is told as it stands
	if w.tenants[lane.Tenant] == nil {
		return
	}
	if !info.Paused || info.Config.PauseUntil == nil {
		w.paused.Delete(subject)
		return
	}
	until := info.Config.PauseUntil.UTC()
	if before, told := w.paused.Swap(subject, until); !told || before != until {
		w.log.Info("lane is paused: its requests wait", "lane", lane.String(), "until", until, "consumer", info.Name)
	}
}

// maxAckPending leaves room for what some workers hold, and for what waits
// for a dead worker's claims to run out, since naks with a delay count too.
func (w *Worker) maxAckPending() int { return 4 * w.cfg.MaxHeld }

// consumerName is readable, and by its hash never the same for two lanes.
func consumerName(subject string, lane Lane) string {
	sum := sha256.Sum256([]byte(subject))
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, lane.Tenant+"_"+lane.Kind.token()+"_"+lane.Name)
	return clip(readable, 60) + "_" + hex.EncodeToString(sum[:4])
}

// isLaneConsumer tells a lane's own consumer from one that somebody else has
// made on the stream, whose acks say nothing of what is settled.
func (w *Worker) isLaneConsumer(info *jetstream.ConsumerInfo) bool {
	lane, _ := w.cfg.Topology.laneOfRequest(info.Config.FilterSubject) // a misspelt lane has a consumer too
	return info.Name == consumerName(info.Config.FilterSubject, lane)
}

// trimEvery is how often settled requests are removed from the stream, and
// how long one worker holds the lease to do it.
const (
	trimEvery = 5 * time.Second
	trimLease = 3 * trimEvery
)

// trim removes settled requests: each lane's subject up to what its consumer
// has had acknowledged without a gap. One worker at a time does it.
func (w *Worker) trim(ctx context.Context) {
	trimmed := make(map[string]uint64)
	for sleep(ctx, trimEvery) == nil {
		mine, err := w.control.lease(ctx, "trim", w.cfg.Worker, trimLease, w.clock.now())
		if err == nil && mine {
			err = w.trimOnce(ctx, trimmed)
		}
		if err != nil && ctx.Err() == nil {
			w.log.Log(ctx, w.troubleLevel(), "settled requests not removed", "error", err)
		}
	}
}

func (w *Worker) trimOnce(ctx context.Context, trimmed map[string]uint64) error {
	stream, err := w.js.Stream(ctx, w.cfg.Topology.RequestsStream())
	if err != nil {
		return fmt.Errorf("open the requests stream: %w", err)
	}
	floors, err := w.ackFloors(ctx, stream)
	if err != nil {
		return err
	}
	for subject, floor := range floors {
		if floor == 0 || trimmed[subject] == floor {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(floor+1)); err != nil {
			return fmt.Errorf("purge %s: %w", subject, err)
		}
		trimmed[subject] = floor
	}
	return nil
}

// ackFloors gives, by lane's subject, up to where everything has been settled.
// The listing is read to its end, which is the only way for it to end.
func (w *Worker) ackFloors(ctx context.Context, stream jetstream.Stream) (map[string]uint64, error) {
	floors := make(map[string]uint64)
	consumers := stream.ListConsumers(ctx)
	for info := range consumers.Info() {
		if w.isLaneConsumer(info) {
			floors[info.Config.FilterSubject] = info.AckFloor.Stream
			w.mentionPause(info)
		}
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	return floors, nil
}
