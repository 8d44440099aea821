package proving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/pipeline"
)

// striker strikes one part of the installation again and again.
type striker struct {
	random  *rand.Rand
	pause   time.Duration // between two strikes, on average
	strikes []strike
}

// strike is one thing that goes wrong.
type strike struct {
	name string
	odds int
	// do returns when it is over, and whether it is known to have struck: what
	// it was for may have ended, or nobody have been there to ask.
	do func(ctx context.Context, random *rand.Rand) (struck bool, err error)
}

// strikers gives one for each worker, and one each for NATS, for the network
// and for Orchestrator: what they do coincides.
func (c *Chaos) strikers(net networks) []striker {
	var all []striker
	for _, name := range workerNames {
		all = append(all, striker{c.random("worker " + name), 2 * time.Second, []strike{
			{"worker killed", 5, func(context.Context, *rand.Rand) (bool, error) { return c.killWorker(name, net) }},
			{"worker frozen", 1, func(ctx context.Context, _ *rand.Rand) (bool, error) { return c.freeze(ctx, name, frozenFor) }},
		}})
	}
	// One for all servers and what they stand on, since only one of them at a
	// time may be away.
	nats := striker{c.random("nats"), 4 * time.Second, []strike{
		{"NATS killed", 2, c.killNode},
		{"stream full", 2, c.limitStream},
		{"disk busy", 1, c.keepDiskBusy},
		{"NATS frozen", 1, func(ctx context.Context, random *rand.Rand) (bool, error) {
			return c.freeze(ctx, c.anyNode(random).name, upTo(random, 1500*time.Millisecond))
		}},
	}}
	if len(c.nodes) > 1 {
		nats.strikes = append(nats.strikes, strike{"leader stepped down", 2, c.stepDown})
	}
	if canLimitFiles {
		nats.strikes = append(nats.strikes, strike{"disk full", 2, c.refuseWrites})
	}
	network := striker{random: c.random("network"), pause: 3 * time.Second}
	for _, state := range []struct {
		name string
		set  func(*Proxy)
	}{
		{"cut", (*Proxy).Cut},
		{"stalled", (*Proxy).Stall},
		{"slow", func(p *Proxy) { p.Slow(slowed) }},
	} {
		network.strikes = append(network.strikes,
			strike{"network to NATS " + state.name, 1, func(ctx context.Context, random *rand.Rand) (bool, error) {
				disturb(ctx, upTo(random, 4*time.Second), net.nats[anyOf(random, workerNames)], state.set)
				return true, nil
			}},
			strike{"network to Orchestrator " + state.name, 1, func(ctx context.Context, random *rand.Rand) (bool, error) {
				disturb(ctx, upTo(random, 4*time.Second), []*Proxy{net.orchestrator[anyOf(random, workerNames)]}, state.set)
				return true, nil
			}})
	}
	orchestrator := striker{c.random("orchestrator"), 8 * time.Second, []strike{
		{"tokens revoked", 3, func(ctx context.Context, _ *rand.Rand) (bool, error) {
			err := c.Ask(ctx, http.MethodPost, "/tokens/revoke", nil, nil)
			return err == nil, err
		}},
		{"Orchestrator away", 1, func(ctx context.Context, _ *rand.Rand) (bool, error) {
			disturb(ctx, awayFor, slices.Collect(maps.Values(net.orchestrator)), (*Proxy).Cut)
			return true, nil
		}},
	}}
	return append(all, nats, network, orchestrator)
}

// strike strikes until the context ends, which cuts the last strike short.
func (s striker) strike(ctx context.Context, c *Chaos) error {
	for wait(ctx, s.pause/2+upTo(s.random, s.pause)) == nil {
		next := s.draw()
		c.tell("%s", next.name)
		over := c.struck.begin(next.name)
		struck, err := next.do(ctx, s.random)
		over(struck)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", next.name, err)
		}
	}
	return nil
}

func (s striker) draw() strike {
	sum := 0
	for _, one := range s.strikes {
		sum += one.odds
	}
	n := s.random.IntN(sum)
	for _, one := range s.strikes {
		if n -= one.odds; n < 0 {
			return one
		}
	}
	panic("proving: no strike drawn") // n is below the sum of all odds
}

