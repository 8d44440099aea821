package pipeline_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"waybill/pipeline"
	"waybill/pipeline/embedded"
)

// signed is what nsc keeps: accounts and users as claims, which a server takes
// when they are signed.
type signed struct {
	t        *testing.T
	operator nkeys.KeyPair
	accounts map[string]*jwt.AccountClaims
	users    map[string]*jwt.UserClaims
	account  map[string]string        // each user's
	keys     map[string]nkeys.KeyPair // by their public keys
	said     []string                 // what was refused
}

func newSigned(t *testing.T) *signed {
	t.Helper()
	s := &signed{t: t, accounts: map[string]*jwt.AccountClaims{}, users: map[string]*jwt.UserClaims{}, account: map[string]string{}, keys: map[string]nkeys.KeyPair{}}
	s.operator = s.keys[s.key(nkeys.CreateOperator())]
	return s
}

func (s *signed) key(pair nkeys.KeyPair, err error) (public string) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		s.t.Fatal(err)
	}
	s.keys[public] = pair
	return public
}

// run has a shell run what is printed, with an nsc that writes down how it is
// called and calls each account's key by the account's name; and does the same
// to the claims as nsc does.
func (s *signed) run(printed string) {
	s.t.Helper()
	dir := s.t.TempDir()
	script := "#!/bin/sh\nif [ $1 = describe ]; then echo \"\\\"$4\\\"\"; exit; fi\nfor a; do printf '%s\\0' \"$a\"; done >> '" + filepath.Join(dir, "called") + "'\nprintf '\\0' >> '" + filepath.Join(dir, "called") + "'\n"
	if err := os.WriteFile(filepath.Join(dir, "nsc"), []byte(script), 0o700); err != nil {
		s.t.Fatal(err)
	}
	shell := exec.CommandContext(s.t.Context(), "sh", "-eu")
	shell.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	shell.Stdin = strings.NewReader(printed)
	if out, err := shell.CombinedOutput(); err != nil || len(out) > 0 {
		s.t.Fatalf("%v: %s", err, out)
	}
	called, err := os.ReadFile(filepath.Join(dir, "called"))
	if err != nil {
		s.t.Fatal(err)
	}
	for call := range bytes.SplitSeq(bytes.TrimSuffix(called, []byte("\x00\x00")), []byte("\x00\x00")) {
		if err := s.call(strings.Split(string(call), "\x00")); err != nil {
			s.said = append(s.said, err.Error())
		}
	}
}

// call does what one line of nsc's does, or refuses it as nsc does.
func (s *signed) call(args []string) error {
	flags := map[string][]string{}
	for i := 2; i < len(args); i++ {
		value := ""
		if i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			value = args[i+1]
		}
		flags[args[i]] = append(flags[args[i]], value)
		if value != "" {
			i++
		}
	}
	flag := func(name string) string { return append(flags[name], "")[0] }
	name := flag("--name")
	switch what := args[0] + " " + args[1]; what {
	case "add account":
		if s.accounts[name] != nil {
			return fmt.Errorf("the account %q already exists", name)
		}
		s.accounts[name] = jwt.NewAccountClaims(s.key(nkeys.CreateAccount()))
	case "edit account":
		limits := &s.accounts[name].Limits
		limits.DiskStorage, limits.MemoryStorage, limits.Streams, limits.Consumer = jwt.NoLimit, jwt.NoLimit, jwt.NoLimit, jwt.NoLimit
	case "add user":
		if s.users[name] != nil {
			return fmt.Errorf("the user %q already exists", name)
		}
		s.users[name], s.account[name] = jwt.NewUserClaims(s.key(nkeys.CreateUser())), flag("--account")
	case "edit user":
		permissions := &s.users[name].Permissions
		permissions.Pub.Allow.Add(s.subjects(flags["--allow-pub"])...)
		permissions.Pub.Deny.Add(s.subjects(flags["--deny-pub"])...)
		permissions.Sub.Allow.Add(s.subjects(flags["--allow-sub"])...)
	case "add export":
		e := &jwt.Export{Name: name, Subject: jwt.Subject(flag("--subject")), Type: jwt.Stream}
		if flags["--service"] != nil {
			e.Type, e.ResponseType = jwt.Service, jwt.ResponseType(flag("--response-type"))
		}
		return s.change(flag("--account"), func(a *jwt.AccountClaims) { a.Exports = append(slices.Clone(a.Exports), e) })
	case "add import":
		i := &jwt.Import{Name: name, Subject: jwt.Subject(flag("--remote-subject")), Account: s.accounts[flag("--src-account")].Subject, LocalSubject: jwt.RenamingSubject(flag("--local-subject")), Type: jwt.Stream}
		if flags["--service"] != nil {
			i.Type = jwt.Service
		}
		if slices.ContainsFunc(s.accounts[flag("--account")].Imports, func(had *jwt.Import) bool { return had.Type == i.Type && had.Subject == i.Subject }) {
			return fmt.Errorf("account already imports %s", i.Subject)
		}
		return s.change(flag("--account"), func(a *jwt.AccountClaims) { a.Imports = append(slices.Clone(a.Imports), i) })
	default:
		s.t.Fatalf("nsc has no %s", what)
	}
	return nil
}

