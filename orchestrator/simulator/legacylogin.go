package simulator

import (
	"cmp"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"
)

const (
	grantUserKey    = "user_key"
	legacyTokenLife = 24 * time.Hour
)

// serveLegacyToken is the cloud's login of old, with the user key that its pages gave out.
func (s *Server) serveLegacyToken(w http.ResponseWriter, r *http.Request, _ target) {
	s.calls.count("Token")
	prepared, err := s.prepareLegacyToken(r)
	s.serveGrant(w, r, "Token", prepared, err)
}

func (s *Server) prepareLegacyToken(r *http.Request) (effect, *refusal) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what cannot be parsed is not JSON either
	var given struct {
		GrantType    string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		RefreshToken string `json:"refresh_token"`
	}
	if r.Method != http.MethodPost || media != "application/json" || json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&given) != nil {
		// Unlike the identity server this host had no pages for a browser to see.
		return effect{}, oauthError(http.StatusBadRequest, "invalid_request")
	}
	switch {
	case given.GrantType != grantRefreshToken:
		return effect{}, oauthError(http.StatusBadRequest, "unsupported_grant_type")
	case given.ClientID == "":
		return effect{}, oauthError(s.cfg.InvalidClientStatus, "invalid_client")
	case !accepts(s.cfg.UserKey, given.RefreshToken):
		return effect{}, &refusal{
			status: http.StatusBadRequest, message: "invalid_grant", description: "Unknown or invalid refresh token.", shape: shapeOAuth,
		}
	}
	return granting(func() (tokenBody, bool) {
		body := s.tokens.enter(&login{grant: grantUserKey, client: given.ClientID, org: s.cfg.Org}, legacyTokenLife)
		body.IDToken, body.Scope = s.mint.hex(32), "openid profile email offline_access"
		return body, true
	}), nil
}

type accountsBody struct {
	UserEmail string    `json:"userEmail"`
	Accounts  []account `json:"accounts"`
}

type account struct {
	AccountName        string `json:"accountName"`
	AccountLogicalName string `json:"accountLogicalName"`
}

// serveAccounts tells the user of a legacy token which organisations there are.
func (s *Server) serveAccounts(w http.ResponseWriter, r *http.Request, _ target) {
	s.calls.count("GetAccountsForUser")
	if !s.admitLegacy(w, r) {
		return
	}
	org := cmp.Or(s.cfg.Org, "demo")
	body := accountsBody{UserEmail: "user@example.com", Accounts: []account{{AccountName: org, AccountLogicalName: org}}}
	if len(s.cfg.Users) > 0 {
		body.UserEmail = cmp.Or(s.cfg.Users[0].Email, s.cfg.Users[0].Name)
	}
	s.writeJSON(w, http.StatusOK, body)
}

type serviceInstance struct {
	ServiceInstanceName        string   `json:"serviceInstanceName"`
	ServiceInstanceLogicalName string   `json:"serviceInstanceLogicalName"`
	ServiceType                string   `json:"serviceType"`
	ServiceURL                 string   `json:"serviceUrl"`
	ServiceState               string   `json:"serviceState"`
	UserRolesInService         []string `json:"userRolesInService"`
}

// serveServiceInstances tells the user of a legacy token which tenants an organisation has.
func (s *Server) serveServiceInstances(w http.ResponseWriter, r *http.Request, t target) {
	s.calls.count("GetAllServiceInstances")
	if !s.admitLegacy(w, r) {
		return
	}
	tenant := cmp.Or(s.cfg.Tenant, "Default")
	s.writeJSON(w, http.StatusOK, []serviceInstance{{
		ServiceInstanceName: tenant, ServiceInstanceLogicalName: tenant, ServiceType: "ORCHESTRATOR",
		ServiceURL:   origin(r) + "/" + t.org + "/" + tenant + orchestratorService,
		ServiceState: "ENABLED", UserRolesInService: []string{"Administrator"},
	}})
}

// admitLegacy lets reads with a token of the legacy login pass, and answers the others.
func (s *Server) admitLegacy(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet {
		s.writeRefusal(w, errNoResource)
		return false
	}
	bearer, ok := s.tokens.check(bearerOf(r), time.Now(), s.cfg.PersonalAccessToken)
	if !ok || bearer.login.grant != grantUserKey {
		s.writeRefusal(w, errUnauthenticated)
		return false
	}
	return true
}
