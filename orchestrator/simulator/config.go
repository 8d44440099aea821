package simulator

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"
)

// Config says which Orchestrator to play. The zero value is a tenant that behaves as documented, or as is likely where
// nothing is documented; the fields under "Switches" turn each such guess around.
type Config struct {
	// Seed fixes every random choice: keys, trace ids, tokens, and which write call is struck by which fault.
	Seed int64
	// Org and Tenant are the names in the cloud form of the URL, /{org}/{tenant}/orchestrator_. Empty: any name.
	Org, Tenant string
	// OrgID is the organisation's id, by which acr_values may ask for it. Empty: any id is its own.
	OrgID string
	// ClientID and ClientSecret are the external application that may log in. Empty: any. Without ClientSecret it is a
	// non-confidential one when users log in to it, which needs PKCE and no secret.
	ClientID, ClientSecret string
	// RedirectURIs are where the application may have codes sent. Empty: anywhere on localhost, 127.0.0.1 and [::1], by
	// http or https.
	RedirectURIs []string
	// Users may log in with a password. Empty: anybody with any.
	Users []User
	// UserKey is what the legacy login takes. Empty: any.
	UserKey string
	// PersonalAccessToken is the one that is accepted. Empty: any that begins with "rt_".
	PersonalAccessToken string
	// TokenLife is how long an issued access token is good. Zero: one hour.
	TokenLife time.Duration
	// RefreshTokenLife is how long an issued refresh token is good. Zero: 60 days.
	RefreshTokenLife time.Duration
	// PasswordTokenLife is how long a token of the on-premises login is good. Zero: 30 minutes.
	PasswordTokenLife time.Duration
	// Denied are operations, by the API's names of them, that no token has the permission for. Deny changes them later.
	Denied []string
	// ListReadsPerMinute is how many list calls of Jobs and of QueueItems the tenant answers in any minute, each.
	// Zero: 100. Negative: without limit.
	ListReadsPerMinute int
	// MaxTopQueueItems, MaxTopJobs and MaxTop cap $top and the page size of queue items (zero: 100), jobs (1,000) and
	// everything else (1,000). Standalone installations answer 1,000 queue items.
	MaxTopQueueItems, MaxTopJobs, MaxTop int
	// FilterExpressions caps the comparisons in one $filter; each value of an "in" list counts. Zero: 100.
	FilterExpressions int
	// ClockSkew is how far Orchestrator's clock is ahead of this machine's; negative: behind.
	ClockSkew time.Duration
	// Faults strike calls; see Faults. SetFaults changes them later.
	Faults Faults
	// Robots run jobs; see Robots. The zero value has none: jobs stay Pending.
	Robots Robots
	// Logger hears one line per call at level debug. Nil: nobody does.
	Logger *slog.Logger

	Switches
}

