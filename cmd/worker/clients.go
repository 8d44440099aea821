package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// clientRetries is how long the client itself repeats what is surely not done.
// Beyond a short hiccup the pipeline does better: it gives the claim back and
// pauses the tenant for all workers.
const clientRetries = 2 * time.Second

// surroundings are what clients need beside the settings.
type surroundings struct {
	log *slog.Logger
	// transport is for a simulated Orchestrator in this process; nil is the
	// network.
	transport http.RoundTripper
	// js is for logins that are kept in NATS; nil where none are.
	js jetstream.JetStream
}

// connectTenants makes the clients.
func (s settings) connectTenants(around surroundings) ([]pipeline.Tenant, error) {
	if len(s.Tenants) == 0 {
		return nil, noTenant()
	}
	var tenants []pipeline.Tenant
	for _, t := range s.Tenants {
		client, err := s.client(t, around)
		if err != nil {
			return nil, err
		}
		tenants = append(tenants, pipeline.Tenant{
			Name: t.Name, Client: client, DefaultFolder: t.folderRef(), MaxInFlight: t.MaxInFlight,
			ListReadsPerMinute: t.ListReadsPerMinute, ItemIDs: t.ItemIDs, ClassicFolders: t.ClassicFolders,
		})
	}
	return tenants, nil
}

// client makes the client of one tenant.
func (s settings) client(t tenant, around surroundings) (*orchestrator.Client, error) {
	cfg, err := s.clientConfig(t, around)
	if err != nil {
		return nil, err
	}
	client, err := orchestrator.New(cfg)
	if err != nil {
		return nil, tenantError(t, err)
	}
	return client, nil
}

// tenantError says where what the client refuses is set.
func tenantError(t tenant, err error) error {
	return cli.Errorf(cli.ExitUsage, "tenant %s, with the URL of UIPATH_URL or %s (and the token URL of UIPATH_IDENTITY_URI or tokenUrl): %w", t.Name, defaultFile, err)
}

func (s settings) clientConfig(t tenant, around surroundings) (orchestrator.Config, error) {
	login, err := t.login(s.tokenPlaces(around.js))
	if err != nil {
		return orchestrator.Config{}, err
	}
	cfg := orchestrator.Config{
		BaseURL: t.URL, Tenant: t.tenancy(), Login: login, Transport: around.transport,
		Timeout: s.Limits.CallTimeout, RetryFor: clientRetries, Logger: around.log.With("tenant", t.Name),
	}
	if around.transport == nil {
		if cfg.RootCAs, cfg.ClientCertificates, err = t.certificates(); err != nil {
			return cfg, cli.Errorf(cli.ExitUsage, "tenant %s: %w", t.Name, err)
		}
	}
	return cfg, nil
}

// certificates reads the tenant's own authorities, which are trusted beside the
// system's, and its client certificate.
func (t tenant) certificates() (*x509.CertPool, []tls.Certificate, error) {
	var roots *x509.CertPool
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // it names the file
		}
		if roots, err = x509.SystemCertPool(); err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, nil, errors.New("caFile " + t.CAFile + " (UIPATH_CA) holds no certificate: give a PEM file with -----BEGIN CERTIFICATE----- in it")
		}
	}
	if t.CertFile == "" {
		return roots, nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, nil, errors.New("client certificate " + t.CertFile + " with key " + t.KeyFile + ": " + err.Error())
	}
	return roots, []tls.Certificate{certificate}, nil
}

// closeFor bounds how long a renewal that is under way may take at the end.
const closeFor = 10 * time.Second

// closeClients ends the clients, none without the refresh token it is just
// getting.
func closeClients(ctx context.Context, tenants []pipeline.Tenant, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeFor)
	defer cancel()
	var closing sync.WaitGroup
	for _, t := range tenants {
		closing.Go(func() {
			if err := t.Client.Close(ctx); err != nil {
				log.Error("login not ended well", "tenant", t.Name, "error", err)
			}
		})
	}
	closing.Wait()
}
