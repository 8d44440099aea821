package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"

	"waybill/orchestrator"
	"waybill/pipeline"
)

func (s survey) processes(ctx context.Context, folder orchestrator.Folder, f *folderFound) error {
	found, err := collect(s.client.ReleasesWithArguments(ctx, folder, orchestrator.Query{}), func(r orchestrator.Release) processFound {
		p := processFound{
			Name: r.Name, Key: r.Key, PackageID: r.ProcessKey, Version: r.ProcessVersion, DefaultInputs: jsonOrText(r.InputArguments),
			Subject: s.subject(f, pipeline.KindJob, r.Name),
		}
		inputs, inErr := r.Arguments.Inputs()
		outputs, outErr := r.Arguments.Outputs()
		if err := cmp.Or(inErr, outErr); err != nil {
			f.Notes = append(f.Notes, fmt.Sprintf("process %s: %v", r.Name, err))
		}
		p.Inputs, p.Outputs = argumentsFound(inputs), argumentsFound(outputs)
		p.Example = exampleOf(p.Inputs)
		return p
	})
	slices.SortStableFunc(found, func(a, b processFound) int { return cmp.Or(byName(a.Name, b.Name), cmp.Compare(a.Key, b.Key)) })
	f.Processes = found
	return err
}

func (s survey) queues(ctx context.Context, folder orchestrator.Folder, f *folderFound) error {
	found, err := collect(s.client.QueueDefinitions(ctx, folder, orchestrator.Query{}), func(q orchestrator.QueueDefinition) queueFound {
		return queueFound{
			Name: q.Name, Key: q.Key, UniqueReferences: q.EnforceUniqueReference,
			MaxRetries: q.MaxNumberOfRetries, AutoRetry: q.AcceptAutomaticallyRetry,
			SLAMinutes: q.SLAInMinutes, RiskSLAMinutes: q.RiskSLAInMinutes,
			Schemas: schemasFound{
				Content: jsonOrText(q.SpecificDataJSONSchema), Output: jsonOrText(q.OutputDataJSONSchema), Analytics: jsonOrText(q.AnalyticsDataJSONSchema),
			},
			Subject: s.subject(f, pipeline.KindItem, q.Name),
		}
	})
	slices.SortStableFunc(found, func(a, b queueFound) int { return byName(a.Name, b.Name) })
	f.Queues = found
	return err
}

func (s survey) robots(ctx context.Context, folder orchestrator.Folder, f *folderFound) error {
	found, err := collect(s.client.FolderRobots(ctx, folder, orchestrator.Query{}), func(r orchestrator.Robot) robotFound {
		return robotFound{Name: r.Name, Username: r.Username, Type: r.Type, Machine: r.MachineName, Enabled: r.Enabled}
	})
	slices.SortStableFunc(found, func(a, b robotFound) int { return byName(a.Name, b.Name) })
	f.Robots = found
	return err
}

func (s survey) machines(ctx context.Context, folder orchestrator.Folder, f *folderFound) error {
	found, err := collect(s.client.FolderMachines(ctx, folder, orchestrator.Query{}), func(m orchestrator.MachineRuntime) machineFound {
		return machineFound{
			Name: m.MachineName, Host: m.HostMachineName, RuntimeType: m.RuntimeType,
			Runtimes: m.Runtimes, UsedRuntimes: m.UsedRuntimes, Status: m.Status,
		}
	})
	slices.SortStableFunc(found, func(a, b machineFound) int {
		return cmp.Or(byName(a.Name, b.Name), byName(a.Host, b.Host), byName(a.RuntimeType, b.RuntimeType))
	})
	f.Machines = found
	return err
}

// collect turns a whole list into records; nil if it cannot be read to its end.
func collect[T, R any](list iter.Seq2[T, error], record func(T) R) ([]R, error) {
	found := []R{}
	for entry, err := range list {
		if err != nil {
			return nil, err
		}
		found = append(found, record(entry))
	}
	return found, nil
}

// subject is where requests for a queue or process are published; empty, with a
// note, if no subject can name it.
func (s survey) subject(f *folderFound, kind pipeline.Kind, name string) string {
	lane := pipeline.Lane{Tenant: s.tenant, Folder: f.Path, Kind: kind, Name: name}
	if err := lane.Validate(); err != nil {
		f.Notes = append(f.Notes, fmt.Sprintf("%q cannot be asked for: %v", name, err))
		return ""
	}
	return s.topology.RequestSubject(lane)
}

// accounts are what the discovery service of legacy tenants knows.
func (s survey) accounts(ctx context.Context, found *tenantFound) ([]accountFound, error) {
	accounts, err := s.client.Accounts(ctx, s.discovery)
	if err != nil {
		return nil, s.unlessNote(found, err)
	}
	var list []accountFound
	for _, a := range accounts {
		entry := accountFound{Name: a.Name, LogicalName: a.LogicalName, Services: []serviceFound{}}
		services, err := s.client.ServiceInstances(ctx, s.discovery, a.LogicalName)
		if err != nil && s.unlessNote(found, err) != nil {
			return nil, err //nolint:wrapcheck // says the operation
		}
		for _, i := range services {
			entry.Services = append(entry.Services, serviceFound{Name: i.Name, LogicalName: i.LogicalName, Type: i.Type, State: i.State, URL: i.URL, Roles: append([]string{}, i.UserRoles...)})
		}
		list = append(list, entry)
	}
	return list, nil
}

// unlessNote notes what the discovery service says about this login alone, a 401
// too, since it is another host than Orchestrator; an address that cannot be
// right, and a service that is down, stay errors.
func (s survey) unlessNote(found *tenantFound, err error) error {
	const refused = "the discovery service refuses this login"
	e, isAPI := errors.AsType[*orchestrator.Error](err)
	if isAPI && e.StatusCode == http.StatusUnauthorized && e.Class != orchestrator.Identity {
		found.Notes = append(found.Notes, "accounts cannot be listed: "+refused)
		return nil
	}
	note, ok := part{name: "accounts", rights: refused}.note(err)
	if !ok || isAPI && e.StatusCode == 0 {
		return err
	}
	found.Notes = append(found.Notes, note)
	return nil
}

// jsonOrText is JSON as it stands, and other text as a string; nil for none.
func jsonOrText(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	quoted, _ := json.Marshal(text) // text can always be encoded
	return quoted
}
