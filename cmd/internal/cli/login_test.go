package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"waybill/pipeline/embedded/servertest"
)

// startWith runs a server with options of its own and gives its URL.
func startWith(t *testing.T, opts *server.Options) string {
	t.Helper()
	return servertest.Start(t, opts).ClientURL()
}

// writeFile keeps a test's credentials.
func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pair is a key of operators, accounts or users.
type pair struct {
	nkeys.KeyPair
	public string
	seed   []byte
}

func newPair(t *testing.T, prefix nkeys.PrefixByte) pair {
	t.Helper()
	kp, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return pair{kp, public, seed}
}

// operator is a NATS server's in operator mode, with one account.
type operator struct{ operator, account pair }

func newOperator(t *testing.T) operator {
	t.Helper()
	return operator{newPair(t, nkeys.PrefixByteOperator), newPair(t, nkeys.PrefixByteAccount)}
}

func (o operator) start(t *testing.T) string {
	t.Helper()
	token, err := jwt.NewAccountClaims(o.account.public).Encode(o.operator)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	if err := resolver.Store(o.account.public, token); err != nil {
		t.Fatal(err)
	}
	return startWith(t, &server.Options{TrustedKeys: []string{o.operator.public}, AccountResolver: resolver})
}

// creds writes a user's credentials file.
func (o operator) creds(t *testing.T, expires time.Time) string {
	t.Helper()
	user := newPair(t, nkeys.PrefixByteUser)
	claims := jwt.NewUserClaims(user.public)
	if !expires.IsZero() {
		claims.Expires = expires.Unix()
	}
	token, err := claims.Encode(o.account)
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(token, user.seed)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "user.creds", file)
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key, writeFile(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// issue gives the PEM files of a certificate for 127.0.0.1 and its key.
func (a authority) issue(t *testing.T) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "one"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		writeFile(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}))
}

// startTLS runs a server with a certificate of the authority's, changed as
// with says.
func (a authority) startTLS(t *testing.T, with func(*server.Options)) string {
	t.Helper()
	cert, key := a.issue(t)
	loaded, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	opts := &server.Options{TLS: true, TLSTimeout: 5, TLSConfig: &tls.Config{Certificates: []tls.Certificate{loaded}, MinVersion: tls.VersionTLS12}}
	with(opts)
	return startWith(t, opts)
}

func (a authority) wantClients(o *server.Options) {
	o.TLSVerify = true
	o.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
	o.TLSConfig.ClientCAs = x509.NewCertPool()
	o.TLSConfig.ClientCAs.AddCert(a.cert)
}

