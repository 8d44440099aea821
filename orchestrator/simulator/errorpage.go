package simulator

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
)

// errorMessage is what the identity server tells its own error page, within the page's URL.
type errorMessage struct {
	Created int64
	Data    errorData
}

type errorData struct {
	DisplayMode      *string
	UILocales        *string `json:"UiLocales"`
	Error            string
	ErrorDescription string
	RequestID        string  `json:"RequestId"`
	ActivityID       string  `json:"ActivityId"`
	RedirectURI      *string `json:"RedirectUri"`
	ResponseMode     *string
	ClientID         string `json:"ClientId"`
}

// redirectToErrorPage is for what must not be told to the redirect URI.
func (s *Server) redirectToErrorPage(w http.ResponseWriter, r *http.Request, t target, a authorization, code, description string) {
	message, err := json.Marshal(errorMessage{Created: ticks(s.now()), Data: errorData{
		Error: code, ErrorDescription: description, RequestID: s.mint.requestID(), ActivityID: s.mint.traceID(),
		ClientID: a.Get("client_id"),
	}})
	if err != nil {
		s.log.Error("error message cannot be encoded", "error", err)
	}
	query := url.Values{"errorCode": {code}, "errorId": {base64.StdEncoding.EncodeToString(message)}}
	http.Redirect(w, r, origin(r)+t.identityRoot()+"/web/?"+query.Encode(), http.StatusFound) //nolint:gosec // G710: to the host that was called
}

func (s *Server) serveErrorPage(w http.ResponseWriter, r *http.Request, _ target) {
	page := loginPage{Message: "Something went wrong."}
	var message errorMessage
	text, err := base64.StdEncoding.DecodeString(r.URL.Query().Get("errorId"))
	if err == nil && json.Unmarshal(text, &message) == nil {
		page.Message = message.Data.Error + ": " + message.Data.ErrorDescription
	}
	s.writeLoginPage(w, page)
}
