package simulator

import (
	"cmp"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Machine describes a machine that is assigned to a folder, with one kind of runtime, as lists show it.
type Machine struct {
	Name string `json:"name"`
	// Host is the computer that is connected. Empty: none is, and the machine's status is Disconnected.
	Host string `json:"host"`
	// RuntimeType is what kind of jobs it runs. Empty: "Unattended".
	RuntimeType string `json:"runtimeType"`
	// Runtimes is how many jobs it runs at a time. Zero: one.
	Runtimes int64 `json:"runtimes"`
}

type machine struct {
	Machine
	id        int64
	sessionID int64
	reported  time.Time
}

// AddMachine assigns a machine to a folder, which is made if it is missing, and returns the machine's id.
func (s *Server) AddMachine(folderPath string, m Machine) (id int64, err error) {
	if m.Name == "" {
		return 0, errors.New("machine name is empty: give it one")
	}
	m.RuntimeType, m.Runtimes = cmp.Or(m.RuntimeType, "Unattended"), cmp.Or(m.Runtimes, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.tenant.addFolder(folderPath)
	made := &machine{
		Machine: m, id: s.tenant.machineIDs.next(), sessionID: s.tenant.sessionIDs.next(), reported: s.tenant.stamp(s.now()),
	}
	f.machines = append(f.machines, made)
	return made.id, nil
}

type machineEntity struct {
	SessionID       int64   `json:"SessionId"`
	MachineID       int64   `json:"MachineId"`
	MachineName     string  `json:"MachineName"`
	MaintenanceMode string  `json:"MaintenanceMode"`
	HostMachineName *string `json:"HostMachineName"`
	RuntimeType     string  `json:"RuntimeType"`
	MachineType     string  `json:"MachineType"`
	MachineScope    string  `json:"MachineScope"`
	Status          string  `json:"Status"`
	IsUnresponsive  bool    `json:"IsUnresponsive"`
	Runtimes        int64   `json:"Runtimes"`
	UsedRuntimes    int64   `json:"UsedRuntimes"`
	ServiceUserName *string `json:"ServiceUserName"`
	ReportingTime   *string `json:"ReportingTime"`
	Version         *string `json:"Version"`
	Platform        string  `json:"Platform"`
	TriggersCount   int     `json:"TriggersCount"`
}

func (m *machine) entity() machineEntity {
	e := machineEntity{
		SessionID:       m.sessionID,
		MachineID:       m.id,
		MachineName:     m.Name,
		MaintenanceMode: "Default",
		RuntimeType:     m.RuntimeType,
		MachineType:     "Template",
		MachineScope:    "Default",
		Status:          "Disconnected",
		Runtimes:        m.Runtimes,
		Platform:        "Unknown",
	}
	if m.Host != "" {
		e.HostMachineName, e.Status, e.Platform = &m.Host, "Available", "Windows"
		e.ReportingTime, e.Version = stampText(m.reported), new("25.10.0")
	}
	return e
}

var machineSet = collection[*machine]{
	name: "Sessions",
	fields: map[string]field[*machine]{
		"sessionid":       numberField(func(m *machine) int64 { return m.sessionID }),
		"machineid":       numberField(func(m *machine) int64 { return m.id }),
		"machinename":     textField(func(m *machine) string { return m.Name }),
		"hostmachinename": textField(func(m *machine) string { return m.Host }),
		"runtimetype":     textField(func(m *machine) string { return m.RuntimeType }),
	},
	entity: func(m *machine, _ []string) any { return m.entity() },
	rules:  generalRules,
}

func (s *Server) listFolderMachines(c *call) (answer, *refusal) {
	f, err := s.folderArgument(c)
	if err != nil {
		return answer{}, err
	}
	return list(s, c, machineSet, func(node) iter.Seq[*machine] { return slices.Values(f.machines) })
}

// trimName takes the name off an argument that is written as name=value.
func trimName(argument, name string) string { return strings.TrimPrefix(argument, name+"=") }

func (s *Server) controlAddMachine(r *http.Request) (int, any, error) {
	var b struct {
		Folder string `json:"folder"`
		Machine
	}
	if err := decodeControl(r, &b); err != nil {
		return 0, nil, err
	}
	if b.Folder == "" {
		return 0, nil, errNoFolderPath
	}
	id, err := s.AddMachine(b.Folder, b.Machine)
	return http.StatusCreated, map[string]int64{"id": id}, err
}
