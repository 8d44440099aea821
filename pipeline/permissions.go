package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Role is what a NATS user is there for.
type Role string

// The four roles.
const (
	RoleProducer Role = "producer" // publishes requests
	RoleConsumer Role = "consumer" // reads outcomes
	RoleWorker   Role = "worker"   // carries requests out
	RoleOperator Role = "operator" // looks after an installation
)

// Roles gives all of them.
func Roles() []Role { return []Role{RoleProducer, RoleConsumer, RoleWorker, RoleOperator} }

// Scope says for whom permissions are, and narrows them.
type Scope struct {
	// User is the NATS user's name; the role's if empty. Its answers come to an
	// inbox that is named after it, and a consumer's durable is named so.
	User string
	// Tenant, Folder, Kind and Name narrow a producer to requests for, and a
	// consumer to outcomes of, a tenant, a folder, and one queue or process;
	// what is empty narrows nothing. They are spelled as in the subjects
	// concerned: requests' as the producer does, outcomes' as Orchestrator does.
	Tenant string
	Folder string
	Kind   Kind
	Name   string
	// Wait lets a producer wait for the outcomes of what it hands in, which it
	// finds by their keys among all of the tenant's.
	Wait bool
	// LiveOnly leaves a consumer the outcomes as they are published, and nothing
	// of JetStream.
	LiveOnly bool
	// Durable leaves a consumer one durable consumer, which somebody else has made
	// for it. It can make none, and so none that pushes: see Share.
	Durable bool
	// Provision lets a worker make the streams that are missing.
	Provision bool
	// ChangeStreams lets an operator change the streams' settings. That is an
	// administrator's right: a stream can be set to take in what another holds,
	// tokens too, and to drop all it has.
	ChangeStreams bool
	// RemoveRequests lets an operator remove requests that wait, such as those for
	// a tenant that nobody serves. NATS can narrow it to no tenant: what is purged
	// by mistake is gone, without an outcome.
	RemoveRequests bool
	// Tenants are those served. The consumers by which workers follow their
	// requests are kept from the consumers of outcomes, by name.
	Tenants []string
}

// Permission allows or denies one subject, and says why.
type Permission struct {
	Subject string `json:"subject"`
	Why     string `json:"why"`
}

// Permissions are what a user needs for its role, and nothing else.
type Permissions struct {
	Role        Role         `json:"role"`
	User        string       `json:"user"`
	InboxPrefix string       `json:"inboxPrefix"`
	Publish     []Permission `json:"publish"`
	Subscribe   []Permission `json:"subscribe"`
	// DenyPublish takes out of Publish what its wildcards would let in: a
	// consumer's name is one token, and no wildcard stands for a part of one.
	DenyPublish []Permission `json:"denyPublish,omitempty"`
	// Shares are what the user needs of the workers' account, in an account of
	// its own. Who has none belongs in the workers' account, and must be trusted.
	Shares []Share `json:"shares,omitempty"`
	// APIPrefix is what JetStream is asked by from there, in place of $JS.API.
	APIPrefix string `json:"apiPrefix,omitempty"`
	// Durable is the consumer that must be made for the user, on the ledger.
	Durable *DurableConsumer `json:"durable,omitempty"`
}

// DurableConsumer is a pull consumer, by which outcomes are read. A worker may
// make it.
type DurableConsumer struct {
	Stream string `json:"stream"`
	Name   string `json:"name"`
	Filter string `json:"filter"`
}

