package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// Share is a subject of the workers' account that a user in another account
// needs: exported by the one, imported by the other.
//
// NATS holds what a client publishes against its permissions, and not where it
// wants the answer. JetStream answers within its own account, whoever may
// publish there, and what it answers is stored where a stream listens: as the
// outcome of somebody else's request, or as a lane's record. An answer to
// another account arrives in that account, where no stream is.
//
// What a consumer pushes is no answer: it goes where its configuration says, in
// the workers' account, and no subject tells a consumer that pushes from one that
// is pulled from. So who may make consumers can have outcomes stored beside
// requests and keys, under their own subjects, and can ask for the workers'
// next messages, which are settled by nobody and come again. Scope.Durable makes
// none.
type Share struct {
	Subject string `json:"subject"`      // in the workers' account
	As      string `json:"as,omitempty"` // what it is in the user's, if not the same
	// Whole is what all scopes can make of the subject, if it is narrowed. A signed
	// account cannot have exports that overlap, so it exports that to everybody,
	// and each user's account imports its own part.
	Whole string `json:"whole,omitempty"`
	// Stream is what the user hears. Anything else it asks, and is answered.
	Stream bool `json:"stream,omitempty"`
	// Several is whether one question has several answers.
	Several bool   `json:"several,omitempty"`
	Why     string `json:"why"`
}

// as is the subject as the user knows it.
func (s Share) as() string {
	if s.As != "" {
		return s.As
	}
	return s.Subject
}

// whole is the subject as it is exported with nsc.
func (s Share) whole() string {
	if s.Whole != "" {
		return s.Whole
	}
	return s.Subject
}

// share allows a user what is another account's.
func (p *Permissions) share(s Share) {
	if s.Whole == s.Subject {
		s.Whole = ""
	}
	p.Shares = append(p.Shares, s)
	if s.Stream {
		p.subscribe(s.Why, s.as())
		return
	}
	p.publish(s.Why, s.as())
}

// shareAPI shares questions to JetStream. They have another prefix in the
// user's account, since there $JS.API asks for that account's own streams.
func (p *Permissions) shareAPI(t Topology, why string, questions ...string) {
	for _, q := range questions {
		p.sharePart(t, why, q, q)
	}
}

// sharePart shares what a scope leaves of a question.
func (p *Permissions) sharePart(t Topology, why, question, whole string) {
	p.APIPrefix = t.apiPrefix()
	p.share(Share{
		Subject: "$JS.API." + question, As: p.APIPrefix + "." + question, Whole: "$JS.API." + whole,
		Several: strings.HasPrefix(question, "CONSUMER.MSG.NEXT."), Why: why,
	})
}

func (t Topology) apiPrefix() string { return t.subject("api") }

// Account names the account that the user belongs in: its own, or the workers'.
func (p Permissions) Account(workers string) string {
	if len(p.Shares) == 0 {
		return workers
	}
	return workers + "_" + p.User
}

// AccountsConf gives what stands in nats-server.conf for an installation: the
// account of the workers, named so, and one for each producer and consumer. Of
// each user, login says who it is: the lines for its name and password.
func AccountsConf(workers string, users []Permissions, login func(Permissions) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "accounts {\n  %s {\n    jetstream: enabled\n    users: [\n", confString(workers))
	for _, p := range users {
		if len(p.Shares) == 0 {
			writeUser(&b, p, login(p))
		}
	}
	b.WriteString("    ]\n    exports: [\n")
	b.WriteString(indent("      ", exportsConf(workers, users)))
	b.WriteString("    ]\n  }\n")
	for _, p := range users {
		if len(p.Shares) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %s {\n    users: [\n", confString(p.Account(workers)))
		writeUser(&b, p, login(p))
		fmt.Fprintf(&b, "    ]\n    imports: [\n%s    ]\n  }\n", indent("      ", p.ImportsConf(workers)))
	}
	b.WriteString("}\n")
	return b.String()
}

func writeUser(b *strings.Builder, p Permissions, login string) {
	fmt.Fprintf(b, "%s      {\n%s%s      }\n", indent("      ", p.Heading()), indent("        ", login), indent("        ", p.Conf()))
}

// ExportsConf gives what the workers' account must export for the user.
func (p Permissions) ExportsConf(workers string) string {
	return exportsConf(workers, []Permissions{p})
}

// exportsConf has each subject once, for all the accounts that need it.
func exportsConf(workers string, users []Permissions) string {
	var shares []Share
	accounts := map[string][]string{}
	for _, p := range users {
		for _, s := range p.Shares {
			if accounts[s.Subject] == nil {
				shares = append(shares, s)
			}
			accounts[s.Subject] = append(accounts[s.Subject], confString(p.Account(workers)))
		}
	}
	var b strings.Builder
	for i, s := range shares {
		if i == 0 || shares[i-1].Why != s.Why {
			fmt.Fprintf(&b, "# %s\n", printable(s.Why))
		}
		several := ""
		if s.Several {
			several = ", response_type: stream"
		}
		fmt.Fprintf(&b, "{%s: %s%s, accounts: [%s]}\n", s.kind(), confString(s.Subject), several, strings.Join(slices.Compact(accounts[s.Subject]), ", "))
	}
	return b.String()
}

// ImportsConf gives what the user's account must import from the workers'.
func (p Permissions) ImportsConf(workers string) string {
	var b strings.Builder
	for _, s := range p.Shares {
		to := ""
		if s.As != "" {
			to = ", to: " + confString(s.As)
		}
		fmt.Fprintf(&b, "{%s: {account: %s, subject: %s}%s}\n", s.kind(), confString(workers), confString(s.Subject), to)
	}
	return b.String()
}

func (s Share) kind() string {
	if s.Stream {
		return "stream"
	}
	return "service"
}

func indent(by, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(by + line)
	}
	return b.String()
}
