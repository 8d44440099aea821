package pipeline

import (
	"cmp"
	"fmt"
	"strings"
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

// NSC gives the command lines that set the permissions with nsc: for a user,
// or for a signing key that hands them out to all users it signs.
func (p Permissions) NSC() string {
	var flags []string
	add := func(flag string, list []Permission) {
		for _, one := range list {
			flags = append(flags, flag+" "+shellString(csvField(one.Subject)))
		}
	}
	add("--allow-pub", p.Publish)
	add("--deny-pub", p.DenyPublish)
	add("--allow-sub", p.Subscribe)
	return "nsc edit user --name " + p.User + " \\\n  " + strings.Join(flags, " \\\n  ") + "\n"
}

// NSCSigningKey gives the command line for a signing key.
func (p Permissions) NSCSigningKey(account string) string {
	_, flags, _ := strings.Cut(p.NSC(), "\n")
	return "nsc edit signing-key --account " + shellString(cmp.Or(account, "ACCOUNT")) + " --sk generate --role " + p.User + " \\\n" + flags
}

// csvField quotes what nsc would take for two subjects.
func csvField(s string) string {
	if !strings.ContainsAny(s, `,"`) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

func shellString(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
