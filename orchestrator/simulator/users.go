package simulator

import (
	"cmp"
	"strings"
)

// User is somebody who can log in with a password.
type User struct {
	// Name and Email are what the user may log in by, in upper or lower case. Email may be empty.
	Name, Email string
	Password    string
	// Org is the organisation that the user belongs to. Empty: Config.Org. Tokens for another one are refused by the API.
	Org string
}

// findUser checks a user name, or e-mail address, and password.
func (s *Server) findUser(name, password string) (User, bool) {
	if name == "" || password == "" {
		return User{}, false
	}
	if len(s.cfg.Users) == 0 {
		return User{Name: name}, true
	}
	for _, u := range s.cfg.Users {
		if (strings.EqualFold(u.Name, name) || strings.EqualFold(u.Email, name)) && u.Password == password {
			return u, true
		}
	}
	return User{}, false
}

// belongsTo says whether a user may log in to an organisation. Without names there is but one organisation.
func (s *Server) belongsTo(u User, org string) bool {
	home := cmp.Or(u.Org, s.cfg.Org)
	return home == "" || org == "" || strings.EqualFold(home, org)
}
