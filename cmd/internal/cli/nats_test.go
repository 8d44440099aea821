package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"waybill/pipeline/embedded/servertest"
)

// startServer runs a NATS server that wants a password.
func startServer(t *testing.T) (hostPort string) {
	t.Helper()
	return servertest.Start(t, &server.Options{Username: "u", Password: "hush"}).Addr().String()
}

func clearEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{"NATS_URL", "NATS_CONTEXT", "NATS_CREDS", "NATS_NKEY", "NATS_CA", "NATS_CERT", "NATS_KEY", "NATS_INBOX_PREFIX"} {
		t.Setenv(name, "")
	}
}

func TestConnect(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("NATS_URL", "nats://u:hush@"+startServer(t))
	nc, err := NATS{}.Connect(t.Context(), "enqueue")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if nc.Status() != nats.CONNECTED || nc.Opts.Name != "enqueue" {
		t.Errorf("connection is %v under the name %q", nc.Status(), nc.Opts.Name)
	}
}

func TestConnectByContext(t *testing.T) {
	clearEnvironment(t)
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	dir := filepath.Join(config, "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	settings := `{"url":"nats://` + startServer(t) + `","user":"u","password":"hush"}`
	if err := os.WriteFile(filepath.Join(dir, "dev.json"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NATS_CONTEXT", "dev")
	nc, err := NATS{}.Connect(t.Context(), "enqueue")
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	_, err = NATS{Context: "elsewhere"}.Connect(t.Context(), "enqueue")
	checkError(t, err, ExitUsage, `unknown context "elsewhere"`)
}

// A context may say how JetStream is asked. Who must be where the streams are
// is not let ask another JetStream.
func TestConnectFromElsewhere(t *testing.T) {
	url := "nats://u:hush@" + startServer(t)
	for _, tt := range []struct {
		name, settings, want string
		elsewhere            bool
	}{
		{"here", `{"url":"` + url + `"}`, "$JS.API.", false},
		{"here by name", `{"url":"` + url + `","jetstream_api_prefix":"$JS.API"}`, "$JS.API", false},
		{"another account", `{"url":"` + url + `","jetstream_api_prefix":"uipath.api"}`, "uipath.api", true},
		{"another domain", `{"url":"` + url + `","jetstream_domain":"hub"}`, "$JS.hub.API.", true},
		{"both", `{"url":"` + url + `","jetstream_domain":"hub","jetstream_api_prefix":"uipath.api"}`, "$JS.hub.API.", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clearEnvironment(t)
			file := filepath.Join(t.TempDir(), "context.json")
			if err := os.WriteFile(file, []byte(tt.settings), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("NATS_CONTEXT", file)
			nc, api, err := NATS{}.ConnectFrom(t.Context(), "enqueue")
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
			if api != tt.want {
				t.Errorf("JetStream is asked as %q, want %q", api, tt.want)
			}
			nc, err = NATS{}.Connect(t.Context(), "worker")
			if tt.elsewhere {
				checkError(t, err, ExitUsage, tt.want+", in another account or domain")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
		})
	}
}

func TestConnectErrors(t *testing.T) {
	address := startServer(t)
	tests := []struct {
		name string
		nats NATS
		env  map[string]string
		code Code
		says string
	}{
		{"nobody there", NATS{URL: closedPort(t)}, nil, ExitUnreachable, "start NATS there"},
		{"no credentials", NATS{URL: address}, nil, ExitCredentials, "refuses our credentials"},
		{"wrong password", NATS{}, map[string]string{"NATS_URL": "nats://u:wrong@" + address}, ExitCredentials, "NATS_URL (nats://user:password@host)"},
		{"password in a flag", NATS{URL: "u:hush@" + address}, nil, ExitUsage, "put it into NATS_URL"},
		{"not a URL", NATS{}, map[string]string{"NATS_URL": "nats://u:hush@[::1"}, ExitUsage, "the configured URL"},
		{"flags disagree", NATS{URL: address, Context: "dev"}, nil, ExitUsage, "not both"},
		{"environment disagrees", NATS{}, map[string]string{"NATS_URL": address, "NATS_CONTEXT": "dev"}, ExitUsage, "unset one"},
		{"two kinds of credentials", NATS{Creds: "a", NKey: "b"}, nil, ExitUsage, "use one"},
		{"half a certificate", NATS{Cert: "a"}, nil, ExitUsage, "needs both"},
		{"an API prefix with a wildcard", NATS{URL: address, APIPrefix: "uipath.>"}, nil, ExitUsage, `the API prefix "uipath.>"`},
		{"missing file", NATS{}, map[string]string{"NATS_CREDS": "/nowhere/x.creds"}, ExitUsage, "open /nowhere/x.creds"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clearEnvironment(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			_, err := tt.nats.Connect(t.Context(), "enqueue")
			checkError(t, err, tt.code, tt.says)
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestConnectCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (NATS{}).Connect(ctx, "enqueue"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// A context whose JetStream can be no subject's is told, with its name.
func TestConnectByOddContext(t *testing.T) {
	url := "nats://u:hush@" + startServer(t)
	for _, settings := range []string{`"jetstream_domain":"*"`, `"jetstream_api_prefix":"uipath.>"`, `"jetstream_api_prefix":"$JS.API.."`, `"jetstream_domain":"a b"`, `"jetstream_api_prefix":"a\r\nPUB"`} {
		t.Run(settings, func(t *testing.T) {
			clearEnvironment(t)
			file := filepath.Join(t.TempDir(), "odd.json")
			if err := os.WriteFile(file, []byte(`{"url":"`+url+`",`+settings+`}`), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("NATS_CONTEXT", file)
			_, _, err := NATS{}.ConnectFrom(t.Context(), "enqueue")
			checkError(t, err, ExitUsage, "context "+file+" has JetStream asked as")
		})
	}
}

// A balancer with nobody behind it takes a connection and closes it.
func TestConnectToNobody(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	_, err = NATS{URL: l.Addr().String()}.Connect(t.Context(), "enqueue")
	checkError(t, err, ExitUnreachable, "no NATS server answers at")
}

// silent takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var taken []net.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken = append(taken, conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		for _, conn := range taken {
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

// Who gives up while servers say nothing does not wait for each of them.
func TestConnectGivesUp(t *testing.T) {
	t.Parallel()
	url := strings.Join([]string{silent(t), silent(t), silent(t)}, ",")
	why := errors.New("long enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, why)
	defer cancel()
	begin := time.Now()
	_, _, err := NATS{URL: url}.ConnectFrom(ctx, "enqueue")
	if took := time.Since(begin); !errors.Is(err, why) || took > 3*time.Second {
		t.Errorf("error %v after %s, want %v at once", err, took, why)
	}
}

// A connection that comes when nobody waits for it any more is closed.
func TestConnectedTooLate(t *testing.T) {
	t.Parallel()
	url := "nats://u:hush@" + startServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	late, closed := make(chan struct{}), make(chan struct{})
	cancel()
	_, _, err := await(ctx, func() (*nats.Conn, string, error) {
		<-late
		nc, err := nats.Connect(url, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		return nc, "", err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	close(late)
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		t.Error("it is left open")
	}
}

func checkError(t *testing.T, err error, code Code, says string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Error(), says) {
		t.Errorf("error %v, want one with code %d that says %q", err, code, says)
	}
}

// closedPort gives an address nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}