// Switches holds one field for everything that no source confirms about the real Orchestrator, so that a caller can be
// tested against each possibility. The zero value of each is the documented or the likely behaviour.
type Switches struct {
	// FilterByReference and FilterByBatchExecutionKey say what a $filter on these members of a job does.
	FilterByReference, FilterByBatchExecutionKey FilterMode
	// RefuseRepeatedBatchKey answers 409 to a StartJobs whose BatchExecutionKey has been used before.
	RefuseRepeatedBatchKey bool
	// RefusePendingJobs answers 1670 to a StartJobs while the release has a pending job, with PendingJobsStatus
	// (zero: 409).
	RefusePendingJobs bool
	PendingJobsStatus int
	// LenientInputArguments takes InputArguments that are not a JSON object.
	LenientInputArguments bool
	// EmptyBody401 sends 401 without a body.
	EmptyBody401 bool
	// InvalidClientStatus is the status of a refused login. Zero: 400; the other candidate is 401.
	InvalidClientStatus int
	// InvalidCredentialsStatus goes with 1000, a refused on-premises login. Zero: 400; other candidates are 401 and 200.
	InvalidCredentialsStatus int
	// RefreshTokenLeeway is how long after its use a refresh token is still taken, for callers that lost the answer.
	// Zero: it is refused at once.
	RefreshTokenLeeway time.Duration
	// RefreshTokenReuseRevokes takes back all tokens of a login when one of its used refresh tokens comes again.
	RefreshTokenReuseRevokes bool
	// RefreshTokensLast has refresh tokens be used any number of times, instead of once for a new one.
	RefreshTokensLast bool
	// UnknownFolderStatus goes with 1100. Zero: 400; one report says 403.
	UnknownFolderStatus int
	// MissingReferenceStatus goes with 1850, an item without Reference for a unique queue. Zero: 400.
	MissingReferenceStatus int
	// OversizeStatus answers an item whose SpecificContent is too large. Zero: 400; another candidate is 413.
	OversizeStatus int
	// SchemaViolationStatus answers an item that its queue's JSON schema refuses. Zero: 400; another candidate is 409.
	SchemaViolationStatus int
	// RetryAfterForm is how 429 names the wait. Empty: in seconds.
	RetryAfterForm RetryAfterForm
	// BulkNullOrdinals leaves out which item of a bulk call failed.
	BulkNullOrdinals bool
	// BulkFirstOffenderOnly lists one failed item of an AllOrNothing call instead of all.
	BulkFirstOffenderOnly bool
	// BulkItemCap is the most items a bulk call may carry. Zero: no cap.
	BulkItemCap int
	// ReadDelay is how long a new item or job stays out of lists; reads by id see it at once.
	ReadDelay time.Duration
	// DeletedReferencesStayUsed keeps the reference of a deleted item taken, as is reported of purged items.
	DeletedReferencesStayUsed bool
	// NoUniqueIndex lets every reference pass on a unique queue, as where an administrator has dropped the index.
	NoUniqueIndex bool
	// IgnoreCase compares text without regard to case, in filters and in the rule of unique references, as a database
	// with a case-insensitive collation does.
	IgnoreCase bool
	// RefuseBadNames answers 400 to members of SpecificContent named with one of : . , @ " #.
	RefuseBadNames bool
	// RefuseUnknownMembers answers 400 to members of a request that the API does not define.
	RefuseUnknownMembers bool
}

// FilterMode says what comes of filtering by a member that may not be filterable.
type FilterMode string

// The ways a filter can behave.
const (
	FilterWorks   FilterMode = ""        // it finds what matches
	FilterRefused FilterMode = "refused" // the call gets 400
	FilterBlind   FilterMode = "blind"   // the comparison is never true, and nothing says so
)

// RetryAfterForm is a form of the Retry-After header.
type RetryAfterForm string

// The forms of Retry-After.
const (
	RetryAfterSeconds RetryAfterForm = ""
	RetryAfterDate    RetryAfterForm = "date"
	RetryAfterNone    RetryAfterForm = "none"
)

func (c Config) withDefaults() Config {
	c.TokenLife = cmp.Or(c.TokenLife, time.Hour)
	c.RefreshTokenLife = cmp.Or(c.RefreshTokenLife, 60*24*time.Hour)
	c.PasswordTokenLife = cmp.Or(c.PasswordTokenLife, 30*time.Minute)
	c.ListReadsPerMinute = cmp.Or(c.ListReadsPerMinute, 100)
	c.MaxTopQueueItems = cmp.Or(c.MaxTopQueueItems, 100)
	c.MaxTopJobs = cmp.Or(c.MaxTopJobs, 1000)
	c.MaxTop = cmp.Or(c.MaxTop, 1000)
	c.FilterExpressions = cmp.Or(c.FilterExpressions, 100)
	c.PendingJobsStatus = cmp.Or(c.PendingJobsStatus, http.StatusConflict)
	c.InvalidClientStatus = cmp.Or(c.InvalidClientStatus, http.StatusBadRequest)
	c.InvalidCredentialsStatus = cmp.Or(c.InvalidCredentialsStatus, http.StatusBadRequest)
	c.UnknownFolderStatus = cmp.Or(c.UnknownFolderStatus, http.StatusBadRequest)
	c.MissingReferenceStatus = cmp.Or(c.MissingReferenceStatus, http.StatusBadRequest)
	c.OversizeStatus = cmp.Or(c.OversizeStatus, http.StatusBadRequest)
	c.SchemaViolationStatus = cmp.Or(c.SchemaViolationStatus, http.StatusBadRequest)
	c.Faults = c.Faults.withDefaults()
	c.Robots = c.Robots.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
