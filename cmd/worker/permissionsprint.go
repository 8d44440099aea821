package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

func (c *permissionsCommand) print(w io.Writer, all []pipeline.Permissions) error {
	var text string
	switch {
	case c.output == cli.FormatJSON && len(all) == 1:
		return printJSON(w, all[0])
	case c.output == cli.FormatJSON:
		return printJSON(w, all)
	case c.output == formatNSC:
		text = c.nsc(all)
	case len(all) == 1:
		text = c.conf(all[0])
	default:
		text = "# For nats-server.conf, which also needs jetstream {store_dir: …, sync_interval: always}.\n"
		if !provisions(all) {
			text += "# The worker may not make the streams: where they are not there yet, print this by\n# `worker permissions --provision` for its first start.\n"
		}
		text += pipeline.AccountsConf(c.account, all, withPassword)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// provisions reports whether one of them may make the streams.
func provisions(all []pipeline.Permissions) bool {
	return slices.ContainsFunc(all, func(p pipeline.Permissions) bool {
		return slices.ContainsFunc(p.Publish, func(one pipeline.Permission) bool { return strings.HasPrefix(one.Subject, "$JS.API.STREAM.CREATE.") })
	})
}

func withPassword(p pipeline.Permissions) string {
	return fmt.Sprintf("user: %q\npassword: %q\n", p.User, rand.Text())
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // a subject's > is to be read
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// conf is one user's block, and in comments what belongs into the accounts.
func (c *permissionsCommand) conf(p pipeline.Permissions) string {
	text := p.Heading()
	if len(p.Shares) == 0 {
		return text + "# It belongs into account " + c.account + ", the workers', and must be trusted: see `worker permissions --help`.\n" + p.Conf()
	}
	text += "# It belongs into account " + p.Account(c.account) + ", its own.\n" + p.Conf()
	text += "\n# What account " + p.Account(c.account) + " imports:\n" + comment("imports: [\n"+p.ImportsConf(c.account)+"]\n")
	return text + "\n# What account " + c.account + " exports; where it does already, with this account beside the others:\n" + comment("exports: [\n"+p.ExportsConf(c.account)+"]\n")
}

func comment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("# " + line)
	}
	return b.String()
}

// nscHeading is true since no user's exports overlap another's.
const nscHeading = `# To be run for one user after the other, in any order, and again: of what is there already
# nsc says so, and leaves it as it is. To a user's rights it adds: one that is to have others
# is removed first, with its account if that is its own (nsc delete account), or alone (nsc
# delete user).
`

func (c *permissionsCommand) nsc(all []pipeline.Permissions) string {
	var b strings.Builder
	b.WriteString(nscHeading)
	if slices.ContainsFunc(all, func(p pipeline.Permissions) bool { return p.Role == pipeline.RoleWorker }) {
		b.WriteString("# The workers' account, with as much of JetStream as the server has; sizes such as 50GiB hold it lower.\n" + pipeline.NSCWorkers(c.account))
	} else {
		b.WriteString("# Account " + c.account + ", the workers', must be there: `worker permissions worker -o nsc` makes it.\n")
	}
	for _, p := range all {
		b.WriteString(p.Heading() + p.NSC(c.account))
		b.WriteString("# or, for all users that a signing key of the account signs:\n")
		b.WriteString(comment(p.NSCSigningKey(c.account)))
	}
	return b.String()
}
