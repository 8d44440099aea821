package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// formatYAML is the form of waybill.yaml.
const formatYAML = "yaml"

// discoverCommand holds the flags of worker discover.
type discoverCommand struct {
	config  string
	folder  string
	output  string
	server  cli.NATS
	logging cli.Logging
}

func newDiscoverCommand() *cobra.Command {
	c := &discoverCommand{}
	cmd := &cobra.Command{
		Use:   "discover [TENANT]",
		Short: "List what tenants have: folders, processes, queues, robots, machines",
		Long: `discover asks Orchestrator what there is for the login that the service would use:
each folder with its processes and their parameters, its queues and their rules,
its robots and machines, and the subjects that requests for them are published
to. It changes nothing, and needs no NATS but where users' logins are kept there.

Settings come from the environment and waybill.yaml, as those of worker run. The
login's rights decide what is shown: what it may not read is told in notes, with
the scope that is missing. Processes need OR.Execution.Read, queues
OR.Queues.Read, robots and machines OR.Robots.Read. The last is not asked for
where no scopes are set: give it to the application, and set
UIPATH_SCOPE="OR.Jobs OR.Queues OR.Execution OR.Folders.Read OR.Robots.Read"
(scopes). For a legacy tenant, the setting discoveryUrl says where to ask for
accounts and service instances.

-o yaml prints the tenants as waybill.yaml has them, for worker run --config, with
files for secrets and never the secrets, and in comments what may be published
where.

Exit codes: 4 where a tenant cannot be reached, 5 where one refuses the login or
the list of folders, or lets it see no folder; the other tenants are shown all
the same.`,
		Example: `  worker discover
  worker discover Production --folder Finance
  worker discover -o yaml > found.yaml
  worker discover -o json | jq -r '.[].folders[].queues[]?.subject'`,
		Args: cobra.MaximumNArgs(1),
		RunE: c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.config, "config", "", "configuration file (default "+defaultFile+", if it is there)")
	fs.StringVar(&c.folder, "folder", "", "path of a folder, such as Finance/Invoices: only this one and those below it")
	cli.ChoiceFlag(fs, &c.output, "output", "o", cli.FormatTable, []string{cli.FormatTable, cli.FormatJSON, cli.FormatJSONL, formatYAML}, "form of the data on standard output")
	c.server.AddFlags(fs)
	c.logging.AddFlags(fs)
	return cmd
}

func (c *discoverCommand) run(cmd *cobra.Command, args []string) error {
	s, err := loadSettings(c.config)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		t, err := s.chosen(args)
		if err != nil {
			return err
		}
		s.Tenants = []tenant{t}
	}
	log := c.logging.New(cmd.ErrOrStderr())
	js, leave, err := s.openTokens(cmd.Context(), c.server, log)
	if err != nil {
		return err
	}
	defer leave()
	tenants, err := s.connectTenants(surroundings{log: log, js: js})
	if err != nil {
		return err
	}
	defer closeClients(cmd.Context(), tenants, log)
	found, failures, err := c.discover(cmd.Context(), s, tenants)
	if err != nil {
		return err
	}
	if err := printFound(cmd.OutOrStdout(), c.output, s, found); err != nil {
		return err
	}
	if len(s.Tenants) > 1 {
		for _, failure := range failures {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), strings.ReplaceAll(failure.Error(), "\n", "; "))
		}
	}
	return summary(failures, len(s.Tenants))
}

// discover looks through the tenants of the settings, all at once: one that
// hangs is not to hold up the others. Those that cannot be looked through, or
// have nothing for the login, are failures, each an error with its exit code.
func (c *discoverCommand) discover(ctx context.Context, s settings, tenants []pipeline.Tenant) (found []tenantFound, failures []error, err error) {
	topology := pipeline.Topology{Prefix: s.Prefix}
	if err := topology.Validate(); err != nil {
		return nil, nil, cli.Errorf(cli.ExitUsage, "%w", err)
	}
	looks := make([]tenantFound, len(tenants))
	faults := make([]error, len(tenants))
	var looking sync.WaitGroup
	for i, t := range tenants {
		looking.Go(func() {
			look := survey{client: t.Client, tenant: t.Name, topology: topology, discovery: s.Tenants[i].DiscoveryURL, folder: c.folder}
			looks[i], faults[i] = look.look(ctx)
			looks[i].URL = s.Tenants[i].URL
		})
	}
	looking.Wait()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx) //nolint:wrapcheck // the signal, which has an exit code of its own
	}
	for i, t := range tenants {
		if faults[i] != nil {
			failures = append(failures, failureOf(t.Name, faults[i]))
			continue
		}
		found = append(found, looks[i])
		if c.folder == "" && len(looks[i].Folders) == 0 {
			failures = append(failures, cli.Errorf(cli.ExitCredentials, "tenant %s: the login sees no folder: assign its application or user to the folders concerned", t.Name))
		}
	}
	if err := c.checkFolder(found); err != nil && failures == nil {
		return nil, nil, err
	}
	return found, failures, nil
}

// checkFolder tells a path that is misspelt from a folder that is empty.
func (c *discoverCommand) checkFolder(found []tenantFound) error {
	if c.folder == "" || slices.ContainsFunc(found, func(t tenantFound) bool { return len(t.Folders) > 0 }) {
		return nil
	}
	return cli.Errorf(cli.ExitUsage, "--folder %q: there is no such folder, or the login does not see it; without --folder all that it sees are listed", c.folder)
}

// failureOf says why a tenant could not be looked through, and what to do.
func failureOf(name string, err error) error {
	e, ok := errors.AsType[*orchestrator.Error](err)
	switch {
	case !ok:
		return cli.Errorf(cli.ExitUnexpected, "tenant %s: %w", name, err)
	case e.LoginRefused():
		return cli.Errorf(cli.ExitCredentials, "tenant %s: %w", name, err)
	case e.Kind == orchestrator.Denied && e.StatusCode == http.StatusForbidden:
		return cli.Errorf(cli.ExitCredentials, "tenant %s: %w; where scopes (UIPATH_SCOPE) are set, that scope must be among them", name, err)
	case e.Kind == orchestrator.Denied:
		return cli.Errorf(cli.ExitCredentials, "tenant %s: %w", name, err)
	case e.Kind == orchestrator.Rejected:
		return cli.Errorf(cli.ExitUsage, "tenant %s: %w", name, err)
	}
	return cli.Errorf(cli.ExitUnreachable, "tenant %s: %w", name, err)
}

// summary is the error that the command ends with. Where tenants failed in
// different ways its code is of one that waiting does not mend.
func summary(failures []error, of int) error {
	if len(failures) == 0 {
		return nil
	}
	if of == 1 {
		return failures[0]
	}
	var codes []cli.Code
	for _, failure := range failures {
		if e, ok := errors.AsType[*cli.Error](failure); ok {
			codes = append(codes, e.Code)
		}
	}
	code := cli.ExitUnreachable
	for _, graver := range []cli.Code{cli.ExitUnexpected, cli.ExitUsage, cli.ExitCredentials} {
		if slices.Contains(codes, graver) {
			code = graver
		}
	}
	return cli.Errorf(code, "%d of %d tenants could not be looked through", len(failures), of)
}
