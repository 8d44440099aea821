// Package simulator plays UiPath Orchestrator for development and tests. It answers the part of the API that an
// automation's callers use, keeps what they create in memory, goes wrong on demand, and counts what it was made to do:
// a test asks it how often a queue item or a job has really come into being.
//
//	sim := simulator.New(simulator.Config{Seed: 1})
//	defer sim.Close()
//	sim.AddQueue("Finance/Invoices", simulator.Queue{Name: "Invoices", Unique: true})
//	sim.AddRelease("Finance/Invoices", "Post invoices")
//	client := &http.Client{Transport: sim.RoundTripper()}   // or http.ListenAndServe(addr, sim)
//	...
//	for _, effect := range sim.Effects() { ... }
//
// # Where it answers
//
// The API is served in the cloud form of its URL, /{org}/{tenant}/orchestrator_/odata/..., and in the standalone form,
// /odata/.... Calls carry a personal access token or a Bearer token from one of those below. Any other path shows an HTML
// page with status 200, as the cloud does.
//
//	…/connect/token                   client credentials, authorization codes, refresh tokens
//	…/connect/authorize               codes, with PKCE, for users who log in on a page or have a session already
//	/oauth/token                      the cloud's login of old, by user key; what it is good for is told at
//	                                  /cloudrpa/api/getAccountsForUser and
//	                                  /cloudrpa/api/account/{account}/getAllServiceInstances
//	/api/Account/Authenticate         the login by password of standalone installations
//
// The first two are found below /{org}/identity_, /identity_ and /identity. Config says who may log in; where it says
// nothing, everybody may.
//
// Folders, Releases, QueueDefinitions, QueueItems and Jobs can be listed and read, a folder's robots and machines be
// listed; items are added one by one, in bulk, and deleted; jobs are started and stopped. Lists understand $filter (eq,
// ne, gt, ge, lt, le, in, and, or, not, parentheses), $orderby, $top, $skip, $count, $select and $expand, and page as the
// real ones do. An item's outcome is set with Server.FinishQueueItem; jobs are run by simulated Robots.
//
// # How a call passes through
//
//	authenticate → folder → validate → latency → fault before → hold before → effect → hold after → fault after → answer
//
// A call that is found wrong gets its error and is never struck by a fault. The effect happens under one lock, as a
// whole or not at all. A call for tokens goes the same way from the faults on; its effect is that tokens are issued, and
// the code or refresh token that it came with used up.
//
// # Faults, holds, time
//
// Faults strike a share of the calls; the seed decides which and how, so a failing run can be repeated as long as the
// calls come in the same order. A Hold stops one chosen call before or after its effect, for the moments that a test
// wants to look at: kill the caller while its call is held, start it again, release. Everything waits on timers and
// channels of package time alone and stops with Close, so inside a testing/synctest bubble hours pass at once; there,
// make the Server inside the bubble and use RoundTripper. Config.ClockSkew sets Orchestrator's clock wrong.
//
// # Switches
//
// Where no source tells what the real Orchestrator does, Config has a switch; see Switches, one line each. A caller
// that has to be safe is tested with all of them.
//
// # Control over HTTP
//
// Tests in other processes and languages do the same below /simulator/, with JSON and without a token. Durations are
// written as "250ms". What is wrong about a call is said in {"error": ...} with status 400.
//
//	GET    /simulator/                        what there is: folders with their queues and releases, and sums
//	GET    /simulator/effects?reference=R     {"count", "effects": [Effect]}; without reference all of them
//	GET    /simulator/effects/counts          EffectCounts: how many, and what has more than one
//	GET    /simulator/calls                   calls by operation
//	GET    /simulator/faults                  the faults in force
//	PUT    /simulator/faults                  {"rate", "readRate", "tokenRate", "kinds", "latency", "latencyJitter", "lateBy", "retryAfter"}
//	POST   /simulator/holds                   {"operation", "when", "reference", "outlives"} → {"id"}
//	GET    /simulator/holds/{id}?wait=10s     {"arrived"}: whether a call has run into it, after waiting for that
//	DELETE /simulator/holds/{id}              releases it
//	POST   /simulator/folders                 {"path"} → {"id", "key", "path"}
//	POST   /simulator/folders/renumber        new ids for all folders, as after a change of licence
//	POST   /simulator/queues                  {"folder", "name", "unique", "maxRetries", "schema"} → {"id"}
//	POST   /simulator/releases                {"folder", "name", "processKey", "version", "inputArguments", "inputs", "outputs", "refuses"} → {"id"}
//	POST   /simulator/robots                  {"folder", "name", "username", "type"} → {"id"}
//	POST   /simulator/machines                {"folder", "name", "host", "runtimeType", "runtimes"} → {"id"}
//	POST   /simulator/queueitems/{id}/finish  {"status", "output", "exception": {"type", "reason", "details"}} → {"successor"}
//	GET    /simulator/tokens                  TokenCounts: logins by grant type, refreshes taken and refused
//	POST   /simulator/tokens/revoke           takes back every access token; with {"refresh": true} refresh tokens too
//	GET    /simulator/denied                  {"operations"} that nobody has the permission for
//	PUT    /simulator/denied                  {"operations"} to deny instead, such as "StartJobs"; they answer 403
//	POST   /simulator/reset                   forgets what calls have done; see Server.Reset
//
// # What it does not do
//
// Webhooks, robots' transactions (StartTransaction, SetTransactionResult), consent pages, logging out, id tokens and
// tokens that could be read (all are opaque), permissions of single users, the API below the cloud's old host
// (/{account}/{service}/odata), and everything that is set up in Orchestrator's own pages.
package simulator