// subjects reads a flag that may hold several, as CSV does.
func (s *signed) subjects(values []string) (all []string) {
	for _, value := range values {
		fields, err := csv.NewReader(strings.NewReader(value)).Read()
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, fields...)
	}
	return all
}

// change leaves an account as it was where it would not be valid.
func (s *signed) change(name string, by func(*jwt.AccountClaims)) error {
	changed := *s.accounts[name]
	by(&changed)
	var found jwt.ValidationResults
	changed.Validate(&found)
	if errs := found.Errors(); len(errs) > 0 {
		return errs[0]
	}
	*s.accounts[name] = changed
	return nil
}

// refused is what was refused of what was not there yet.
func (s *signed) refused() []string {
	return slices.DeleteFunc(slices.Clone(s.said), func(said string) bool {
		_, exported, twice := strings.Cut(said, " already exports ")
		return strings.HasSuffix(said, " already exists") || strings.HasPrefix(said, "account already imports ") ||
			twice && strings.Contains(said, exported+" already exports ")
	})
}

// start runs a server that trusts the claims, and gives the users' installation.
func (s *signed) start(permissions ...pipeline.Permissions) *users {
	s.t.Helper()
	public, err := s.operator.PublicKey()
	if err != nil {
		s.t.Fatal(err)
	}
	s.run("nsc add account --name SYS") // JetStream wants one
	var conf strings.Builder
	fmt.Fprintf(&conf, "trusted_keys: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n", public, s.accounts["SYS"].Subject)
	for _, a := range s.accounts {
		token, err := a.Encode(s.operator)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&conf, "%s: %s\n", a.Subject, token)
	}
	server, err := embedded.Start(embedded.Options{StoreDir: s.t.TempDir(), Accounts: conf.String() + "}\n"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := server.Close(); err != nil {
			s.t.Error(err)
		}
	})
	u := &users{t: s.t, server: server, api: map[string]string{}, login: s.login}
	for _, p := range permissions {
		u.api[p.User] = p.APIPrefix
	}
	return u
}

func (s *signed) login(user string) nats.Option {
	claims := s.users[user]
	token, err := claims.Encode(s.keys[s.accounts[s.account[user]].Subject])
	if err != nil {
		s.t.Fatal(err)
	}
	return nats.UserJWT(func() (string, error) { return token, nil }, s.keys[claims.Subject].Sign)
}

// scopes are all that can be narrowed, by a name each.
func scopes() (all []pipeline.Scope) {
	for i := range 1 << 3 {
		s := pipeline.Scope{Tenants: []string{"Default"}}
		if i&1 > 0 {
			s.Tenant = "Default"
		}
		if i&2 > 0 {
			s.Folder = "Shared"
		}
		if i&4 > 0 {
			s.Kind, s.Name = pipeline.KindItem, "Plain"
		}
		all = append(all, s)
	}
	return all
}

// Whatever users there are already, all that is printed for another is taken:
// of no two users does one export hold the other.
func TestNSCExportsOfAllScopes(t *testing.T) {
	t.Parallel()
	var all []pipeline.Permissions
	add := func(role pipeline.Role, s pipeline.Scope) {
		s.User = fmt.Sprintf("%s_%d", role, len(all))
		all = append(all, permitted(t, pipeline.Topology{}, role, s))
	}
	for _, s := range scopes() {
		add(pipeline.RoleProducer, s)
		add(pipeline.RoleConsumer, s)
		waits, live, durable := s, s, s
		waits.Wait, live.LiveOnly, durable.Durable = true, true, true
		add(pipeline.RoleProducer, waits)
		add(pipeline.RoleConsumer, live)
		add(pipeline.RoleConsumer, durable)
	}
	narrowed := 0
	for _, a := range all {
		for _, share := range a.Shares {
			if share.Whole != "" {
				narrowed++
				if subject, whole := jwt.Subject(share.Subject), jwt.Subject(share.Whole); subject == whole || !subject.IsContainedIn(whole) {
					t.Errorf("%s: %s is not a part of %s", a.User, subject, whole)
				}
			}
			for _, b := range all {
				for _, other := range b.Shares {
					one, two := jwt.Subject(exported(share)), jwt.Subject(exported(other))
					if share.Stream == other.Stream && one != two && one.IsContainedIn(two) {
						t.Fatalf("%s exports %s, which %s exports with %s", a.User, one, b.User, two)
					}
				}
			}
		}
	}
	if narrowed == 0 {
		t.Error("nothing is narrowed: what does the test prove?")
	}
}

func exported(s pipeline.Share) string {
	if s.Whole != "" {
		return s.Whole
	}
	return s.Subject
}

