package main

import (
	"encoding/json"
	"strings"

	"waybill/orchestrator"
)

// tenantFound is what worker discover prints of a tenant. The names of its
// members are a contract: new ones may come, none is renamed. A list that is
// null could not be read, which a note explains; an empty one is empty.
type tenantFound struct {
	Tenant   string         `json:"tenant"` // its name in subjects
	URL      string         `json:"url"`
	Accounts []accountFound `json:"accounts,omitempty"` // of legacy tenants
	Folders  []folderFound  `json:"folders"`
	Notes    []string       `json:"notes,omitempty"`
}

type accountFound struct {
	Name        string         `json:"name"`
	LogicalName string         `json:"logicalName"`
	Services    []serviceFound `json:"services"`
}

type serviceFound struct {
	Name        string   `json:"name"`
	LogicalName string   `json:"logicalName"`
	Type        string   `json:"type"`
	State       string   `json:"state"`
	URL         string   `json:"url"`
	Roles       []string `json:"roles"`
}

type folderFound struct {
	Path      string         `json:"path"`
	Key       string         `json:"key"`
	ID        int64          `json:"id"`
	Type      string         `json:"type"`
	Processes []processFound `json:"processes"`
	Queues    []queueFound   `json:"queues"`
	Robots    []robotFound   `json:"robots"`
	Machines  []machineFound `json:"machines"`
	Notes     []string       `json:"notes,omitempty"`
}

type processFound struct {
	Name          string          `json:"name"`
	Key           string          `json:"key"`
	PackageID     string          `json:"packageId"`
	Version       string          `json:"version"`
	Inputs        []argumentFound `json:"inputs"`
	Outputs       []argumentFound `json:"outputs"`
	DefaultInputs json.RawMessage `json:"defaultInputs,omitempty"`
	Subject       string          `json:"subject"`
	Example       json.RawMessage `json:"example,omitempty"` // body of a request, with values to be filled in
}

type argumentFound struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Required   bool   `json:"required"`
	HasDefault bool   `json:"hasDefault"`
}

type queueFound struct {
	Name             string       `json:"name"`
	Key              string       `json:"key"`
	UniqueReferences bool         `json:"uniqueReferences"`
	MaxRetries       int          `json:"maxRetries"`
	AutoRetry        bool         `json:"autoRetry"`
	Schemas          schemasFound `json:"schemas"`
	SLAMinutes       int          `json:"slaMinutes"`
	RiskSLAMinutes   int          `json:"riskSlaMinutes"`
	Subject          string       `json:"subject"`
}

// schemasFound are the JSON schemas that a queue's items have to satisfy.
type schemasFound struct {
	Content   json.RawMessage `json:"content,omitempty"`
	Output    json.RawMessage `json:"output,omitempty"`
	Analytics json.RawMessage `json:"analytics,omitempty"`
}

type robotFound struct {
	Name     string `json:"name"`
	Username string `json:"username"`
	Type     string `json:"type"`
	Machine  string `json:"machine"`
	Enabled  *bool  `json:"enabled"`
}

type machineFound struct {
	Name         string `json:"name"`
	Host         string `json:"host"`
	RuntimeType  string `json:"runtimeType"`
	Runtimes     int64  `json:"runtimes"`
	UsedRuntimes int64  `json:"usedRuntimes"`
	Status       string `json:"status"`
}

func argumentsFound(arguments []orchestrator.Argument) []argumentFound {
	found := []argumentFound{}
	for _, a := range arguments {
		found = append(found, argumentFound(a))
	}
	return found
}

// exampleOf is the body of a request for a process with these parameters, in
// their order; nil where there are none, since any body will do then.
func exampleOf(inputs []argumentFound) json.RawMessage {
	var members []string
	seen := make(map[string]bool)
	for _, in := range inputs {
		if seen[in.Name] {
			continue // no object may have a name twice
		}
		seen[in.Name] = true
		name, _ := json.Marshal(in.Name) // text can always be encoded
		members = append(members, string(name)+":"+placeholder(in.Type))
	}
	if members == nil {
		return nil
	}
	return json.RawMessage(`{"key":"example-1","job":{"InputArguments":{` + strings.Join(members, ",") + `}}}`)
}

// placeholder is a value of a type, as JSON.
func placeholder(name string) string {
	switch name {
	case "String":
		return `""`
	case "Boolean":
		return "false"
	case "Byte", "Int16", "Int32", "Int64", "UInt16", "UInt32", "UInt64", "Single", "Double", "Decimal":
		return "0"
	case "DateTime", "DateTimeOffset":
		return `"2026-01-31T00:00:00Z"`
	}
	if strings.HasSuffix(name, "[]") || strings.HasPrefix(name, "List<") {
		return "[]"
	}
	return "null"
}
