package simulator

import (
	"net/http"
)

// refusal is an answer that is not a success, in the body that Orchestrator uses for it.
type refusal struct {
	status  int
	code    int    // UiPath's errorCode
	name    string // UiPath's name of the code, as bulk answers give it instead of the number
	message string
	shape   shape

	description string // beside an error of the identity server
	own         any    // the whole body, where it is like no other
}

func (r *refusal) Error() string { return r.message }

// shape is one of the body forms that live side by side on the real host.
type shape int

const (
	shapeUsual    shape = iota // message, errorCode, traceId
	shapeEnvelope              // the envelope of 401 and 403
	shapeOAuth                 // the identity server's {"error": ...}
)

// The error codes whose numbers are recorded.
const (
	codeInvalidRequest     = 1000
	codeItemNotFound       = 1002
	codeInvalidArgument    = 1009
	codeDuplicateReference = 1016
	codeUnknownFolder      = 1100
	codeFolderRequired     = 1101
	codePendingJobs        = 1670
	codeReferenceRequired  = 1850
	codeSchemaViolation    = 3219
)

var (
	errInvalidOData   = &refusal{status: http.StatusBadRequest, message: "Invalid OData query options."}
	errFolderRequired = &refusal{status: http.StatusBadRequest, code: codeFolderRequired, message: "A folder is required for this action."}
	errItemMissing    = notFound("QueueItem does not exist.")
	errNoResource     = &refusal{status: http.StatusNotFound, message: "No HTTP resource was found that matches the request."}
	errJobMissing     = notFound("Job does not exist.")
	errProcessMissing = notFound("The job's associated process could not be found")
	errDuplicate      = &refusal{
		status: http.StatusConflict, code: codeDuplicateReference, name: "DuplicateReference",
		message: "Error creating Transaction. Duplicate Reference.",
	}
	errUnauthenticated = &refusal{status: http.StatusUnauthorized, message: "You are not authenticated!", shape: shapeEnvelope}
	errForbidden       = &refusal{status: http.StatusForbidden, message: "You are not authorized!", shape: shapeEnvelope}
)

func notFound(message string) *refusal {
	return &refusal{status: http.StatusNotFound, code: codeItemNotFound, name: "ItemNotFound", message: message}
}

func invalidArgument(message string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeInvalidArgument, name: "InvalidArgument", message: message}
}

// nullParameter is what becomes of a body that does not fit the operation's parameter: the framework hands on null.
func nullParameter(name string) *refusal {
	return &refusal{status: http.StatusBadRequest, message: name + " must not be null"}
}

type usualBody struct {
	Message   string `json:"message"`
	ErrorCode int    `json:"errorCode"`
	TraceID   string `json:"traceId"`
}

type oauthBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

type envelopeBody struct {
	Message             string         `json:"message"`
	ErrorCode           int            `json:"errorCode"`
	Result              any            `json:"result"`
	TargetURL           *string        `json:"targetUrl"`
	Success             bool           `json:"success"`
	Error               *envelopeError `json:"error"`
	UnauthorizedRequest bool           `json:"unAuthorizedRequest"`
	ABP                 bool           `json:"__abp"`
}

type envelopeError struct {
	Code             int    `json:"code"`
	Message          string `json:"message"`
	Details          string `json:"details"`
	ValidationErrors any    `json:"validationErrors"`
}

func (r *refusal) body(traceID string) any {
	if r.own != nil {
		return r.own
	}
	switch r.shape {
	case shapeEnvelope:
		return r.envelope()
	case shapeOAuth:
		return oauthBody{Error: r.message, Description: r.description}
	case shapeUsual:
	}
	return usualBody{Message: r.message, ErrorCode: r.code, TraceID: traceID}
}

func (r *refusal) envelope() envelopeBody {
	details := "Sign in first to perform this operation."
	if r.status == http.StatusForbidden {
		details = "You are not allowed to perform this operation."
	}
	return envelopeBody{
		Message:             r.message,
		Error:               &envelopeError{Message: r.message, Details: details},
		UnauthorizedRequest: r.status == http.StatusForbidden,
		ABP:                 true,
	}
}