// Each way to log in works where it is right, and where it is not, one sentence
// and the exit code say what is wrong.
func TestLogins(t *testing.T) {
	t.Setenv("NATS_URL", "")
	clearEnvironment(t)
	ours, theirs := newOperator(t), newOperator(t)
	nkey, other := newPair(t, nkeys.PrefixByteUser), newPair(t, nkeys.PrefixByteUser)
	ca, otherCA := newAuthority(t), newAuthority(t)
	cert, key := ca.issue(t)
	otherCert, otherKey := otherCA.issue(t)
	jwtURL := ours.start(t)
	nkeyURL := startWith(t, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: nkey.public}}})
	plainURL := startWith(t, &server.Options{})
	tlsURL := ca.startTLS(t, func(*server.Options) {})
	mutualURL := ca.startTLS(t, ca.wantClients)
	mutual12URL := ca.startTLS(t, func(o *server.Options) { ca.wantClients(o); o.TLSConfig.MaxVersion = tls.VersionTLS12 })
	oldURL := ca.startTLS(t, func(o *server.Options) {
		o.TLSConfig.MinVersion, o.TLSConfig.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	})
	junk := writeFile(t, "junk", []byte("not what it should be\n"))
	for _, tt := range []struct {
		name string
		nats NATS
		code Code
		says string
	}{
		{"credentials", NATS{URL: jwtURL, Creds: ours.creds(t, time.Time{})}, ExitOK, ""},
		{"another operator's credentials", NATS{URL: jwtURL, Creds: theirs.creds(t, time.Time{})}, ExitCredentials, "refuses our credentials"},
		{"credentials that have expired", NATS{URL: jwtURL, Creds: ours.creds(t, time.Now().Add(-time.Minute))}, ExitCredentials, "refuses our credentials"},
		{"credentials that are none", NATS{URL: jwtURL, Creds: junk}, ExitUsage, "no nkey seed found"},
		{"no credentials", NATS{URL: jwtURL}, ExitCredentials, "refuses our credentials"},
		{"nkey", NATS{URL: nkeyURL, NKey: writeFile(t, "nkey", nkey.seed)}, ExitOK, ""},
		{"an nkey unknown to the server", NATS{URL: nkeyURL, NKey: writeFile(t, "nkey", other.seed)}, ExitCredentials, "refuses our credentials"},
		{"an nkey that is none", NATS{URL: nkeyURL, NKey: junk}, ExitUsage, "read the nkey seed"},
		{"nkey where credentials are wanted", NATS{URL: jwtURL, NKey: writeFile(t, "nkey", nkey.seed)}, ExitCredentials, "refuses our credentials"},
		{"TLS", NATS{URL: tlsURL, CA: ca.file}, ExitOK, ""},
		{"TLS by an authority nobody knows", NATS{URL: tlsURL}, ExitUsage, "name its authority with --nats-ca"},
		{"TLS by another authority", NATS{URL: tlsURL, CA: otherCA.file}, ExitUsage, "name its authority with --nats-ca"},
		{"TLS for another name", NATS{URL: strings.Replace(tlsURL, "127.0.0.1", "localhost", 1), CA: ca.file}, ExitUsage, "is not trusted here"},
		{"an authority that is none", NATS{URL: tlsURL, CA: junk}, ExitUsage, "failed to parse root certificate"},
		{"TLS that the server has not", NATS{URL: plainURL, CA: ca.file}, ExitUsage, "secure connection not available"},
		{"client certificate", NATS{URL: mutualURL, CA: ca.file, Cert: cert, Key: key}, ExitOK, ""},
		{"no client certificate", NATS{URL: mutualURL, CA: ca.file}, ExitCredentials, "client certificate"},
		{"no client certificate, TLS 1.2", NATS{URL: mutual12URL, CA: ca.file}, ExitCredentials, "client certificate"},
		{"another authority's client certificate", NATS{URL: mutualURL, CA: ca.file, Cert: otherCert, Key: otherKey}, ExitCredentials, "client certificate"},
		{"another authority's client certificate, TLS 1.2", NATS{URL: mutual12URL, CA: ca.file, Cert: otherCert, Key: otherKey}, ExitCredentials, "client certificate"},
		{"another certificate's key", NATS{URL: mutualURL, CA: ca.file, Cert: cert, Key: otherKey}, ExitUsage, "client certificate"},
		{"TLS 1.1 and no authority", NATS{URL: oldURL}, ExitUsage, "TLS 1.2"},
		{"TLS 1.1", NATS{URL: oldURL, CA: ca.file}, ExitUsage, "TLS 1.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NATS_URL", "")
			nc, err := tt.nats.Connect(t.Context(), "enqueue")
			if err == nil {
				nc.Close()
			}
			if tt.code == ExitOK {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkError(t, err, tt.code, tt.says)
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}

// A context of the nats CLI has the login, the authority and the inbox.
func TestLoginByContext(t *testing.T) {
	clearEnvironment(t)
	ours := newOperator(t)
	url := ours.start(t)
	config := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	dir := filepath.Join(config, "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, creds := range map[string]string{"right": ours.creds(t, time.Time{}), "wrong": newOperator(t).creds(t, time.Time{}), "missing": "/nowhere/x.creds"} {
		settings, err := json.Marshal(map[string]string{"url": url, "creds": creds, "inbox_prefix": "_INBOX_one"})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".json"), settings, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := NATS{Context: "right"}.Connect(t.Context(), "enqueue")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if inbox := nc.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_one.") {
		t.Errorf("inbox %s, want the context's", inbox)
	}
	_, err = NATS{Context: "wrong"}.Connect(t.Context(), "enqueue")
	checkError(t, err, ExitCredentials, "refuses our credentials")
	_, err = NATS{Context: "missing"}.Connect(t.Context(), "enqueue")
	checkError(t, err, ExitUsage, "/nowhere/x.creds")
}

func TestInboxPrefix(t *testing.T) {
	clearEnvironment(t)
	url := startWith(t, &server.Options{})
	t.Setenv("NATS_INBOX_PREFIX", "_INBOX_worker")
	nc, err := NATS{URL: url}.Connect(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if inbox := nc.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_worker.") {
		t.Errorf("inbox %s, want NATS_INBOX_PREFIX's", inbox)
	}
	_, err = NATS{URL: url, InboxPrefix: "_INBOX.>"}.Connect(t.Context(), "worker")
	checkError(t, err, ExitUsage, "without wildcards")
}
