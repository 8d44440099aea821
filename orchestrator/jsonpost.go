package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// jsonPoster sends a login that is JSON, which the oauth2 package does not know.
type jsonPoster struct {
	client    *http.Client
	address   string
	userAgent string
	tenant    string // for X-UIPATH-TenantName, where it is wanted
}

// post gives the answer, whatever it says.
func (p jsonPoster) post(body any) (answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, fmt.Errorf("encode the login: %w", err)
	}
	// A login is made for all callers, hence under no caller's context; the
	// client has a time limit.
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.address, bytes.NewReader(text))
	if err != nil {
		return answer{}, fmt.Errorf("make the login's request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", p.userAgent)
	if p.tenant != "" {
		req.Header.Set("X-Uipath-Tenantname", p.tenant)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err //nolint:wrapcheck // loginError makes one form of all that sources return
	}
	defer resp.Body.Close() //nolint:errcheck // the answer has been read, or its error is told
	return read(resp)
}
