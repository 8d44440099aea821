package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"waybill/cmd/internal/cli"
)

var accountColumns = []cli.Column[accountFound]{
	{Name: "ACCOUNT", Value: func(a accountFound) string { return a.Name }},
	{Name: "LOGICAL NAME", Value: func(a accountFound) string { return a.LogicalName }},
	{Name: "SERVICES", Value: func(a accountFound) string {
		var services []string
		for _, s := range a.Services {
			services = append(services, s.LogicalName+" ("+s.Type+", "+s.State+") "+s.URL)
		}
		return strings.Join(services, ", ")
	}},
}

var folderColumns = []cli.Column[folderFound]{
	{Name: "FOLDER", Value: func(f folderFound) string { return f.Path }},
	{Name: "TYPE", Value: func(f folderFound) string { return f.Type }},
	{Name: "ID", Value: func(f folderFound) string { return strconv.FormatInt(f.ID, 10) }},
	{Name: "KEY", Value: func(f folderFound) string { return f.Key }},
}

// Keys are left to JSON: they are long, and no subject has them.
var processColumns = []cli.Column[inPath[processFound]]{
	{Name: "PROCESS", Value: func(p inPath[processFound]) string { return p.record.Name }},
	{Name: "SUBJECT", Value: func(p inPath[processFound]) string { return p.record.Subject }},
	{Name: "FOLDER", Value: func(p inPath[processFound]) string { return p.path }},
	{Name: "PACKAGE", Value: func(p inPath[processFound]) string { return p.record.PackageID + " " + p.record.Version }},
	{Name: "INPUTS", Value: func(p inPath[processFound]) string { return parameters(p.record.Inputs) }},
	{Name: "OUTPUTS", Value: func(p inPath[processFound]) string { return parameters(p.record.Outputs) }},
	{Name: "DEFAULTS", Value: func(p inPath[processFound]) string { return string(p.record.DefaultInputs) }},
}

func (f folderFound) requiresInputs() bool {
	return slices.ContainsFunc(f.Processes, func(p processFound) bool {
		return slices.ContainsFunc(p.Inputs, func(a argumentFound) bool { return a.Required })
	})
}

// parameters writes "name Type", with a star for those that must be given.
func parameters(arguments []argumentFound) string {
	var texts []string
	for _, a := range arguments {
		text := strings.TrimSpace(a.Name + " " + a.Type)
		if a.Required {
			text += "*"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

var queueColumns = []cli.Column[inPath[queueFound]]{
	{Name: "QUEUE", Value: func(q inPath[queueFound]) string { return q.record.Name }},
	{Name: "SUBJECT", Value: func(q inPath[queueFound]) string { return q.record.Subject }},
	{Name: "FOLDER", Value: func(q inPath[queueFound]) string { return q.path }},
	{Name: "REFERENCES", Value: func(q inPath[queueFound]) string { return q.record.references() }},
	{Name: "RETRIES", Value: func(q inPath[queueFound]) string { return q.record.retries() }},
	{Name: "SCHEMAS", Value: func(q inPath[queueFound]) string { return q.record.Schemas.names() }},
	{Name: "SLA", Value: func(q inPath[queueFound]) string { return q.record.sla() }},
}

func (q queueFound) references() string {
	if q.UniqueReferences {
		return "unique"
	}
	return "any"
}

func (q queueFound) retries() string {
	switch {
	case q.MaxRetries == 0:
		return "none"
	case q.AutoRetry:
		return strconv.Itoa(q.MaxRetries) + ", automatic"
	}
	return strconv.Itoa(q.MaxRetries) + ", by hand"
}

func (q queueFound) sla() string {
	switch {
	case q.SLAMinutes == 0:
		return ""
	case q.RiskSLAMinutes == 0:
		return strconv.Itoa(q.SLAMinutes) + "m"
	}
	return fmt.Sprintf("%dm, at risk %dm", q.SLAMinutes, q.RiskSLAMinutes)
}

func (s schemasFound) names() string {
	var names []string
	for name, schema := range map[string][]byte{"content": s.Content, "output": s.Output, "analytics": s.Analytics} {
		if schema != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

var robotColumns = []cli.Column[inPath[robotFound]]{
	{Name: "ROBOT", Value: func(r inPath[robotFound]) string { return r.record.Name }},
	{Name: "FOLDER", Value: func(r inPath[robotFound]) string { return r.path }},
	{Name: "TYPE", Value: func(r inPath[robotFound]) string { return r.record.Type }},
	{Name: "USERNAME", Value: func(r inPath[robotFound]) string { return r.record.Username }},
	{Name: "MACHINE", Value: func(r inPath[robotFound]) string { return r.record.Machine }},
	{Name: "ENABLED", Value: func(r inPath[robotFound]) string { return yesOrNo(r.record.Enabled) }},
}

func yesOrNo(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "yes"
	}
	return "no"
}

var machineColumns = []cli.Column[inPath[machineFound]]{
	{Name: "MACHINE", Value: func(m inPath[machineFound]) string { return m.record.Name }},
	{Name: "FOLDER", Value: func(m inPath[machineFound]) string { return m.path }},
	{Name: "HOST", Value: func(m inPath[machineFound]) string { return m.record.Host }},
	{Name: "RUNTIMES", Value: func(m inPath[machineFound]) string {
		return fmt.Sprintf("%d %s, %d in use", m.record.Runtimes, m.record.RuntimeType, m.record.UsedRuntimes)
	}},
	{Name: "STATUS", Value: func(m inPath[machineFound]) string { return m.record.Status }},
}
