package simulator

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// TestOpenAPI holds every request and every success of the tour against UiPath's own definition.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	name := os.Getenv("ORCHESTRATOR_OPENAPI")
	if name == "" {
		t.Skip("ORCHESTRATOR_OPENAPI does not name UiPath's OpenAPI file, which is not part of this project")
	}
	router := loadOpenAPI(t, name)
	checked := make(map[string]int)
	for _, x := range tour(t) {
		input, err := requestInput(router, x)
		if err != nil {
			checked["not in the definition"]++
			isLogin := strings.Contains(x.url, "/identity_/") || !strings.HasPrefix(x.url, testBase)
			if !isLogin && !strings.Contains(x.url, "/odata/Jobs/UiPath.Server.Configuration.OData.GetByKey") {
				t.Errorf("%s %s: %v", x.method, x.url, err)
			}
			continue
		}
		checked[input.Route.Operation.OperationID]++
		if x.status >= http.StatusBadRequest || strings.HasPrefix(x.answer.Get("Content-Type"), "text/html") {
			continue // the definition declares no errors
		}
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("request %s %s %s: %v", x.method, x.url, x.sent, err)
		}
		if err := validateAnswer(t, input, x); err != nil {
			t.Errorf("answer to %s %s: %v\n%s", x.method, x.url, err, x.body)
		}
		// The check has to bite: a body spoilt in one member must not pass.
		for member, spoilt := range map[string]string{`"Status":"`: `"Status":"Un`, `"State":"`: `"State":"Un`, `"Key":"`: `"Key":"no`, `"Success":`: `"Success":5,"":`} {
			bad := x
			bad.body = bytes.Replace(x.body, []byte(member), []byte(spoilt), 1)
			isRelease := strings.Contains(x.url, "/Releases") && member == `"Key":"` // no GUID by definition
			if !bytes.Equal(bad.body, x.body) && !isRelease && validateAnswer(t, input, bad) == nil {
				t.Errorf("answer to %s %s passes with %s", x.method, x.url, spoilt)
			}
		}
	}
	t.Logf("exchanges by operation: %v", checked)
}

func validateAnswer(t *testing.T, input *openapi3filter.RequestValidationInput, x exchange) error {
	t.Helper()
	return openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: x.status, Header: x.answer, Body: io.NopCloser(bytes.NewReader(withoutNulls(x.body))),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}

func loadOpenAPI(t *testing.T, name string) routers.Router {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// The definition says that values of dynamic members are objects, and its own examples show scalars.
	for _, schema := range []string{"QueueItemDto", "QueueItemDataDto"} {
		for _, member := range []string{"SpecificContent", "Output", "Analytics"} {
			if property := document.Components.Schemas[schema].Value.Properties[member]; property != nil {
				property.Value.AdditionalProperties = openapi3.BoolSchema{}
			}
		}
	}
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringForUUIDOfRFC4122))
	document.Servers = openapi3.Servers{{URL: testBase}}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// requestInput names the folder by id, the only header that the definition knows.
func requestInput(router routers.Router, x exchange) (*openapi3filter.RequestValidationInput, error) {
	r, err := http.NewRequest(x.method, x.url, bytes.NewReader(withoutNulls(x.sent))) //nolint:noctx // it is not sent
	if err != nil {
		return nil, err
	}
	r.Header = x.header.Clone()
	if r.Header.Get(headerFolderPath) != "" {
		r.Header.Set(headerFolderID, "1")
	}
	route, params, err := router.FindRoute(r)
	if err != nil {
		return nil, err
	}
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}, nil
}

// withoutNulls drops members that are null: the definition does not declare them nullable, and every recorded body has
// them.
func withoutNulls(body []byte) []byte {
	var v any
	if len(body) == 0 || json.Unmarshal(body, &v) != nil {
		return body
	}
	dropNulls(v)
	cleaned, err := json.Marshal(v)
	if err != nil {
		return body
	}
	return cleaned
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if member == nil {
				delete(v, name)
			}
			dropNulls(member)
		}
	case []any:
		for _, element := range v {
			dropNulls(element)
		}
	}
}
