package doctor_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
	"waybill/orchestrator"
	"waybill/orchestrator/simulator"
)

// keeps is a store with one grant, or none.
type keeps struct {
	grant orchestrator.Grant
	err   error
}

func (k keeps) Load(context.Context) (orchestrator.Grant, string, error) {
	return k.grant, "1", k.err
}

func (keeps) Save(context.Context, orchestrator.Grant, string) error {
	return errors.New("nothing is to be saved here")
}

func TestStoredLogin(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	grant := func(tokens int, renewed time.Duration) keeps {
		g := orchestrator.Grant{ClientID: "id", RenewedAt: time.Now().Add(-renewed)}
		for range tokens {
			g.RefreshTokens = append(g.RefreshTokens, secret)
		}
		return keeps{grant: g}
	}
	for name, test := range map[string]struct {
		store  keeps
		sealed bool
		mark   doctor.Mark
		text   string
		code   cli.Code
	}{
		"two tokens":      {store: grant(2, time.Hour), sealed: true, mark: doctor.OK, text: "2 refresh tokens in the file, sealed, renewed today"},
		"one token":       {store: grant(1, 3*day), mark: doctor.Warn, text: "renewed 3 days ago -> run `worker login` Default to have two"},
		"long unused":     {store: grant(2, 50*day), mark: doctor.Warn, text: "renewed 50 days ago -> let worker run use it"},
		"no token":        {store: grant(0, day), mark: doctor.Fail, text: "run `worker login` Default", code: cli.ExitCredentials},
		"nobody":          {store: keeps{err: orchestrator.ErrNoGrant}, mark: doctor.Fail, text: "nothing in the file -> run `worker login` Default", code: cli.ExitCredentials},
		"cannot be read ": {store: keeps{err: errors.New("it is sealed: set WAYBILL_TOKEN_KEY")}, mark: doctor.Fail, text: "it is sealed", code: cli.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tenant := tenantAt(t, simulated(t, simulator.Config{}))
			tenant.Store = &doctor.Store{TokenStore: test.store, Name: "the file", Sealed: test.sealed}
			findings := look(t, noNATS(), tenant)
			expect(t, findings, test.mark, "stored login", test.text)
			if got := code(ofTenants(findings)); got != test.code {
				t.Errorf("got exit code %d, want %d", got, test.code)
			}
			if test.mark == doctor.Fail {
				expect(t, findings, doctor.Skip, "login", "mend the stored login first")
				expect(t, findings, doctor.Skip, "scopes", "mend the login first")
				return
			}
			// The store is as it was: the token was taken from there.
			expect(t, findings, doctor.OK, "login", "not tried by a renewal")
		})
	}
}
