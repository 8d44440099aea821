// Package orchestrator calls the REST API of UiPath Orchestrator: it adds queue
// items, starts jobs, reads both, and looks up folders, releases and queues; it
// lists them too, and the robots and machines of a folder.
// One [Client] serves one tenant; it can be used on its own.
//
//	client, err := orchestrator.New(orchestrator.Config{
//		BaseURL: "https://cloud.uipath.com/org/tenant/orchestrator_",
//		Login:   orchestrator.ClientCredentials{ClientID: id, ClientSecret: secret},
//	})
//	folder, err := client.Folder(ctx, orchestrator.FolderRef{Path: "Finance"})
//	release, err := client.ReleaseByName(ctx, folder, "Pay invoices")
//	jobs, err := client.StartJobs(ctx, folder, orchestrator.StartInfo{
//		ReleaseKey: release.Key, Strategy: "ModernJobsCount", JobsCount: 1,
//	})
//
// # Ways in
//
// How to log in depends on product, age and edition; a [Login] is one of
//
//	ClientCredentials     an external application, on its own behalf
//	RefreshToken          an external application, on behalf of a user
//	PersonalAccessToken   a user's own token
//	Password              a user's name and password, on-premises
//	UserKey               a user key of the former cloud
//
// A user logs in once, in a browser, by an [Authorization]. What that leaves, a
// [Grant], is kept in a [TokenStore], where clients on behalf of the same user
// share it. Its refresh tokens are good for one use each, and an answer that is
// lost, in a crash or on the way, takes the next one along; how that locks nobody
// out is told where it is done, in rotation.go.
//
// # What a failure means
//
// The API has no key against repeats: a call sent twice is done twice. So the
// question after a failure is not what went wrong but what may have happened,
// and every call answers it with an [*Error] of one [Kind]:
//
//	Transient   surely not done               repeat it later
//	Uncertain   may be done                   look before repeating
//	Duplicate   the queue has it already      find out whose it is
//	Rejected    can never work                change the request
//	Denied      nobody's request works        change login or configuration
//
// "Surely not done" is only said where it is proven: the connection was never
// made, not even a header was sent (the client watches its own writing), 429,
// 401, a gateway that says it had nowhere to send the request, or a token that
// could not be had. Every other failure of a write after sending is Uncertain:
// timeouts, cut connections, all 5xx, and a 2xx that is a proxy's page instead
// of the JSON asked for. Reads change nothing, so theirs are Transient.
//
// # What the client does by itself
//
// It repeats what is surely not done, for at most Config.RetryFor and never past
// the context's deadline; a longer Retry-After is handed to the caller at once,
// in [Error.RetryAfter]. It never repeats a write that may have been done, and
// neither does its transport.
//
// A call is made with a token that is renewed ahead of its end, by one login for
// all callers. A 401 leads to one renewal and one repeat, then to Denied. What is
// refused comes with what to change: which secret, scope, permission or folder.
//
// Folders, releases and queues found by name are remembered for five minutes.
// A folder whose id is no longer known (error code 1100: ids change when a
// licence plan is migrated) is looked up again by its key, or by its path where
// there are no keys, and the call is made once more.
//
// # Finding out beforehand
//
// FindRoute goes the way to Orchestrator step by step, without a login, and
// LogIn tells what a login is good for. TryAddQueueItem, TryBulkAddQueueItems
// and TryStartJobs find out whether the rights to do so are there, and do
// nothing.
//
// # What it does not do
//
// It keeps no budget: [Class] says which of Orchestrator's limits a call draws
// on, the caller decides how fast to go. It does not follow redirects, logs no
// payload, and puts no token, secret or query into an error.
package orchestrator
