// Package pipeline carries requests out once.
//
// Producers publish requests ("add this queue item", "start this job") to
// NATS JetStream; workers take them, call UiPath Orchestrator, and publish one
// outcome per request, which consumers of results subscribe to.
//
//	producers ──▶ <prefix>.requests.<tenant>.<folder>.items|jobs.<queue|process>
//	                          │  stream UIPATH_REQUESTS, one durable consumer a lane
//	                          ▼
//	   ┌─ pull ─▶ decode ─▶ claim ─▶ call ─▶ sort the answer ─▶ settle ─┐
//	   │                      │        │           │                    │
//	   │               UIPATH_LEDGER   ▼           └▶ in doubt: look,   ▼
//	   │            claims, outcomes   Orchestrator    then decide     ack
//	   │                      │
//	   └── dead letters       └▶ <prefix>.outcomes.<tenant>.….<key>.accepted|final ──▶ subscribers
//
// # The promise
//
// Each request key, per generation, causes at most one effect in Orchestrator
// and ends in exactly one final outcome. Outcome messages are delivered at
// least once; drop repeats by Nats-Msg-Id. What cannot be known is reported as
// unknown, never guessed and never repeated by itself. (Only an operator opens
// another generation.)
//
// It holds through kill -9 of any worker at any point; redelivery; the same
// request published twice, seconds or weeks apart within the ledger's
// retention; answers lost after the effect; 429, 5xx and HTML in place of
// JSON; a paused worker that wakes up late; kill -9 of a NATS server, and loss
// of one node of three.
//
// Its limits: Orchestrator applies a call later than the settle time after we
// hung up; a worker is frozen, between its last look at the clock and the
// kernel's send, for longer than its claim's time and the settle time;
// somebody deletes the item, or retention removes it, while it is in doubt;
// the ledger stream is lost; NATS loses an acknowledged write, which is why
// every shipped configuration has sync_interval: always.
//
// # Words
//
// A request is one message asking for one queue item or one job. Its key is
// the caller's name for it, unique in its scope: tenant, folder, kind, queue
// or process, which together are a lane. A delivery is one hand-over of a
// request by JetStream. A claim is the ledger's record that a worker is about
// to call. An outcome is what became of a request. A request is in doubt when
// a call may or may not have taken effect. A dead letter is the copy of
// a request that came to nothing, kept for an operator.
//
// # The ledger
//
// One stream holds claims and outcomes, one message a subject. A claim is
// inserted where there is none and changed only from the revision it was read
// at; an outcome is written on condition that the claim it was learnt under
// still stands. So whoever has been replaced can write nothing any more, and
// there is one outcome, whoever writes it. Absence is only believed of a write
// that succeeded, or of an answer that has what was written just before it: any
// other read may come from a replica that is behind, or from a leader that has
// been deposed and does not know.
//
// Nothing is concluded from how often JetStream has delivered a request: after
// a crash of the server, a message that had been delivered comes back as new.
//
// A claim is good for Config.Hold from the moment the server stored it, by
// the server's clock, and a call is only started if it ends within. After
// Config.Settle more, its call is either in Orchestrator for good or will
// never be: only then may anyone conclude that it had no effect.
//
// # What becomes of a delivery
//
//	the key has a final outcome         ack; another payload or a broken copy: dead letter
//	another worker's claim is alive     nak, until it is over
//	the claim was given back            take it over, call
//	the claim is dead, nothing called   take it over, call
//	the claim is dead, a call was made  take it over, ask Orchestrator first
//	there is no claim                   claim, call
//
// Orchestrator's answer then says what a call has done (orchestrator.Kind):
//
//	done               outcome accepted
//	surely not done    give the claim back, nak, pause what is throttled
//	can never work     outcome rejected, dead letter
//	may be done        in doubt: look at once, believe what is found;
//	                   otherwise leave the claim to die, and look again then
//
// In doubt, an item is found by its Reference and a job by its
// BatchExecutionKey, which is computed from lane, key and generation. It is
// the request's own only if the Reference is the key itself, the content is
// the same and it was created after the request was published; somebody
// else's if it surely was before. That a filter finds nothing proves absence
// only if the same answer has something in it that is known to be there;
// otherwise everything created since is listed and compared here. Where nobody
// can tell, the clocks included, the outcome is unknown.
//
// Settling goes in an order that loses nothing wherever it is cut short: dead
// letters, then outcomes, then acks.
//
// # What waits for what
//
// A lane's worker waits for a first request, and for a turn: a tenant has a few
// for all its lanes. With the turn in hand it fills the batch up and claims it.
// Each call then waits for a slot, of which a tenant has as many as calls may be
// in flight; when the last has got one, the turn is passed on, so that the next
// batch is claimed while this one is called. Nothing waits for a turn with a
// slot in hand, and no look-up in Orchestrator is waited for with a turn.
//
// Turns, slots, and the room for what is in hand are each tenant's own: one that
// is down, denied or slow holds up no other, not at the start either.
//
// # Where to find it
//
//	lane.go request.go payload.go object.go invalid.go outcome.go
//	                                           the wire: names, what is asked, what is told
//	topology.go control.go tokens.go           streams, subjects, the buckets that workers share
//	permissions.go roles.go accounts.go permissiontext.go
//	                                           what NATS must allow to whom
//	inspection.go difference.go backlog.go trial.go
//	                                           what there is, for whoever looks after it
//	publisher.go watch.go                      for producers and for subscribers
//	worker.go gone.go                          a worker, and what it cannot do without
//	lanes.go runner.go target.go               its lanes, one lane, what it is in Orchestrator
//	delivery.go claiming.go call.go doubt.go lookup.go settle.go deadletter.go
//	                                           one delivery from decode to ack
//	ledger.go state.go claim.go probe.go clock.go
//	                                           who carries out what, and what became of it
//	tenant.go slots.go held.go                 what a tenant may be asked, what is in hand
//	tracking.go sweep.go                       how what was accepted ends
//	point.go stats.go                          where it may be killed, what it has done
//
// Package embedded runs JetStream in this process; package protocol is the
// protocol as a model that can be searched; package history judges what
// happened against the promise. What shows that all this holds is told in
// docs/guarantees.md.
package pipeline
