package orchestrator_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"waybill/orchestrator"
)

// What a server that repeats everything it was sent may have from us.
const (
	sentSecret  = "s3cret/with+signs &ß\"\\" // of whatever login
	sentRefresh = "r3fresh/with+signs="
	sentAccess  = "a-bearer-token"
)

// spellings are how a secret may come back.
func spellings(secret string) []string {
	asJSON, err := json.Marshal(secret)
	if err != nil {
		panic(err) // a text always encodes
	}
	return []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(string(asJSON), `"`), base64.StdEncoding.EncodeToString([]byte(secret))}
}

// repeating answers with what it was sent, as form says.
func repeating(status int, contentType, form string, loginOnly bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		isLogin := strings.HasSuffix(r.URL.Path, "/token") || strings.HasSuffix(r.URL.Path, "/Authenticate")
		if !isLogin && loginOnly {
			http.NotFound(w, r)
			return
		}
		if isLogin && !loginOnly {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"result":%q,"success":true,"expires_in":3600,"token_type":"Bearer"}`, sentAccess, sentAccess)
			return
		}
		body, _ := io.ReadAll(r.Body) // what is missing is not repeated
		said, _ := json.Marshal(fmt.Sprintf("%s %s; user %v", body, r.Header, r.URL.User))
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Location", "https://elsewhere.example/?"+string(body))
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, form, strings.Trim(string(said), `"`))
	}
}

// TestErrorsHideSecrets: a server that repeats what it was sent does not get a
// secret into an error, whatever the login and the form of the answer.
func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	const jsonType = "application/json"
	shapes := []struct {
		status      int
		contentType string
		form        string
	}{
		{400, jsonType, `{"error":"invalid_client","error_description":"%s"}`},
		{400, jsonType, `{"error":"%s"}`},
		{401, jsonType, `{"message":"%s","errorCode":1000}`},
		{200, jsonType, `{"result":null,"success":false,"error":{"message":"%s","details":"%[1]s"}}`},
		{200, jsonType, `{"access_token":7,"x":"%s"}`},
		{200, "text/html", `<title>%s</title>`},
		{400, "text/plain", `%s`},
		{503, "text/plain", `%s`},
		{302, "text/html", `%s`},
		{400, jsonType, `{"title":"%s","traceId":"%[1]s","errors":{"%[1]s":["%[1]s"]}}`},
	}
	for name, login := range map[string]orchestrator.Login{
		"form":        orchestrator.ClientCredentials{ClientID: "id", ClientSecret: sentSecret},
		"header":      orchestrator.ClientCredentials{ClientID: "id", ClientSecret: sentSecret, BasicAuth: true},
		"password":    orchestrator.Password{Username: "ann", Password: sentSecret},
		"user key":    orchestrator.UserKey{ClientID: "id", Key: sentSecret},
		"user":        orchestrator.RefreshToken{ClientID: "id", ClientSecret: sentSecret},
		"user, basic": orchestrator.RefreshToken{ClientID: "id", ClientSecret: sentSecret, BasicAuth: true},
	} {
		for _, shape := range shapes {
			for _, loginOnly := range []bool{true, false} {
				t.Run(fmt.Sprint(name, "/", shape.status, " ", shape.form, "/", loginOnly), func(t *testing.T) {
					t.Parallel()
					server := httptest.NewServer(repeating(shape.status, shape.contentType, shape.form, loginOnly))
					defer server.Close()
					err := call(t, server.URL, login)
					if err == nil {
						t.Fatal("no error")
					}
					for _, secret := range []string{sentSecret, sentRefresh, sentAccess} {
						for _, spelling := range spellings(secret) {
							if strings.Contains(err.Error(), spelling) {
								t.Errorf("the error shows %q: %v", spelling, err)
							}
						}
					}
				})
			}
		}
	}
}

// call makes one call by a login at an address.
func call(t *testing.T, address string, login orchestrator.Login) error {
	t.Helper()
	switch l := login.(type) {
	case orchestrator.UserKey:
		l.TokenURL = address + "/oauth/token"
		login = l
	case orchestrator.RefreshToken:
		l.TokenURL = address + "/connect/token"
		l.Store = &memoryStore{revision: 1, grant: orchestrator.Grant{TokenURL: l.TokenURL, ClientID: l.ClientID, RefreshTokens: []orchestrator.Secret{sentRefresh}}}
		login = l
	}
	client, err := orchestrator.New(orchestrator.Config{BaseURL: address, Login: login, RetryFor: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	_, err = client.AddQueueItem(t.Context(), orchestrator.Folder{}, orchestrator.QueueItemData{Name: "Invoices"})
	return err
}
