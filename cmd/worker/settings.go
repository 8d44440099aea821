package main

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// defaultFile is read when no other is named and it is there.
const defaultFile = "waybill.yaml"

// settings is what waybill.yaml may hold. An unknown member is an error.
type settings struct {
	Prefix    string        `yaml:"prefix"`    // first token of all subjects; uipath
	Replicas  int           `yaml:"replicas"`  // of each stream; 1
	Retention time.Duration `yaml:"retention"` // of the ledger; 720h
	Worker    string        `yaml:"worker"`    // this process's name in the ledger
	Limits    limits        `yaml:"limits"`
	Tokens    tokenPlace    `yaml:"tokens"` // where users' logins are kept
	Tenants   []tenant      `yaml:"tenants"`
}

// limits are the times and sizes of pipeline.Config.
type limits struct {
	AckWait     time.Duration `yaml:"ackWait"`
	CallTimeout time.Duration `yaml:"callTimeout"`
	Hold        time.Duration `yaml:"hold"`
	Settle      time.Duration `yaml:"settle"`
	Patience    time.Duration `yaml:"patience"`
	Linger      time.Duration `yaml:"linger"`
	Drain       time.Duration `yaml:"drain"`
	MaxAttempts int           `yaml:"maxAttempts"`
	BulkItems   int           `yaml:"bulkItems"`
	BulkBytes   int           `yaml:"bulkBytes"`
	MaxHeld     int           `yaml:"maxHeld"`
}

// loadSettings reads the file, if there is one, and what the environment says
// over it.
func loadSettings(path string) (settings, error) {
	s, err := readSettings(path)
	if err != nil {
		return s, err
	}
	s.Prefix = cmp.Or(environmentPrefix(), s.Prefix)
	if err := s.Tokens.addEnvironment(); err != nil {
		return s, err
	}
	for i := range s.Tenants {
		s.Tenants[i].Name = cmp.Or(s.Tenants[i].Name, cli.TenantOfURL(s.Tenants[i].URL), cli.DefaultTenant)
	}
	if err := s.addTenantFromEnvironment(); err != nil {
		return s, err
	}
	for i := range s.Tenants {
		if err := s.Tenants[i].complete(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func environmentPrefix() string { return os.Getenv("WAYBILL_PREFIX") }

func readSettings(path string) (settings, error) {
	var s settings
	data, err := os.ReadFile(cmp.Or(path, defaultFile))
	if path == "" && errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, cli.Errorf(cli.ExitUsage, "read configuration: %w", err)
	}
	if s, err = parseSettings(data); err != nil {
		return s, cli.Errorf(cli.ExitUsage, "%s: %w", cmp.Or(path, defaultFile), err)
	}
	return s, nil
}

// parseSettings reads the file's text strictly; the error has line and column.
func parseSettings(data []byte) (settings, error) {
	var s settings
	if err := yaml.UnmarshalWithOptions(data, &s, yaml.Strict()); err != nil {
		return settings{}, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	return s, nil
}

// applyTo sets what the file says.
func (l limits) applyTo(c *pipeline.Config) {
	c.AckWait, c.CallTimeout, c.Hold, c.Settle = l.AckWait, l.CallTimeout, l.Hold, l.Settle
	c.Patience, c.Linger, c.Drain, c.MaxAttempts = l.Patience, l.Linger, l.Drain, l.MaxAttempts
	c.BulkItems, c.BulkBytes, c.MaxHeld = l.BulkItems, l.BulkBytes, l.MaxHeld
}

// noTenant is what to do where nothing says which Orchestrator to call.
func noTenant() error {
	return cli.Errorf(cli.ExitUsage, "no Orchestrator to call: set UIPATH_URL (such as https://cloud.uipath.com/organization/tenant/orchestrator_) with UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET_FILE, or list tenants in %s; to try things out, use worker dev", defaultFile)
}