// Permissions gives the NATS permissions of a role in this installation. An
// *InvalidError names what in the scope cannot be.
func (t Topology) Permissions(role Role, s Scope) (Permissions, error) {
	t = t.withDefaults()
	s.User = cmp.Or(s.User, string(role))
	if err := errors.Join(t.Validate(), ValidateName("prefix", t.Prefix), s.validate(role)); err != nil {
		return Permissions{}, err
	}
	p := Permissions{Role: role, User: s.User, InboxPrefix: inboxOf(s.User)}
	p.subscribe("answers, in an inbox that no other user can read", p.InboxPrefix+".>")
	switch role {
	case RoleProducer:
		p.share(Share{Subject: t.requestsOf(s), Whole: t.requestsOf(Scope{}), Why: "requests"})
		if s.Wait {
			p.addConsumer(t, Scope{User: s.User, Tenant: s.Tenant, Tenants: s.Tenants})
		}
	case RoleConsumer:
		p.addConsumer(t, s)
	case RoleWorker:
		p.addWorker(t)
		if s.Provision {
			p.addProvisioning(t)
		}
	case RoleOperator:
		p.addOperator(t)
		if s.ChangeStreams {
			p.addChanges(t)
		}
		if s.RemoveRequests {
			p.publish("remove requests that wait (--remove-requests): nats stream purge, which deletes all of them where no subject is given", "$JS.API.STREAM.PURGE."+t.RequestsStream())
		}
	}
	return p, nil
}

func inboxOf(user string) string { return "_INBOX_" + user }

func (s Scope) validate(role Role) error {
	if role != RoleProducer && role != RoleConsumer && role != RoleWorker && role != RoleOperator {
		return &InvalidError{Field: "role", Value: string(role), Mend: "use producer, consumer, worker or operator"}
	}
	if err := ValidateName("user", s.User); err != nil {
		return err
	}
	if (s.Name == "") != (s.Kind == "") {
		return &InvalidError{Field: "queue or process", Value: s.Name, Mend: "give its name and its kind"}
	}
	if (s.LiveOnly || s.Durable) && role != RoleConsumer || s.Provision && role != RoleWorker || s.Wait && role != RoleProducer || (s.ChangeStreams || s.RemoveRequests) && role != RoleOperator {
		return &InvalidError{Field: "role", Value: string(role), Mend: "only a producer waits, only a consumer is live or has a durable, only a worker provisions, only an operator changes streams or removes requests"}
	}
	if s.LiveOnly && s.Durable {
		return &InvalidError{Field: "durable", Value: s.User, Mend: "one that is live asks JetStream nothing: leave out one of them"}
	}
	lane := Lane{Tenant: cmp.Or(s.Tenant, "-"), Folder: cmp.Or(s.Folder, DefaultFolder), Kind: cmp.Or(s.Kind, KindItem), Name: cmp.Or(s.Name, "-")}
	if narrowed := s.Tenant + s.Folder + s.Name; narrowed != "" && (role == RoleWorker || role == RoleOperator) {
		return &InvalidError{Field: "role", Value: string(role), Mend: "only a producer or a consumer can be narrowed to a tenant, a folder, a queue or a process"}
	}
	if role == RoleConsumer && s.Folder == DefaultFolder {
		return &InvalidError{Field: "folder", Value: s.Folder, Mend: "give the folder's path: by it outcomes are filed, never by -"}
	}
	return lane.Validate()
}

// ValidateName refuses a name that means something to a shell, in a subject or
// in nats-server.conf: what is printed is pasted there.
func ValidateName(field, name string) error {
	for _, c := range []byte(name) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return &InvalidError{Field: field, Value: name, Mend: "use letters, digits, - and _"}
		}
	}
	return nil
}

func (p *Permissions) publish(why string, subjects ...string) {
	for _, subject := range subjects {
		p.Publish = append(p.Publish, Permission{Subject: subject, Why: why})
	}
}

func (p *Permissions) subscribe(why string, subjects ...string) {
	for _, subject := range subjects {
		p.Subscribe = append(p.Subscribe, Permission{Subject: subject, Why: why})
	}
}

// requestsOf and outcomesOf give the subjects that a scope leaves: all below a
// name where nothing narrows them, and otherwise each token of its own, so that
// no wildcard reaches further than it should.
func (t Topology) requestsOf(s Scope) string { return t.subject("requests", s.tokens("")) }

func (t Topology) outcomesOf(s Scope) string { return t.subject("outcomes", s.tokens(".*.*")) }

