package doctor_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/pipeline"
	"waybill/pipeline/embedded/servertest"
)

func TestRightsDenied(t *testing.T) {
	t.Parallel()
	all := &server.User{Username: "all", Password: secret}
	s := servertest.Start(t, &server.Options{JetStream: true, Users: []*server.User{all, {
		Username: "poor", Password: secret, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{
			"uipath.claims.>", "$KV.UIPATH_CONTROL.>", "$JS.API.CONSUMER.DELETE.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.UIPATH_DEADLETTERS",
		}}},
	}, {
		Username: "deaf", Password: secret, Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX.>"}}},
	}}})
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("all", secret))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	provision(t, js)

	poor := at(s.ClientURL(), nats.UserInfo("poor", secret))
	poor.Timeout = time.Second // what is denied gets no answer
	findings := look(t, poor)
	expect(t, findings, doctor.Skip, "account limits", "need not")
	expect(t, findings, doctor.Fail, "stream UIPATH_DEADLETTERS", "may not ask for its state")
	expect(t, findings, doctor.Fail, "rights", "to write claims, publishing to uipath.claims.-.-.probe.-.doctor_")
	expect(t, findings, doctor.Fail, "rights", "`worker permissions worker`")
	if got, want := len(failures(findings, "NATS")), 5; got != want {
		t.Errorf("got %d failures, want %d: %v", got, want, failures(findings, "NATS"))
	}
	if got := code(findings); got != cli.ExitCredentials {
		t.Errorf("got exit code %d", got)
	}

	findings = look(t, at(s.ClientURL(), nats.UserInfo("deaf", secret)))
	expect(t, findings, doctor.Fail, "rights", "subscribing to _INBOX.")
	expect(t, findings, doctor.Skip, "JetStream", "mend the right to subscribe first")
}

// What is asked for first when a lane has long been empty is tried, and so is
// what only logins in the bucket need.
func TestRightsNeededLate(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, &server.Options{JetStream: true, Users: []*server.User{{Username: "all", Password: secret}, {
		Username: "poor", Password: secret, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{
			"$JS.API.CONSUMER.INFO.>", "$JS.FC.>", "$KV.UIPATH_TOKENS.>", "$JS.API.DIRECT.GET.KV_UIPATH_TOKENS.>",
		}}},
	}}})
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("all", secret))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	provision(t, js)
	if err := pipeline.NewTokenBucket(js, pipeline.Topology{}).Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	poor := at(s.ClientURL(), nats.UserInfo("poor", secret))
	findings := look(t, poor)
	expect(t, findings, doctor.Fail, "rights", "publishing to $JS.API.CONSUMER.INFO.UIPATH_REQUESTS.doctor_")
	expect(t, findings, doctor.Fail, "rights", "publishing to $JS.FC.KV_UIPATH_CONTROL.doctor_")
	if got := len(failures(findings, "NATS")); got != 2 {
		t.Errorf("got %d failures, want none of the bucket that is not used", got)
	}
	poor.Tokens = true
	findings = look(t, poor)
	expect(t, findings, doctor.Fail, "rights", "to store logins, publishing to $KV.UIPATH_TOKENS.tenants.doctor_")
	expect(t, findings, doctor.Fail, "rights", "to read stored logins, publishing to $JS.API.DIRECT.GET.KV_UIPATH_TOKENS.$KV.UIPATH_TOKENS.tenants.doctor_")
}

// The role worker is enough, with what makes streams and without.
func TestRoles(t *testing.T) {
	t.Parallel()
	user := func(name string, role pipeline.Role, scope pipeline.Scope) *server.User {
		scope.User = name
		p, err := pipeline.Topology{}.Permissions(role, scope)
		if err != nil {
			t.Fatal(err)
		}
		subjects := func(of []pipeline.Permission) (all []string) {
			for _, one := range of {
				all = append(all, one.Subject)
			}
			return all
		}
		return &server.User{Username: name, Password: secret, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: subjects(p.Publish), Deny: subjects(p.DenyPublish)},
			Subscribe: &server.SubjectPermission{Allow: subjects(p.Subscribe)},
		}}
	}
	s := servertest.Start(t, &server.Options{JetStream: true, Users: []*server.User{
		{Username: "all", Password: secret},
		user("maker", pipeline.RoleWorker, pipeline.Scope{Provision: true}), user("worker", pipeline.RoleWorker, pipeline.Scope{}),
		user("producer", pipeline.RoleProducer, pipeline.Scope{}),
	}})
	as := func(name string) doctor.Server {
		as := at(s.ClientURL(), nats.UserInfo(name, secret), nats.CustomInboxPrefix("_INBOX_"+name))
		as.Timeout = time.Second // what is denied gets no answer
		return as
	}
	expect(t, look(t, as("maker")), doctor.OK, "rights", "are granted")
	expect(t, look(t, as("worker")), doctor.Fail, "rights", "to make the stream UIPATH_LEDGER, publishing to $JS.API.STREAM.CREATE.UIPATH_LEDGER is denied")

	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("all", secret))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	provision(t, js)
	for _, name := range []string{"maker", "worker"} {
		findings := look(t, as(name))
		expect(t, findings, doctor.OK, "rights", "all 18 that were tried are granted")
		if got := code(findings); got != cli.ExitOK {
			t.Errorf("%s: got exit code %d", name, got)
		}
	}
	findings := look(t, as("producer"))
	expect(t, findings, doctor.Fail, "JetStream", "`worker permissions worker`")
	if got := code(findings); got != cli.ExitCredentials {
		t.Errorf("got exit code %d", got)
	}
}
