package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/tokens"
	"waybill/orchestrator"
	"waybill/pipeline"
)

// tokenPlace says where what users' logins have left is kept.
type tokenPlace struct {
	Store   string `yaml:"store"`   // file, the default: for the workers of one machine; or bucket: in NATS, for all
	Folder  string `yaml:"folder"`  // of the files; waybill in the state folder of XDG if empty
	KeyFile string `yaml:"keyFile"` // with the age identity that seals them

	key tokens.Key
}

// tokenKeyVariable has the age identity that seals users' logins.
const tokenKeyVariable = "WAYBILL_TOKEN_KEY" //nolint:gosec // G101: the name of it

const (
	storeFile   = "file"
	storeBucket = "bucket"
)

// addEnvironment puts the environment over the file, and reads the key.
func (p *tokenPlace) addEnvironment() error {
	p.Store = cmp.Or(os.Getenv("WAYBILL_TOKEN_STORE"), p.Store)
	p.Folder = cmp.Or(os.Getenv("WAYBILL_TOKEN_FOLDER"), p.Folder)
	if p.Store != "" && p.Store != storeFile && p.Store != storeBucket {
		return cli.Errorf(cli.ExitUsage, "tokens store %q (WAYBILL_TOKEN_STORE): give %s or %s", p.Store, storeFile, storeBucket)
	}
	what := tokenKeyVariable
	text, err := secret(what)
	if err == nil && text == "" && p.KeyFile != "" {
		what = "tokens keyFile"
		text, err = secretFile(what, p.KeyFile)
	}
	if err != nil || text == "" {
		return err
	}
	if p.key, err = tokens.ParseKey(string(text)); err != nil {
		return cli.Errorf(cli.ExitUsage, "%s: %w", what, err)
	}
	return nil
}

// openTokens gives the way to NATS where users' logins are kept there, and what
// to call at the end; nil where none are.
func (s settings) openTokens(ctx context.Context, server cli.NATS, log *slog.Logger) (jetstream.JetStream, func(), error) {
	inNATS := func(t tenant) bool {
		kind, err := t.kind()
		return err == nil && kind == loginUser
	}
	if s.Tokens.Store != storeBucket || !slices.ContainsFunc(s.Tenants, inNATS) {
		return nil, func() {}, nil
	}
	server.Logger = log
	nc, err := server.Connect(ctx, "waybill worker")
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it names the server and what to do
	}
	js, err := openJetStream(nc)
	return js, nc.Close, err
}

// tokenPlaces finds the place for a tenant. js is the way to NATS, nil where
// there is none.
type tokenPlaces struct {
	tokenPlace

	topology pipeline.Topology
	js       jetstream.JetStream
}

func (s settings) tokenPlaces(js jetstream.JetStream) tokenPlaces {
	return tokenPlaces{tokenPlace: s.Tokens, topology: s.topology(), js: js}
}

// wrapStore is set by tests alone, which end the process where it saves.
var wrapStore = func(s orchestrator.TokenStore) orchestrator.TokenStore { return s }

func (p tokenPlaces) of(t tenant) (orchestrator.TokenStore, error) {
	store, err := p.storeOf(t)
	if err != nil {
		return nil, err
	}
	return wrapStore(store), nil
}

func (p tokenPlaces) storeOf(t tenant) (*tokens.Store, error) {
	if p.Store == storeBucket {
		if p.js == nil {
			return nil, errors.New("its login is kept in NATS, which this command does not use")
		}
		return tokens.Bucket(pipeline.NewTokenBucket(p.js, p.topology), t.Name, p.key) //nolint:wrapcheck // the caller names the tenant
	}
	folder := p.Folder
	if folder == "" {
		state, err := stateFolder()
		if err != nil {
			return nil, err
		}
		folder = filepath.Join(state, "waybill")
	}
	return tokens.File(filepath.Join(folder, t.tokenFile()), p.key), nil
}

// tokenFile is readable, and by its hash never the same for two tenants.
func (t tenant) tokenFile() string {
	sum := sha256.Sum256([]byte(t.URL + "\n" + t.ClientID))
	return url.PathEscape(t.Name) + "-" + hex.EncodeToString(sum[:4]) + ".login"
}

// stateFolder is the user's, by the XDG base directory specification.
func stateFolder() (string, error) {
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return state, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no folder to keep the login in: set WAYBILL_TOKEN_FOLDER or XDG_STATE_HOME: %w", err)
	}
	return filepath.Join(home, ".local", "state"), nil
}
