package doctor_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/pipeline/embedded/servertest"
)

func at(url string, opts ...nats.Option) doctor.Server {
	return doctor.Server{Timeout: timeout, Provision: true, Connect: func(context.Context) (*nats.Conn, error) {
		return nats.Connect(url, opts...)
	}}
}

func TestNATSDown(t *testing.T) {
	t.Parallel()
	findings := look(t, noNATS())
	expect(t, findings, doctor.Fail, "connection", "NATS_URL or --nats-url")
	for _, check := range []string{"JetStream", "streams", "requests waiting", "rights", "clock"} {
		expect(t, findings, doctor.Skip, check, "mend the connection to NATS first")
	}
	if got := code(findings); got != cli.ExitUnreachable {
		t.Errorf("got exit code %d", got)
	}
}

// What is wrong and what to change are told once each.
func TestMendIsToldOnce(t *testing.T) {
	t.Parallel()
	s := noNATS()
	s.Connect = func(ctx context.Context) (*nats.Conn, error) {
		return cli.NATS{URL: "127.0.0.1:1"}.Connect(ctx, "doctor")
	}
	findings := look(t, s)
	expect(t, findings, doctor.Fail, "connection", "no NATS server answers at nats://127.0.0.1:1: ")
	if line := findings[0].String(); strings.Count(line, "NATS_URL") != 1 || !strings.Contains(line, "-> start NATS there") {
		t.Errorf("got %q, want it to say once what to do", line)
	}
}

// A server that takes connections and says nothing.
func TestNATSDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := noNATS()
	s.Timeout = 50 * time.Millisecond
	s.Connect = func(ctx context.Context) (*nats.Conn, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	expect(t, look(t, s), doctor.Fail, "connection", "(--timeout)")
}

func TestJetStreamOff(t *testing.T) {
	t.Parallel()
	findings := look(t, at(servertest.Start(t, &server.Options{}).ClientURL()))
	expect(t, findings, doctor.Fail, "JetStream", "not enabled on the server")
	expect(t, findings, doctor.Skip, "streams", "mend JetStream first")
	if got := code(findings); got != cli.ExitUsage {
		t.Errorf("got exit code %d", got)
	}
}

func TestJetStreamOffForTheAccount(t *testing.T) {
	t.Parallel()
	account := server.NewAccount("POOR")
	s := servertest.Start(t, &server.Options{JetStream: true, Accounts: []*server.Account{account}, Users: []*server.User{{Username: "u", Password: secret, Account: account}}})
	findings := look(t, at(s.ClientURL(), nats.UserInfo("u", secret)))
	expect(t, findings, doctor.Fail, "JetStream", "not enabled for this account")
}

// answers has a server without JetStream answer what JetStream is asked by each
// of the subjects; an empty answer is none.
func answers(t *testing.T, url string, of map[string]string) {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserInfo("all", secret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for subject, answer := range of {
		_, err := nc.Subscribe(subject, func(m *nats.Msg) {
			if answer != "" && m.Reply != "" {
				_ = m.Respond([]byte(answer)) // who asks sees it
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// errorOf is JetStream's answer of that kind.
func errorOf(status, code int, text string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"err_code":%d,"description":%q}}`, status, code, text)
}

// withWorker has a user who may not ask for JetStream's state, as workers need not.
func withWorker() *server.Options {
	return &server.Options{Users: []*server.User{{Username: "all", Password: secret}, {
		Username: "worker", Password: secret, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.INFO"}}},
	}}}
}

// What the server says is told where it answers with an error, as it does
// without a leader.
func TestJetStreamWithoutLeader(t *testing.T) {
	t.Parallel()
	const leaderless = "JetStream system temporarily unavailable"
	url := servertest.Start(t, withWorker()).ClientURL()
	answers(t, url, map[string]string{
		"$JS.API.INFO": errorOf(503, 10008, leaderless), "$JS.API.STREAM.INFO.UIPATH_REQUESTS": errorOf(503, 10008, leaderless),
		"$JS.API.STREAM.INFO.UIPATH_LEDGER": errorOf(404, 10059, "stream not found"),
	})
	for _, user := range []string{"all", "worker"} {
		s := at(url, nats.UserInfo(user, secret))
		s.Timeout = time.Second
		findings := look(t, s)
		expect(t, findings, doctor.Fail, "JetStream", leaderless)
		if got := code(findings); got != cli.ExitUnreachable {
			t.Errorf("%s: got exit code %d", user, got)
		}
	}
}

// A requests stream that does not answer leaves the rest to be looked at.
func TestRequestsStreamIsSilent(t *testing.T) {
	t.Parallel()
	url := servertest.Start(t, withWorker()).ClientURL()
	missing := errorOf(404, 10059, "stream not found")
	answers(t, url, map[string]string{
		"$JS.API.STREAM.INFO.UIPATH_REQUESTS": "", "$JS.API.STREAM.INFO.UIPATH_LEDGER": missing,
		"$JS.API.STREAM.INFO.UIPATH_DEADLETTERS": missing, "$JS.API.STREAM.INFO.KV_UIPATH_CONTROL": missing,
	})
	s := at(url, nats.UserInfo("worker", secret))
	s.Timeout = 300 * time.Millisecond
	findings := look(t, s)
	expect(t, findings, doctor.Fail, "JetStream", "no answer within 300ms (--timeout)")
	expect(t, findings, doctor.Fail, "stream UIPATH_REQUESTS", "no answer")
	expect(t, findings, doctor.OK, "stream UIPATH_LEDGER", "missing: worker run makes it")
	if got := code(findings); got != cli.ExitUnreachable {
		t.Errorf("got exit code %d", got)
	}
}

func TestEncryption(t *testing.T) {
	t.Parallel()
	shown, pool := certificate(t, time.Now().Add(10*24*time.Hour+time.Hour))
	s := servertest.Start(t, &server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12}})
	url := strings.Replace(s.ClientURL(), "127.0.0.1", "localhost", 1)
	findings := look(t, at(url, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})))
	expect(t, findings, doctor.Warn, "encryption", "TLS 1.3, certificate of Test CA until ")
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	s, _ := installation(t)
	s.Topology.Prefix = "two words"
	expect(t, look(t, s), doctor.Skip, "streams", "mend the settings first")
}

func TestSyncInterval(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		mark doctor.Mark
		text string
	}{
		"always":   {`{"config":{"sync_interval":120000000000,"sync_always":true}}`, doctor.OK, "always on this server: what it acknowledges is on its disk"},
		"by times": {`{"config":{"sync_interval":120000000000}}`, doctor.Warn, "2m0s: what was acknowledged within it is lost"},
		"nothing":  {`{}`, doctor.Warn, "the monitoring shows none"},
		"a page":   {`<html>`, doctor.Warn, "and not what nats-server does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/jsz" {
					fmt.Fprint(w, test.body)
				}
			}))
			defer monitor.Close()
			s, _ := installation(t)
			s.MonitorURL = monitor.URL + "/"
			expect(t, look(t, s), test.mark, "sync interval", test.text)
		})
	}
	monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"config":{"sync_always":true}}`)
	}))
	defer monitor.Close()
	member := servertest.Start(t, &server.Options{Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: -1}})
	s := at(member.ClientURL())
	s.MonitorURL = monitor.URL
	expect(t, look(t, s), doctor.OK, "sync interval", "look at each server")
	s, _ = installation(t)
	expect(t, look(t, s), doctor.Skip, "sync interval", "--nats-monitor")
	s.MonitorURL = "http://127.0.0.1:1"
	expect(t, look(t, s), doctor.Warn, "sync interval", "connection refused")
}
