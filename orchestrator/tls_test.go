package orchestrator_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"

	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// TestTLS: what is trusted, what is shown, and what is spoken at least.
func TestTLS(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		server func(*tls.Config)
		client func(*orchestrator.Config, *x509.CertPool, tls.Certificate)
		want   []string // of the error
	}{
		{"authority trusted", nil, func(c *orchestrator.Config, roots *x509.CertPool, _ tls.Certificate) { c.RootCAs = roots }, nil},
		{
			"authority unknown", nil, func(*orchestrator.Config, *x509.CertPool, tls.Certificate) {},
			[]string{"certificate signed by unknown authority", "name that in RootCAs (caFile, UIPATH_CA)"},
		},
		{
			"client certificate missing", func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
			func(c *orchestrator.Config, roots *x509.CertPool, _ tls.Certificate) { c.RootCAs = roots },
			[]string{"the server wants a client certificate that it trusts", "UIPATH_CERT and UIPATH_KEY"},
		},
		{
			"client certificate not trusted", func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool() },
			func(c *orchestrator.Config, roots *x509.CertPool, own tls.Certificate) {
				c.RootCAs, c.ClientCertificates = roots, []tls.Certificate{own}
			},
			[]string{"the server wants a client certificate that it trusts"},
		},
		{
			"client certificate shown", func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
			func(c *orchestrator.Config, roots *x509.CertPool, own tls.Certificate) {
				c.RootCAs, c.ClientCertificates = roots, []tls.Certificate{own}
			}, nil,
		},
		{
			"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
			func(c *orchestrator.Config, roots *x509.CertPool, _ tls.Certificate) { c.RootCAs = roots },
			[]string{"protocol version"},
		},
		{
			"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
			func(c *orchestrator.Config, roots *x509.CertPool, _ tls.Certificate) { c.RootCAs = roots }, nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sim := simulator.New(simulator.Config{})
			t.Cleanup(sim.Close)
			sim.AddFolder("Finance")
			server := httptest.NewUnstartedServer(sim)
			server.Config.ErrorLog = nil
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			if test.server != nil {
				test.server(server.TLS)
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			cfg := orchestrator.Config{
				BaseURL: server.URL + "/acme/prod/orchestrator_", RetryFor: -1,
				Login: orchestrator.ClientCredentials{ClientID: "app", ClientSecret: "secret"},
			}
			test.client(&cfg, roots, server.TLS.Certificates[0])
			client, err := orchestrator.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.CloseIdleConnections)
			err = ask(t, client)
			if len(test.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want %q in it", err, part)
				}
			}
		})
	}
}