func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

func anyOf[T any](random *rand.Rand, all []T) T { return all[random.IntN(len(all))] }

// wait returns the context's cause if it ends before the time is over.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // callers say what was being done
	}
}

// killWorker starts the worker again, also one that has ended by itself.
func (c *Chaos) killWorker(name string, net networks) (struck bool, err error) {
	p, err := c.Process(name)
	if err != nil {
		return false, err
	}
	struck = p.Running()
	p.Kill()
	_, err = c.startWorker(name, net)
	return struck, err
}

// freeze stops a process as a machine that is suspended, and lets it go on.
func (c *Chaos) freeze(ctx context.Context, name string, d time.Duration) (struck bool, err error) {
	p, err := c.Process(name)
	if err != nil {
		return false, err
	}
	if err := p.Signal(syscall.SIGSTOP); errors.Is(err, os.ErrProcessDone) {
		return false, nil // a worker that found no NATS when it started
	} else if err != nil {
		return false, err
	}
	_ = wait(ctx, d) // it must go on, whatever has ended
	return true, p.Signal(syscall.SIGCONT)
}

func (c *Chaos) anyNode(random *rand.Rand) node { return anyOf(random, c.nodes) }

// killNode kills a server and starts it again a little later.
func (c *Chaos) killNode(ctx context.Context, random *rand.Rand) (struck bool, err error) {
	return true, c.restart(ctx, c.anyNode(random), upTo(random, time.Second))
}

// restart returns when all servers have what the others have, so that a
// majority is never away.
func (c *Chaos) restart(ctx context.Context, n node, away time.Duration) error {
	p, err := c.Process(n.name)
	if err != nil {
		return err
	}
	p.Kill()
	_ = wait(ctx, away) // it must come back, whatever has ended
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), Patience)
	defer cancel()
	if err := c.StartNATS(back, c.env()); err != nil {
		return err
	}
	return c.awaitCurrent(back)
}

// awaitCurrent waits until every replica of every stream is up to date.
func (c *Chaos) awaitCurrent(ctx context.Context) error {
	for {
		behind := ""
		for _, name := range streams() {
			if !c.isCurrent(ctx, name) {
				behind = name
			}
		}
		if behind == "" {
			return nil
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("stream %s is not on all servers again: %w", behind, err)
		}
	}
}

func (c *Chaos) isCurrent(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stream, err := c.JS.Stream(ctx, name)
	if err != nil {
		return false
	}
	cluster := stream.CachedInfo().Cluster
	if len(c.nodes) == 1 || cluster == nil {
		return len(c.nodes) == 1
	}
	for _, replica := range cluster.Replicas {
		if !replica.Current || replica.Offline {
			return false
		}
	}
	return cluster.Leader != "" && len(cluster.Replicas) == len(c.nodes)-1
}

// stepDown has a stream's leader give way to another.
func (c *Chaos) stepDown(ctx context.Context, random *rand.Rand) (struck bool, err error) {
	name := anyOf(random, []string{pipeline.Topology{}.RequestsStream(), pipeline.Topology{}.LedgerStream()})
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := c.JS.Conn().RequestWithContext(asking, "$JS.API.STREAM.LEADER.STEPDOWN."+name, nil)
	if err != nil {
		return false, unlessAway(err)
	}
	return steppedDown(reply.Data)
}

// steppedDown reads the reply: that there is one does not say that the leader
// has given way.
func steppedDown(reply []byte) (bool, error) {
	var answer struct {
		Success bool                `json:"success"`
		Error   *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply, &answer); err != nil {
		return false, fmt.Errorf("decode the answer: %w", err)
	}
	return answer.Success && answer.Error == nil, nil
}

// disturb does something to a piece of network for a while.
func disturb(ctx context.Context, d time.Duration, proxies []*Proxy, set func(*Proxy)) {
	for _, p := range proxies {
		set(p)
	}
	_ = wait(ctx, d) // it must be mended, whatever has ended
	for _, p := range proxies {
		p.Mend()
	}
}