// In whatever order users are made, and however often, all of them can do what
// they are for, and nothing else.
func TestNSCInAnyOrder(t *testing.T) {
	t.Parallel()
	narrow := pipeline.Scope{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Plain", Tenants: []string{"Default"}}
	as := func(role pipeline.Role, user string, s pipeline.Scope) pipeline.Permissions {
		s.User = user
		return permitted(t, pipeline.Topology{}, role, s)
	}
	durable, live := narrow, narrow
	durable.Durable, live.LiveOnly = true, true
	users := []pipeline.Permissions{
		as(pipeline.RoleProducer, "one_producer", narrow), as(pipeline.RoleConsumer, "one_consumer", narrow),
		as(pipeline.RoleConsumer, "one_durable", durable), as(pipeline.RoleConsumer, "one_live", live),
		as(pipeline.RoleProducer, "producer", pipeline.Scope{}), as(pipeline.RoleConsumer, "consumer", pipeline.Scope{}),
		as(pipeline.RoleConsumer, "durable", pipeline.Scope{Durable: true}), as(pipeline.RoleConsumer, "live", pipeline.Scope{LiveOnly: true}),
		as(pipeline.RoleProducer, "waits", pipeline.Scope{Wait: true}),
	}
	backwards := slices.Clone(users)
	slices.Reverse(backwards)
	for name, order := range map[string][]pipeline.Permissions{"narrow first": users, "wide first": backwards} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			worker := as(pipeline.RoleWorker, "worker", pipeline.Scope{Provision: true})
			s := newSigned(t)
			s.run(pipeline.NSCWorkers("OURS") + worker.NSC("OURS"))
			for range 2 {
				for _, p := range order {
					s.run(p.NSC("OURS"))
				}
			}
			if refused := s.refused(); len(refused) > 0 {
				t.Fatalf("refused: %q", refused)
			}
			u := s.start(append(order, worker)...)
			ctx, js := u.as("worker")
			if u.admin = js; pipeline.Provision(ctx, js, pipeline.Topology{}) != nil {
				t.Fatalf("the streams are not made: %q", u.denied())
			}
			u.serve(ctx)
			for _, p := range order {
				u.doWhatItIsFor(p)
			}
			if denied := u.denied(); len(denied) > 0 {
				t.Errorf("denied: %q", denied)
			}
			_, one := u.as("one_producer")
			if err := one.Conn().Publish("uipath.requests.Default.Shared.items.Other", nil); err != nil {
				t.Error(err)
			}
			if !u.wasDenied("uipath.requests.Default.Shared.items.Other") {
				t.Error("what is narrowed to one queue may publish for another")
			}
		})
	}
}

// doWhatItIsFor has a user publish a request, or read an outcome, of the same
// queue for all.
func (u *users) doWhatItIsFor(p pipeline.Permissions) {
	u.t.Helper()
	ctx, js := u.as(p.User)
	if p.Role == pipeline.RoleProducer {
		if _, err := pipeline.NewPublisher(js, pipeline.Topology{}).Publish(ctx, plainItems, item("INV-"+p.User, 1)); err != nil {
			u.t.Errorf("%s: %v", p.User, err)
		}
	}
	if p.Role == pipeline.RoleProducer && p.APIPrefix == "" {
		return
	}
	live, err := js.Conn().SubscribeSync(p.Subscribe[1].Subject)
	if err != nil {
		u.t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		u.t.Fatal(err)
	}
	if p.Durable != nil {
		if _, err := u.admin.CreateConsumer(ctx, p.Durable.Stream, jetstream.ConsumerConfig{Durable: p.Durable.Name, FilterSubject: p.Durable.Filter}); err != nil {
			u.t.Errorf("%s: %v", p.User, err)
		}
	}
	u.publishOutcome(ctx, plainItems, "INV-1")
	if _, err := live.NextMsg(10 * time.Second); err != nil {
		u.t.Errorf("%s, live: %v", p.User, err)
	}
	switch {
	case p.Durable != nil:
		if err := readDurable(ctx, js, p.User); err != nil {
			u.t.Errorf("%s: %v", p.User, err)
		}
	case p.APIPrefix != "":
		filter := pipeline.OutcomeFilter{Tenant: "Default", Folder: "Shared", Kind: pipeline.KindItem, Name: "Plain", All: true}
		if p.User == "waits" || p.User == "consumer" {
			filter = pipeline.OutcomeFilter{All: true}
		}
		for _, err := range pipeline.Watch(ctx, js, pipeline.Topology{}, filter, nil) {
			if err != nil {
				u.t.Errorf("%s, watch: %v", p.User, err)
			}
			break
		}
		if _, err := pipeline.NewPublisher(js, pipeline.Topology{}).Canonical(ctx, plainItems); err != nil {
			u.t.Errorf("%s, how it is spelled: %v", p.User, err)
		}
	}
}
