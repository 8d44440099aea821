package orchestrator_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"waybill/orchestrator"
)

// A server that repeats what it was sent does not get a secret into an error.
func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	const secret, token = "s3cret/with+signs", "a-bearer-token"
	for _, test := range []struct {
		name   string
		refuse bool // the login
	}{{"login", true}, {"call", false}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if !strings.HasSuffix(r.URL.Path, "/connect/token") {
					w.WriteHeader(http.StatusBadRequest)
					fmt.Fprintf(w, `{"message":"bad header %s","errorCode":1009}`, r.Header.Get("Authorization"))
					return
				}
				form, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				if test.refuse {
					w.WriteHeader(http.StatusBadRequest)
					fmt.Fprintf(w, `{"error":"invalid_client","error_description":"got %s with %s"}`, form, secret)
					return
				}
				fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600,"token_type":"Bearer"}`, token)
			}))
			defer server.Close()
			client, err := orchestrator.New(orchestrator.Config{
				BaseURL: server.URL + "/org/tenant/orchestrator_",
				Login:   orchestrator.ClientCredentials{ClientID: "id", ClientSecret: secret}, RetryFor: -1,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.CloseIdleConnections()
			_, err = client.Folder(t.Context(), orchestrator.FolderRef{Path: "Shared"})
			text := fmt.Sprint(err)
			if err == nil || !strings.Contains(text, "[hidden]") {
				t.Errorf("got %q, want an error with the secret hidden", text)
			}
			for _, word := range []string{secret, "s3cret%2Fwith%2Bsigns", token} {
				if strings.Contains(text, word) {
					t.Errorf("the error shows %q: %s", word, text)
				}
			}
		})
	}
}
