package pipeline

import (
	"fmt"
	"strings"

	"waybill/internal/shell"
)

// Conf gives the permissions as a block for a user in nats-server.conf.
func (p Permissions) Conf() string {
	var b strings.Builder
	b.WriteString("permissions {\n  publish {\n")
	writeConf(&b, "allow", p.Publish)
	writeConf(&b, "deny", p.DenyPublish)
	b.WriteString("  }\n  subscribe {\n")
	writeConf(&b, "allow", p.Subscribe)
	b.WriteString("  }\n}\n")
	return b.String()
}

// writeConf writes a list of subjects, below the reason that they share.
func writeConf(b *strings.Builder, name string, list []Permission) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "    %s: [\n", name)
	why := ""
	for _, one := range list {
		if one.Why != why {
			why = one.Why
			fmt.Fprintf(b, "      # %s\n", printable(why))
		}
		fmt.Fprintf(b, "      %s\n", confString(one.Subject))
	}
	b.WriteString("    ]\n")
}

// confString quotes a text for nats-server.conf: names of queues may hold what
// means something there.
func confString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// printable keeps a tenant's name from ending the comment that it stands in.
func printable(s string) string { return oneLine(s) }

// Heading says, in comments, whose the permissions are, what the client must be
// told, and what must be made for it.
func (p Permissions) Heading() string {
	s := fmt.Sprintf("# NATS user %s, for the role %s of waybill. Its client needs NATS_INBOX_PREFIX=%s", p.User, p.Role, p.InboxPrefix)
	if p.APIPrefix != "" {
		s += " and NATS_API_PREFIX=" + p.APIPrefix
	}
	s += ".\n"
	if p.Durable != nil {
		s += "# Its consumer is made once, with a worker's login, here of the user worker; an operator may not, who could read outcomes by one.\n" +
			"# nats says that it may not look at it, and makes it:\n" +
			"#   " + p.Durable.command() + "\n"
	}
	return s
}

// command makes the consumer. It has the inbox of a worker's user, which is named
// after its role.
func (d DurableConsumer) command() string {
	return fmt.Sprintf("nats --inbox-prefix %s consumer add %s %s --pull --filter %s --deliver all --ack explicit --defaults",
		inboxOf(string(RoleWorker)), shell.Quote(d.Stream), shell.Quote(d.Name), shell.Quote(d.Filter))
}

// NSCWorkers gives the command lines that make the workers' account with nsc.
// Without limits of its own an account has no JetStream.
func NSCWorkers(workers string) string {
	account := shell.Quote(workers)
	return "nsc add account --name " + account + "\n" +
		"nsc edit account --name " + account + " --js-disk-storage -1 --js-mem-storage -1 --js-streams -1 --js-consumer -1\n"
}

// NSC gives the command lines that make the user with nsc, with its permissions,
// in an account that is there (NSCWorkers) or in its own, with what the workers'
// account shares with that.
func (p Permissions) NSC(workers string) string {
	var b strings.Builder
	account := shell.Quote(p.Account(workers))
	if len(p.Shares) > 0 {
		fmt.Fprintf(&b, "nsc add account --name %s\n", account)
	}
	fmt.Fprintf(&b, "nsc add user --account %s --name %s\n", account, shell.Quote(p.User))
	if len(p.Shares) > 0 {
		fmt.Fprintf(&b, "workers=$(nsc describe account --name %s --field sub | tr -d '\"')\n", shell.Quote(workers))
	}
	for _, s := range p.Shares {
		b.WriteString(s.nsc(shell.Quote(workers), account))
	}
	return b.String() + "nsc edit user --account " + account + " --name " + shell.Quote(p.User) + " \\\n" + p.nscFlags()
}

// nsc gives the lines that export a share from one account, whole, and import it
// into another.
func (s Share) nsc(from, to string) string {
	kind, several, as, subject, whole := "", "", "", shell.Quote(s.Subject), shell.Quote(s.whole())
	if !s.Stream {
		kind = " --service"
	}
	if s.Several {
		several = " --response-type Stream"
	}
	if s.As != "" {
		as = " --local-subject " + shell.Quote(s.As)
	}
	return fmt.Sprintf("nsc add export --account %s --name %s --subject %s%s%s\n", from, whole, whole, kind, several) +
		fmt.Sprintf("nsc add import --account %s --name %s --src-account \"$workers\" --remote-subject %s%s%s\n", to, subject, subject, as, kind)
}

func (p Permissions) nscFlags() string {
	var flags []string
	add := func(flag string, list []Permission) {
		for _, one := range list {
			flags = append(flags, "  "+flag+" "+shell.Quote(csvField(one.Subject)))
		}
	}
	add("--allow-pub", p.Publish)
	add("--deny-pub", p.DenyPublish)
	add("--allow-sub", p.Subscribe)
	return strings.Join(flags, " \\\n") + "\n"
}

// NSCSigningKey gives the command line for a signing key, which hands the
// permissions out to all users that it signs.
func (p Permissions) NSCSigningKey(workers string) string {
	return "nsc edit signing-key --account " + shell.Quote(p.Account(workers)) + " --sk generate --role " + shell.Quote(p.User) + " \\\n" + p.nscFlags()
}

// csvField quotes what nsc would take for two subjects.
func csvField(s string) string {
	if !strings.ContainsAny(s, `,"`) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}
