package simulator

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"time"
)

//go:embed loginpage.html
var loginPageText string

var loginPageTemplate = template.Must(template.New("login page").Parse(loginPageText))

// loginPage is what the identity server shows to a browser.
type loginPage struct {
	Message   string
	Action    string // where the form is posted; empty: there is none
	ReturnURL string // the request that the login is for
	Username  string
}

const sessionCookie = "idsrv.session"

func (s *Server) writeLoginPage(w http.ResponseWriter, page loginPage) {
	var text bytes.Buffer
	if err := loginPageTemplate.Execute(&text, page); err != nil {
		s.log.Error("page cannot be written", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	s.write(w, http.StatusOK, text.Bytes())
}

// serveLogin shows the login page and takes what is entered there.
func (s *Server) serveLogin(w http.ResponseWriter, r *http.Request, t target) {
	switch r.Method {
	case http.MethodGet:
		page := loginPage{Action: t.prefix + "/web/login", ReturnURL: r.URL.Query().Get("returnUrl")}
		if code := r.URL.Query().Get("errorCode"); code != "" {
			page.Message = "You cannot be logged in to this organization (error " + code + "). Use another account."
		}
		s.writeLoginPage(w, page)
	case http.MethodPost:
		s.calls.count("Login")
		s.logIn(w, r, t)
	default:
		s.writeHTML(w)
	}
}

func (s *Server) logIn(w http.ResponseWriter, r *http.Request, t target) {
	back, err := url.Parse(r.PostFormValue("returnUrl"))
	if err != nil {
		back = &url.URL{} // then it asks for nothing, which is refused like any other bad request
	}
	a := s.newAuthorization(back.Query(), t)
	if !s.admitAuthorization(w, r, t, a) {
		return
	}
	if r.PostForm.Has("cancel") {
		redirectBack(w, r, a, url.Values{"error": {"access_denied"}, "error_description": {"The user has cancelled the login"}})
		return
	}
	name := r.PostFormValue("username")
	user, ok := s.findUser(name, r.PostFormValue("password"))
	if !ok {
		s.writeLoginPage(w, loginPage{
			Message: "Invalid credentials, failed to login.", Action: t.prefix + "/web/login", ReturnURL: back.String(), Username: name,
		})
		return
	}
	if !s.belongsTo(user, a.org) {
		s.redirectStranger(w, r, t, a)
		return
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: without TLS, as on localhost, no browser would send a secure one back
		Name: sessionCookie, Value: s.tokens.startSession(user), Path: "/",
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: isTLS(r),
	})
	s.redirectWithCode(w, r, a, user)
}

func (t *tokens) startSession(u User) (cookie string) {
	cookie = t.mint.hex(16)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions[cookie] = u
	return cookie
}

// userOf finds out who has logged in with this browser.
func (t *tokens) userOf(r *http.Request) (User, bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return User{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	user, ok := t.sessions[cookie.Value]
	return user, ok
}

// redirectStranger sends a user of another organisation to the page that says so.
func (s *Server) redirectStranger(w http.ResponseWriter, r *http.Request, t target, a authorization) {
	query := url.Values{"errorCode": {"219"}, "returnUrl": {returnURL(t, a)}, "traceId": {s.mint.requestID()}}
	http.Redirect(w, r, origin(r)+t.identityRoot()+"/web/login?"+query.Encode(), http.StatusFound) //nolint:gosec // G710: to the host that was called
}

// identityRoot is where the identity server shows its own pages: in the cloud, outside of any organisation.
func (t target) identityRoot() string {
	if t.org != "" {
		return "/identity_"
	}
	return t.prefix
}

// ticks is a time as .NET counts it: in units of 100 ns since the year 1.
func ticks(t time.Time) int64 {
	const unixEpoch = 621355968000000000
	return unixEpoch + t.UnixNano()/100
}