func (s Scope) tokens(below string) string {
	token := func(name string) string {
		if name == "" {
			return "*"
		}
		return encodeToken(name)
	}
	if s.Tenant+s.Folder+s.Name == "" {
		return ">"
	}
	kind := "*"
	if s.Kind != "" {
		kind = s.Kind.token()
	}
	return token(s.Tenant) + "." + token(s.Folder) + "." + kind + "." + token(s.Name) + below
}

// addConsumer: consumers on the ledger are made with a filter in the subject,
// which the server holds against the consumer's own. Without it, it would read
// claims as well.
func (p *Permissions) addConsumer(t Topology, s Scope) {
	ledger, control, every := t.LedgerStream(), t.ControlBucket(), t.outcomesOf(Scope{})
	next := "CONSUMER.MSG.NEXT." + ledger + "."
	p.share(Share{Subject: t.outcomesOf(s), Whole: every, Stream: true, Why: "outcomes as they are published"})
	if s.LiveOnly { // an empty list of what is allowed would allow everything
		p.DenyPublish = append(p.DenyPublish, Permission{Subject: ">", Why: "it only listens"})
		return
	}
	if s.Durable {
		p.Durable = &DurableConsumer{Stream: ledger, Name: s.User, Filter: t.outcomesOf(s)}
		own := "the durable consumer that is made for it, named " + s.User
		p.sharePart(t, own, next+s.User, next+"*")
		p.shareAPI(t, own, "CONSUMER.INFO."+ledger+"."+s.User)
		p.share(Share{Subject: "$JS.ACK." + ledger + "." + s.User + ".>", Why: own})
		return
	}
	create, reads := "CONSUMER.CREATE."+ledger+".*.", "read outcomes from the ledger: enqueue watch, enqueue --wait, a durable consumer"
	p.sharePart(t, reads, create+t.outcomesOf(s), create+every)
	p.shareAPI(t, reads, next+"*")
	own := "its own durable consumer, which is named " + s.User
	p.shareAPI(t, own, "CONSUMER.INFO."+ledger+"."+s.User, "CONSUMER.DELETE."+ledger+"."+s.User)
	p.share(Share{Subject: "$JS.ACK." + ledger + "." + s.User + ".>", Why: own})
	lanes := controlKey("lanes")
	if s.Tenant != "" {
		lanes = controlKey("lanes", s.Tenant)
	}
	get := func(keys string) string { return strings.TrimPrefix(directGet(control, keys+".>"), "$JS.API.") }
	spelled := "how Orchestrator spells a queue or process, by which its outcomes are filed"
	p.shareAPI(t, spelled, "STREAM.INFO."+kvStream(control))
	p.sharePart(t, spelled, get(lanes), get(controlKey("lanes")))
	for _, tenant := range s.Tenants {
		name := t.trackingConsumer(tenant)
		for _, subject := range []string{"CREATE." + ledger + "." + name, "CREATE." + ledger + "." + name + ".>", "MSG.NEXT." + ledger + "." + name} {
			p.DenyPublish = append(p.DenyPublish, Permission{Subject: p.APIPrefix + ".CONSUMER." + subject, Why: "the workers' own consumer, for requests of " + tenant + " whose end is awaited"})
		}
	}
}

// kvStream names the stream that a bucket is kept in.
func kvStream(bucket string) string { return "KV_" + bucket }

// directGet is how a bucket's keys are read.
func directGet(bucket, keys string) string {
	return fmt.Sprintf("$JS.API.DIRECT.GET.KV_%s.$KV.%s.%s", bucket, bucket, keys)
}

// trackingFilter is the news of what was accepted and whose end is awaited.
func (t Topology) trackingFilter(tenant string) string {
	return t.subject("outcomes", encodeToken(tenant), "*", "*", "*", "*", string(StageAccepted))
}

// trackingConsumer names the consumer of it.
func (t Topology) trackingConsumer(tenant string) string {
	return "tracking_" + consumerName(t.trackingFilter(tenant), Lane{Tenant: tenant, Name: "accepted"})
}
