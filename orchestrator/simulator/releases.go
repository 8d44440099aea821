package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Release describes a release: a process in a folder, which StartJobs starts.
type Release struct {
	// ProcessKey is the name of the package. Empty: the release's name.
	ProcessKey string
	// Version of the package. Empty: "1.0.0".
	Version string
	// InputArguments are the defaults for jobs that are started without: a JSON object. Empty: none.
	InputArguments string
	// Inputs are the parameters of the process. StartJobs refuses to go without a required one.
	Inputs []Argument
	// Outputs are what its jobs give back, as far as callers are told: what they do give is up to the Robots.
	Outputs []Argument
	// Refuses is what StartJobs answers instead of starting a job. Nil: it starts them.
	Refuses *StartError
}

// Argument is a parameter of a process.
type Argument struct {
	Name       string `json:"name"`
	Type       string `json:"type"` // a .NET type: "System.String"
	Required   bool   `json:"required"`
	HasDefault bool   `json:"hasDefault"`
}

// StartError is an answer of StartJobs that has to do with how robots and machines are set up.
type StartError struct {
	Status  int
	Code    int
	Message string
}

// The answers of StartJobs that callers meet most.
var (
	NoUnattendedRobot = StartError{409, 1671, "Couldn't find any user with unattended robot permissions in the current folder."}
	NoMachine         = StartError{409, 2818, "Could not find a machine with Unattended or NonProduction runtimes in the current folder"}
	NeedsUnattended   = StartError{409, 1230, "Foreground job requires an unattended robot to be defined on your user"}
)

type release struct {
	Release
	id        int64
	versionID int64
	key       uuid.UUID
	feed      uuid.UUID
	name      string
	folder    *folder
	created   time.Time
	pending   int // jobs that no robot has taken yet
}

// AddRelease makes a release, and its folder if that is missing, and returns its id. The last argument may be left out.
// A name that the folder has already is made again: the real one lets two releases differ by their package alone.
func (s *Server) AddRelease(folderPath, name string, details ...Release) (id int64, err error) {
	r := &release{name: name}
	for _, d := range details {
		r.Release = d
	}
	if name == "" {
		return 0, errors.New("release name is empty: give it one")
	}
	if r.InputArguments != "" && !isJSONObject(r.InputArguments) {
		return 0, fmt.Errorf("input arguments %q of release %q are no JSON object: give one", r.InputArguments, name)
	}
	r.ProcessKey = cmp.Or(r.ProcessKey, name)
	r.Version = cmp.Or(r.Version, "1.0.0")
	s.mu.Lock()
	defer s.mu.Unlock()
	r.folder = s.tenant.addFolder(folderPath)
	r.id, r.versionID = s.tenant.releases.next(), s.tenant.versions.next()
	r.key, r.feed = s.mint.guid(), s.mint.guid()
	r.created = s.tenant.stamp(s.now())
	r.folder.releases = append(r.folder.releases, r)
	return r.id, nil
}

func isJSONObject(text string) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &object) == nil && object != nil
}

// missingInput returns a required parameter that the arguments lack, or "".
func (r *release) missingInput(arguments string) string {
	var given map[string]json.RawMessage
	_ = json.Unmarshal([]byte(arguments), &given) // what is no object gives nothing
	for _, input := range r.Inputs {
		if _, ok := given[input.Name]; input.Required && !ok {
			return input.Name
		}
	}
	return ""
}

