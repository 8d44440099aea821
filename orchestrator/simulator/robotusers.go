package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Robot describes a robot of a folder as lists show it. What runs the jobs are Config.Robots, whatever is listed.
type Robot struct {
	Name     string `json:"name"`     // at most 19 characters
	Username string `json:"username"` // on the machine; empty: none
	Type     string `json:"type"`     // empty: "Unattended"
}

const maxRobotName = 19

type robotUser struct {
	Robot
	id      int64
	user    uuid.UUID
	created time.Time
}

// AddRobot makes a robot in a folder, and the folder if that is missing, and returns its id.
func (s *Server) AddRobot(folderPath string, r Robot) (id int64, err error) {
	if r.Name == "" || len(r.Name) > maxRobotName {
		return 0, fmt.Errorf("robot name %q: give 1 to %d characters", r.Name, maxRobotName)
	}
	r.Type = cmp.Or(r.Type, "Unattended")
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.tenant.addFolder(folderPath)
	made := &robotUser{Robot: r, id: s.tenant.robotIDs.next(), user: s.mint.guid(), created: s.tenant.stamp(s.now())}
	f.robots = append(f.robots, made)
	return made.id, nil
}

// robotEntity has no member for what a robot logs in with: the real one shows null there.
type robotEntity struct {
	UserType                 string            `json:"UserType"`
	UserEmail                *string           `json:"UserEmail"`
	UserFullName             string            `json:"UserFullName"`
	UserKey                  string            `json:"UserKey"`
	LicenseKey               *string           `json:"LicenseKey"`
	MachineName              *string           `json:"MachineName"`
	MachineID                *int64            `json:"MachineId"`
	Name                     string            `json:"Name"`
	Username                 *string           `json:"Username"`
	ExternalName             *string           `json:"ExternalName"`
	Description              *string           `json:"Description"`
	Type                     string            `json:"Type"`
	HostingType              string            `json:"HostingType"`
	ProvisionType            string            `json:"ProvisionType"`
	Password                 *string           `json:"Password"`
	UserID                   int64             `json:"UserId"`
	Enabled                  bool              `json:"Enabled"`
	CredentialType           *string           `json:"CredentialType"`
	Environments             []json.RawMessage `json:"Environments"`
	RobotEnvironments        string            `json:"RobotEnvironments"`
	ExecutionSettings        *struct{}         `json:"ExecutionSettings"`
	IsExternalLicensed       bool              `json:"IsExternalLicensed"`
	LimitConcurrentExecution bool              `json:"LimitConcurrentExecution"`
	CreationTime             *string           `json:"CreationTime"`
	ID                       int64             `json:"Id"`
}

func (r *robotUser) entity() robotEntity {
	return robotEntity{
		UserType:      "DirectoryRobot",
		UserFullName:  r.Name,
		UserKey:       r.user.String(),
		Name:          r.Name,
		Username:      orNull(r.Username),
		Type:          r.Type,
		HostingType:   "Floating",
		ProvisionType: "Automatic",
		UserID:        r.id,
		Enabled:       true,
		Environments:  []json.RawMessage{},
		CreationTime:  stampText(r.created),
		ID:            r.id,
	}
}

var robotSet = collection[*robotUser]{
	name: "Robots",
	fields: map[string]field[*robotUser]{
		"id":       numberField(func(r *robotUser) int64 { return r.id }),
		"name":     textField(func(r *robotUser) string { return r.Name }),
		"username": textField(func(r *robotUser) string { return r.Username }),
		"type":     textField(func(r *robotUser) string { return r.Type }),
	},
	entity: func(r *robotUser, _ []string) any { return r.entity() },
	rules:  generalRules,
}

func (s *Server) listFolderRobots(c *call) (answer, *refusal) {
	f, err := s.folderArgument(c)
	if err != nil {
		return answer{}, err
	}
	return list(s, c, robotSet, func(node) iter.Seq[*robotUser] { return slices.Values(f.robots) })
}

// folderArgument is the folder that a path names, as in GetRobotsFromFolder(folderId=515116).
func (s *Server) folderArgument(c *call) (*folder, *refusal) {
	if f := s.tenant.folderByID(trimName(c.argument, "folderId")); f != nil {
		return f, nil
	}
	return nil, unknownFolder(s.cfg.UnknownFolderStatus)
}

func (s *Server) controlAddRobot(r *http.Request) (int, any, error) {
	var b struct {
		Folder string `json:"folder"`
		Robot
	}
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	if b.Folder == "" {
		return 0, nil, errNoFolderPath
	}
	id, err := s.AddRobot(b.Folder, b.Robot)
	return http.StatusCreated, map[string]int64{"id": id}, err
}

var errNoFolderPath = errors.New(`folder is empty: give its path, as "Finance/Invoices"`)
