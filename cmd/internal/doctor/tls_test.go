package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/orchestrator/simulator"
)

// certificate is one that signs itself, for the name localhost.
func certificate(t *testing.T, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, DNSNames: []string{"localhost"},
		NotBefore: until.Add(-365 * 24 * time.Hour), NotAfter: until, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for _, test := range []struct {
		name    string
		left    time.Duration
		host    string // of the URL
		trusted bool
		asks    bool // for a client certificate
		shows   bool
		mark    doctor.Mark
		check   string
		text    string
		code    cli.Code
	}{
		{name: "trusted", left: 90 * day, host: "localhost", trusted: true, mark: doctor.OK, check: "TLS", text: "TLS 1.3"},
		{name: "ends soon", left: 10*day + time.Hour, host: "localhost", trusted: true, mark: doctor.Warn, check: "TLS", text: "that is in 10 days -> renew"},
		{name: "expired", left: -day, host: "localhost", trusted: true, mark: doctor.Fail, check: "TLS", text: "renew the server's certificate", code: cli.ExitUsage},
		{name: "unknown authority", left: 90 * day, host: "localhost", mark: doctor.Fail, check: "TLS", text: "UIPATH_CA (caFile)", code: cli.ExitUsage},
		{name: "another name", left: 90 * day, host: "127.0.0.1", trusted: true, mark: doctor.Fail, check: "TLS", text: "a name in UIPATH_URL (url) that the certificate is for: localhost", code: cli.ExitUsage},
		{name: "asks in vain", left: 90 * day, host: "localhost", trusted: true, asks: true, mark: doctor.Fail, check: "answer", text: "UIPATH_CERT and UIPATH_KEY", code: cli.ExitCredentials},
		{name: "asks and is shown", left: 90 * day, host: "localhost", trusted: true, asks: true, shows: true, mark: doctor.OK, check: "TLS", text: "client certificate asked for"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sim := simulated(t, simulator.Config{})
			shown, pool := certificate(t, time.Now().Add(test.left))
			server := httptest.NewUnstartedServer(sim)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12}
			if test.asks {
				server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, pool
			}
			server.StartTLS()
			defer server.Close()
			tenant := tenantOf(strings.Replace(server.URL, "127.0.0.1", test.host, 1))
			if test.trusted {
				tenant.Config.RootCAs, tenant.CA = pool, true
			}
			if test.shows {
				tenant.Config.ClientCertificates = []tls.Certificate{shown}
			}
			findings := look(t, noNATS(), tenant)
			expect(t, findings, test.mark, test.check, test.text)
			if got := code(ofTenants(findings)); got != test.code {
				t.Errorf("got exit code %d, want %d", got, test.code)
			}
			if test.code != cli.ExitOK {
				expect(t, findings, doctor.Skip, "login", "mend the way to Orchestrator first")
			}
			noEffects(t, sim)
		})
	}
}
