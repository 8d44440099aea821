package orchestrator

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"
	"time"
)

const opRelease = "look up release"

// Release is a process as published in a folder: what the user interface calls
// a process, the API calls a release. Its Key is what StartJobs wants.
type Release struct {
	ID                      int64             `json:"Id"`
	Key                     string            `json:"Key"` // GUID, upper or lower case
	Name                    string            `json:"Name"`
	ProcessKey              string            `json:"ProcessKey"` // the package's id
	ProcessVersion          string            `json:"ProcessVersion"`
	IsLatestVersion         bool              `json:"IsLatestVersion"`
	Description             string            `json:"Description"`
	ProcessType             string            `json:"ProcessType"`
	InputArguments          string            `json:"InputArguments"` // defaults, JSON
	Arguments               *ReleaseArguments `json:"Arguments"`
	RequiresUserInteraction bool              `json:"RequiresUserInteraction"`
	JobPriority             string            `json:"JobPriority"`
	OrganizationUnitID      int64             `json:"OrganizationUnitId"`
	CreationTime            *time.Time        `json:"CreationTime"`
}

// ReleaseArguments describe a release's parameters, each as JSON text: Inputs and
// Outputs read it.
type ReleaseArguments struct {
	Input  string `json:"Input"`
	Output string `json:"Output"`
}

func (r *Release) missing() string {
	if r.Key == "" {
		return "Key"
	}
	return ""
}

// ReleaseByName finds a folder's release by its name and remembers it for some
// minutes. A name that nothing has gives an error of kind Rejected that is
// ErrNotFound. It follows the page "Releases" of UiPath's API guide.
func (c *Client) ReleaseByName(ctx context.Context, folder Folder, name string) (Release, error) {
	return c.releases.get(ctx, opRelease, nameKey(folder, name), func(ctx context.Context) (Release, error) {
		release, err := findByName("Name", opRelease, name, func(r Release) string { return r.Name },
			func(q Query) iter.Seq2[Release, error] { return c.Releases(ctx, folder, q) })
		return release, namedError(err, opRelease, "process", name,
			"check the name, that the process is in this folder, and that the login may read processes (scope OR.Execution)")
	})
}

// ForgetRelease makes the next ReleaseByName ask again. Call it when StartJobs
// says that the process could not be found: it may have been published anew.
func (c *Client) ForgetRelease(folder Folder, name string) {
	c.releases.forget(nameKey(folder, name))
}

// Releases lists a folder's releases.
func (c *Client) Releases(ctx context.Context, folder Folder, q Query) iter.Seq2[Release, error] {
	return list[Release](ctx, c, call{op: "list releases", class: Reads, path: "/odata/Releases", folder: folder}, q, maxTop)
}

// ReleasesWithArguments lists a folder's releases with their parameters.
// Orchestrator leaves those out of a plain listing, and some versions have them
// in it but refuse to be asked for them; then it is the plain one.
func (c *Client) ReleasesWithArguments(ctx context.Context, folder Folder, q Query) iter.Seq2[Release, error] {
	expanded := q
	expanded.Expand = "Arguments"
	return func(yield func(Release, error) bool) {
		first := true
		for release, err := range c.Releases(ctx, folder, expanded) {
			if first && refusedQuery(err) {
				c.Releases(ctx, folder, q)(yield)
				return
			}
			first = false
			if !yield(release, err) {
				return
			}
		}
	}
}

// refusedQuery tells whether an answer says that the query cannot be understood,
// for which Orchestrator has a status and no code.
func refusedQuery(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == Rejected && e.StatusCode == http.StatusBadRequest && e.Code == 0
}

// nameKey is what a name is remembered under. Names there do not depend on case.
func nameKey(folder Folder, name string) string {
	return folder.reference().String() + "\x00" + strings.ToLower(name)
}
