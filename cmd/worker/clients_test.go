package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// TestCertificates: an authority of one's own, and a client certificate, by the
// files that the environment names.
func TestCertificates(t *testing.T) { //nolint:paralleltest // environment and folder are the whole process's
	sim := simulator.New(simulator.Config{})
	t.Cleanup(sim.Close)
	sim.AddFolder("Shared")
	server := httptest.NewUnstartedServer(sim)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	t.Cleanup(server.Close)
	own := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"ca.pem":   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})),
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"junk.pem": "junk",
	}
	for _, test := range []struct { //nolint:paralleltest // the same
		name        string
		environment []string
		want        string // of an error
		code        cli.Code
	}{
		{"all", []string{"UIPATH_CA=ca.pem", "UIPATH_CERT=cert.pem", "UIPATH_KEY=key.pem"}, "", cli.ExitOK},
		{"none", nil, "name that in RootCAs (caFile, UIPATH_CA)", cli.ExitOK},
		{"no client certificate", []string{"UIPATH_CA=ca.pem"}, "certFile and keyFile, UIPATH_CERT and UIPATH_KEY", cli.ExitOK},
		{"half a client certificate", []string{"UIPATH_CA=ca.pem", "UIPATH_CERT=cert.pem"}, "needs both certFile (UIPATH_CERT) and keyFile (UIPATH_KEY)", cli.ExitUsage},
		{"authority's file missing", []string{"UIPATH_CA=none.pem"}, "open none.pem", cli.ExitUsage},
		{"authority's file is none", []string{"UIPATH_CA=junk.pem"}, "caFile junk.pem (UIPATH_CA) holds no certificate", cli.ExitUsage},
		{"key of another form", []string{"UIPATH_CERT=cert.pem", "UIPATH_KEY=junk.pem"}, "client certificate cert.pem with key junk.pem", cli.ExitUsage},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFolder(t, files, append(test.environment, "UIPATH_URL="+server.URL+"/acme/Default/orchestrator_", "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET=s")...)
			err := readFolders(t)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q in it", err, test.want)
			}
			if e, ok := errors.AsType[*cli.Error](err); test.code != cli.ExitOK && (!ok || e.Code != test.code) {
				t.Errorf("got %v, want exit code %d", err, test.code)
			}
		})
	}
}

// readFolders makes one call by the settings there are.
func readFolders(t *testing.T) error {
	t.Helper()
	s, err := loadSettings("")
	if err != nil {
		return err
	}
	client, err := s.client(s.Tenants[0], surroundings{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for _, err := range client.Folders(t.Context(), orchestrator.Query{}) {
		return err
	}
	return nil
}

// TestSecretFromStandardInput: where a secret's file is -, it is what standard
// input has.
func TestSecretFromStandardInput(t *testing.T) { //nolint:paralleltest // standard input is the whole process's
	inFolder(t, map[string]string{"input": "s3cret\n"}, "UIPATH_URL="+cloudURL, "UIPATH_CLIENT_ID=id", "UIPATH_CLIENT_SECRET_FILE=-")
	input, err := os.Open("input")
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close() //nolint:errcheck // it was only read
	before := os.Stdin
	os.Stdin = input
	t.Cleanup(func() { os.Stdin = before })
	s, err := loadSettings("")
	if err != nil || s.Tenants[0].secrets[loginApplication] != "s3cret" {
		t.Errorf("got %d letters, %v", len(s.Tenants[0].secrets[loginApplication]), err)
	}
}
