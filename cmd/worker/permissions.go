package main

import (
	"cmp"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// The forms in which permissions are printed, beside JSON.
const (
	formatConf = "conf"
	formatNSC  = "nsc"
)

// permissionsCommand holds the flags of worker permissions.
type permissionsCommand struct {
	config  string
	prefix  string
	account string
	queue   string
	process string
	output  string
	scope   pipeline.Scope
}

func newPermissionsCommand() *cobra.Command {
	c := &permissionsCommand{}
	cmd := &cobra.Command{
		Use:   "permissions [producer|consumer|worker|operator]",
		Short: "Print the NATS permissions of those who take part",
		Long: `permissions prints what a NATS user must be allowed for its role, and nothing
else: producers publish requests, consumers read outcomes, workers carry requests
out, operators look after it. A producer that waits for the outcomes of what it
hands in (enqueue --wait) reads outcomes too: --wait. Without a role it prints the
accounts, with a user for each, which nats-server loads as they stand; the
passwords are made up anew each time.

On a server where the streams are not there yet, the worker that is started first
must be allowed to make them: worker permissions --provision > accounts.conf.
Afterwards none needs it, and what stands under the reasons that name --provision
can be removed.

Producers and consumers have an account each, with what the workers' account
shares with it. In one account they could have JetStream write, as an answer,
where they may not: NATS does not check where a client wants its answers. Whoever
is in the workers' account, as operators are, must be trusted not to.

A user's answers come to an inbox of its own, and it may ask JetStream by another
prefix: the clients must be told, as by NATS_INBOX_PREFIX=_INBOX_consumer and
NATS_API_PREFIX=uipath.api.

A producer or a consumer can be narrowed to a tenant, a folder, a queue or a
process. Requests are allowed as the producer spells them; outcomes as
Orchestrator does, with the folder's path.

The durable consumer of a consumer --durable is made once, with a worker's login,
by the command that is printed. An operator may make none: it could read outcomes.`,
		Example: `  worker permissions --provision > accounts.conf
  worker permissions > accounts.conf
  worker permissions worker
  worker permissions producer --user k2 --tenant Production --folder Finance --queue Invoices
  worker permissions producer --wait --tenant Production
  worker permissions consumer --tenant Production -o nsc
  worker permissions consumer --user bi --durable --tenant Production
  worker permissions worker --provision --prefix finance -o json
  worker permissions operator --change-streams
  worker permissions operator --remove-requests`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: roleNames(),
		RunE:      c.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.config, "config", "", "configuration file, for the prefix and the tenants (default "+defaultFile+", if it is there)")
	fs.StringVar(&c.prefix, "prefix", "", "first token of the installation's subjects (WAYBILL_PREFIX; uipath)")
	fs.StringVar(&c.account, "account", "", "name of the workers' NATS account, with which the others' begin (WAYBILL)")
	fs.StringVar(&c.scope.User, "user", "", "name of the NATS user, of its account, its inbox and a consumer's durable (the role)")
	fs.StringVar(&c.scope.Tenant, "tenant", "", "producer, consumer: this tenant only")
	fs.StringVar(&c.scope.Folder, "folder", "", "producer, consumer: this folder only, by its path; for a producer also -")
	fs.StringVar(&c.queue, "queue", "", "producer, consumer: items of this queue only")
	fs.StringVar(&c.process, "process", "", "producer, consumer: jobs of this process only")
	fs.BoolVar(&c.scope.Wait, "wait", false, "producer: may wait for outcomes (enqueue --wait), which lets it read all of the tenant's")
	fs.BoolVar(&c.scope.LiveOnly, "live", false, "consumer: outcomes as they come only, none from the ledger")
	fs.BoolVar(&c.scope.Durable, "durable", false, "consumer: only a durable consumer that is made for it, no other (enqueue watch needs others)")
	fs.BoolVar(&c.scope.Provision, "provision", false, "worker: may make the streams that are missing")
	fs.BoolVar(&c.scope.ChangeStreams, "change-streams", false, "operator: may change streams, an administrator's right by which everything can be read and removed")
	fs.BoolVar(&c.scope.RemoveRequests, "remove-requests", false, "operator: may remove requests that wait (nats stream purge), of any tenant and all at once")
	cli.ChoiceFlag(fs, &c.output, "output", "o", formatConf, []string{formatConf, formatNSC, cli.FormatJSON}, "form: for nats-server.conf, as nsc's commands (in any order, and again), or JSON")
	cmd.MarkFlagsMutuallyExclusive("queue", "process")
	return cmd
}

func roleNames() []string {
	var names []string
	for _, role := range pipeline.Roles() {
		names = append(names, string(role))
	}
	return names
}

func (c *permissionsCommand) run(cmd *cobra.Command, args []string) error {
	c.account = cmp.Or(c.account, "WAYBILL")
	if err := pipeline.ValidateName("account", c.account); err != nil {
		return cli.Errorf(cli.ExitUsage, "%w", err)
	}
	s, err := readSettings(c.config)
	if err != nil {
		return err
	}
	topology := pipeline.Topology{Prefix: cmp.Or(c.prefix, environmentPrefix(), s.Prefix)}
	roles := pipeline.Roles()
	if len(args) == 1 {
		roles = []pipeline.Role{pipeline.Role(args[0])}
	}
	var all []pipeline.Permissions
	for _, role := range roles {
		p, err := topology.Permissions(role, c.scopeOf(role, len(roles) > 1, s))
		if err != nil {
			return cli.Errorf(cli.ExitUsage, "%w", err)
		}
		all = append(all, p)
	}
	return c.print(cmd.OutOrStdout(), all)
}

// scopeOf leaves out of the flags what is not for a role, where all are
// printed; where one is asked for, what is not for it is an error.
func (c *permissionsCommand) scopeOf(role pipeline.Role, all bool, s settings) pipeline.Scope {
	scope := c.scope
	switch {
	case c.queue != "":
		scope.Kind, scope.Name = pipeline.KindItem, c.queue
	case c.process != "":
		scope.Kind, scope.Name = pipeline.KindJob, c.process
	}
	scope.Tenants = c.tenants(s)
	if all {
		scope.User = ""
		if role == pipeline.RoleWorker || role == pipeline.RoleOperator {
			scope = pipeline.Scope{}
		}
		scope.Wait = c.scope.Wait && role == pipeline.RoleProducer
		scope.LiveOnly = scope.LiveOnly && role == pipeline.RoleConsumer
		scope.Durable = scope.Durable && role == pipeline.RoleConsumer
		scope.Provision = c.scope.Provision && role == pipeline.RoleWorker
		scope.ChangeStreams = c.scope.ChangeStreams && role == pipeline.RoleOperator
		scope.RemoveRequests = c.scope.RemoveRequests && role == pipeline.RoleOperator
	}
	return scope
}

// tenants are those that are known to be served.
func (c *permissionsCommand) tenants(s settings) []string {
	var names []string
	for _, t := range s.Tenants {
		names = append(names, cmp.Or(t.Name, cli.TenantOfURL(t.URL), cli.DefaultTenant))
	}
	// What else the environment says of a tenant is not looked at: a secret may
	// be read only once.
	if env := cmp.Or(os.Getenv("UIPATH_TENANT"), cli.TenantOfURL(os.Getenv("UIPATH_URL"))); env != "" || len(names) == 0 {
		names = append(names, cmp.Or(env, cli.DefaultTenant))
	}
	if c.scope.Tenant != "" {
		names = append(names, c.scope.Tenant)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
