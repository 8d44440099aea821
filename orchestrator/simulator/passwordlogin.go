package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

const grantPassword = "password"

// passwordBody is what a user logs in with on-premises.
type passwordBody struct {
	TenancyName            string `json:"tenancyName"`
	UsernameOrEmailAddress string `json:"usernameOrEmailAddress"`
	Password               string `json:"password"`
}

// abpBody is the framework's own envelope.
type abpBody struct {
	Result              any            `json:"result"`
	TargetURL           *string        `json:"targetUrl"`
	Success             bool           `json:"success"`
	Error               *envelopeError `json:"error"`
	UnauthorizedRequest bool           `json:"unAuthorizedRequest"`
	ABP                 bool           `json:"__abp"`
}

type validationError struct {
	Message string   `json:"message"`
	Members []string `json:"members"`
}

type credentialsBody struct {
	Message     string  `json:"message"`
	ErrorCode   int     `json:"errorCode"`
	ResourceIDs []int64 `json:"resourceIds"`
}

// serveAuthenticate is the login of a standalone installation.
func (s *Server) serveAuthenticate(w http.ResponseWriter, r *http.Request, _ target) {
	s.calls.count("Authenticate")
	prepared, err := s.prepareAuthenticate(r)
	s.serveGrant(w, r, "Authenticate", prepared, err)
}

func (s *Server) prepareAuthenticate(r *http.Request) (effect, *refusal) {
	if r.Method != http.MethodPost {
		return effect{}, errNoResource
	}
	var given passwordBody
	if json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&given) != nil {
		given = passwordBody{} // the framework binds nothing, and then misses everything
	}
	if missing := given.missing(); len(missing) > 0 {
		return effect{}, missingFields(missing)
	}
	user, ok := s.findUser(given.UsernameOrEmailAddress, given.Password)
	// Without a name it is the installation's one tenant.
	if !ok || (given.TenancyName != "" && !named(s.cfg.Tenant, given.TenancyName)) {
		const message = "Invalid credentials, failed to login."
		return effect{}, &refusal{
			status: s.cfg.InvalidCredentialsStatus, code: codeInvalidRequest, message: message,
			own: credentialsBody{Message: message, ErrorCode: codeInvalidRequest},
		}
	}
	return effect{carries: neverCarries, apply: func() (answer, *refusal) {
		issued := s.tokens.enter(&login{grant: grantPassword, org: user.Org}, s.cfg.PasswordTokenLife)
		return answer{status: http.StatusOK, body: abpBody{Result: issued.AccessToken, Success: true, ABP: true}}, nil
	}}, nil
}

func (b passwordBody) missing() []string {
	var missing []string
	if b.UsernameOrEmailAddress == "" {
		missing = append(missing, "usernameOrEmailAddress")
	}
	if b.Password == "" {
		missing = append(missing, "password")
	}
	return missing
}

// missingFields is the framework's refusal of a body without members that it needs.
func missingFields(missing []string) *refusal {
	const message = "Your request is not valid!"
	var details strings.Builder
	details.WriteString("The following errors were detected during validation.\r\n")
	faults := make([]validationError, 0, len(missing))
	for _, member := range missing {
		fault := "The " + strings.ToUpper(member[:1]) + member[1:] + " field is required."
		details.WriteString(" - " + fault + "\r\n")
		faults = append(faults, validationError{Message: fault, Members: []string{member}})
	}
	return &refusal{status: http.StatusBadRequest, message: message, own: abpBody{
		Error: &envelopeError{Message: message, Details: details.String(), ValidationErrors: faults}, ABP: true,
	}}
}