type releaseEntity struct {
	Key                                string            `json:"Key"`
	ProcessKey                         string            `json:"ProcessKey"`
	ProcessVersion                     string            `json:"ProcessVersion"`
	IsLatestVersion                    bool              `json:"IsLatestVersion"`
	IsProcessDeleted                   bool              `json:"IsProcessDeleted"`
	Description                        string            `json:"Description"`
	Name                               string            `json:"Name"`
	EnvironmentID                      *int64            `json:"EnvironmentId"`
	EnvironmentName                    string            `json:"EnvironmentName"`
	EntryPointID                       *int64            `json:"EntryPointId"`
	EntryPointPath                     *string           `json:"EntryPointPath"`
	InputArguments                     *string           `json:"InputArguments"`
	EnvironmentVariables               string            `json:"EnvironmentVariables"`
	ProcessType                        string            `json:"ProcessType"`
	SupportsMultipleEntryPoints        bool              `json:"SupportsMultipleEntryPoints"`
	RequiresUserInteraction            bool              `json:"RequiresUserInteraction"`
	IsAttended                         bool              `json:"IsAttended"`
	IsCompiled                         bool              `json:"IsCompiled"`
	AutoUpdate                         bool              `json:"AutoUpdate"`
	HiddenForAttendedUser              bool              `json:"HiddenForAttendedUser"`
	FeedID                             string            `json:"FeedId"`
	JobPriority                        string            `json:"JobPriority"`
	SpecificPriorityValue              int               `json:"SpecificPriorityValue"`
	FolderKey                          string            `json:"FolderKey"`
	OrganizationUnitID                 int64             `json:"OrganizationUnitId"`
	OrganizationUnitFullyQualifiedName string            `json:"OrganizationUnitFullyQualifiedName"`
	TargetFramework                    string            `json:"TargetFramework"`
	RobotSize                          *string           `json:"RobotSize"`
	RemoteControlAccess                string            `json:"RemoteControlAccess"`
	LastModificationTime               *string           `json:"LastModificationTime"`
	LastModifierUserID                 *int64            `json:"LastModifierUserId"`
	CreationTime                       *string           `json:"CreationTime"`
	CreatorUserID                      *int64            `json:"CreatorUserId"`
	ID                                 int64             `json:"Id"`
	Arguments                          releaseArguments  `json:"Arguments"`
	ProcessSettings                    *struct{}         `json:"ProcessSettings"`
	Tags                               []json.RawMessage `json:"Tags"`
}

// releaseArguments hold JSON lists of parameters, as strings; both null where they are not asked for.
type releaseArguments struct {
	Input  *string `json:"Input"`
	Output *string `json:"Output"`
}

func (r *release) entity(expand []string) releaseEntity {
	var arguments releaseArguments
	if slices.ContainsFunc(expand, func(name string) bool { return strings.EqualFold(name, "Arguments") }) {
		arguments = releaseArguments{Input: parameters(r.Inputs), Output: parameters(r.Outputs)}
	}
	return releaseEntity{
		// Keys of releases come in capitals, those of other entities do not.
		Key:                                strings.ToUpper(r.key.String()),
		ProcessKey:                         r.ProcessKey,
		ProcessVersion:                     r.Version,
		IsLatestVersion:                    true,
		Name:                               r.name,
		InputArguments:                     orNull(r.InputArguments),
		ProcessType:                        "Process",
		SupportsMultipleEntryPoints:        true,
		FeedID:                             r.feed.String(),
		JobPriority:                        "Normal",
		SpecificPriorityValue:              normalPriority,
		FolderKey:                          r.folder.key.String(),
		OrganizationUnitID:                 r.folder.id,
		OrganizationUnitFullyQualifiedName: r.folder.path,
		TargetFramework:                    "Portable",
		RemoteControlAccess:                "None",
		CreationTime:                       stampText(r.created),
		ID:                                 r.id,
		Arguments:                          arguments,
		Tags:                               []json.RawMessage{},
	}
}

func parameters(list []Argument) *string {
	if len(list) == 0 {
		return nil
	}
	text, _ := json.Marshal(list) // plain strings and booleans
	return new(string(text))
}

var releaseSet = collection[*release]{
	name: "Releases",
	fields: map[string]field[*release]{
		"id":                 numberField(func(r *release) int64 { return r.id }),
		"key":                guidField(func(r *release) uuid.UUID { return r.key }),
		"name":               textField(func(r *release) string { return r.name }),
		"processkey":         textField(func(r *release) string { return r.ProcessKey }),
		"processversion":     textField(func(r *release) string { return r.Version }),
		"creationtime":       momentField(func(r *release) time.Time { return r.created }),
		"organizationunitid": numberField(func(r *release) int64 { return r.folder.id }),
	},
	expand: []string{"Arguments", "CurrentVersion", "Environment", "EntryPoint", "ReleaseVersions", "ProcessSettings"},
	entity: func(r *release, expand []string) any { return r.entity(expand) },
	rules:  generalRules,
}

func (s *Server) listReleases(c *call) (answer, *refusal) {
	return list(s, c, releaseSet, func(node) iter.Seq[*release] { return slices.Values(c.folder.releases) })
}

func (s *Server) getRelease(c *call) (answer, *refusal) {
	id, _ := strconv.ParseInt(c.argument, 10, 64) // no number, no release
	i := slices.IndexFunc(c.folder.releases, func(r *release) bool { return r.id == id })
	if i < 0 {
		return answer{}, notFound("Release does not exist.")
	}
	return single(s, c, releaseSet, c.folder.releases[i])
}
