package orchestrator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// form is what an error's body is made of.
type form int

const (
	formNone form = iota // empty
	formJSON
	formText
	formMarkup // HTML, XML
)

// complaint is what an error's body says.
type complaint struct {
	form    form
	message string
	code    int
	oauth   string // the word of a token endpoint: invalid_client, ...
	traceID string
}

// complaint reads an error's body, whichever of the many forms it has.
func (a answer) complaint() complaint {
	body := bytes.TrimSpace(bytes.TrimPrefix(a.body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return complaint{}
	}
	var wire errorBody
	if err := json.Unmarshal(body, &wire); err == nil || isTypeError(err) {
		return wire.complaint()
	}
	if body[0] == '<' || strings.Contains(a.mediaType(), "html") {
		return complaint{form: formMarkup}
	}
	return complaint{form: formText, message: clean(string(body))}
}

// isTypeError tells JSON with a member of an unexpected type, of which the other
// members have been read, from what is not JSON.
func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

// errorBody has the members of all error bodies known on one Orchestrator host:
// its own {message, errorCode, traceId}; the ABP envelope around 401 and 403;
// ProblemDetails; {StatusCode, StatusDescription, Message}; {errorMessage}; and
// the token endpoint's {error, error_description}. JSON names match without
// regard to case.
type errorBody struct {
	Message           string              `json:"message"`
	ErrorCode         looseInt            `json:"errorCode"`
	TraceID           string              `json:"traceId"`
	ErrorMessage      string              `json:"errorMessage"`
	Error             nestedError         `json:"error"`
	ErrorDescription  string              `json:"error_description"`
	Title             string              `json:"title"`
	Detail            string              `json:"detail"`
	Errors            map[string][]string `json:"errors"`
	StatusDescription string              `json:"StatusDescription"`
}

func (b errorBody) complaint() complaint {
	message := cmp.Or(b.Message, b.Error.Message, b.ErrorMessage, b.problem(), b.oauthText(), b.StatusDescription)
	if details := b.Error.Details; details != "" && details != message {
		message = strings.TrimSpace(message + " " + details)
	}
	return complaint{
		form:    formJSON,
		message: clean(message),
		code:    cmp.Or(int(b.ErrorCode), int(b.Error.Code)),
		oauth:   b.Error.Word,
		traceID: clean(b.TraceID),
	}
}

// problem is the text of a ProblemDetails body.
func (b errorBody) problem() string {
	parts := []string{b.Title, b.Detail}
	for _, field := range slices.Sorted(maps.Keys(b.Errors)) {
		parts = append(parts, field+": "+strings.Join(b.Errors[field], " "))
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// oauthText is the text of a token endpoint's refusal.
func (b errorBody) oauthText() string {
	if b.ErrorDescription == "" {
		return b.Error.Word
	}
	return strings.TrimPrefix(b.Error.Word+": "+b.ErrorDescription, ": ")
}

// nestedError is the member "error": an object in the ABP envelope, a word from
// a token endpoint.
type nestedError struct {
	Word    string   `json:"-"`
	Code    looseInt `json:"code"`
	Message string   `json:"message"`
	Details string   `json:"details"`
}

// UnmarshalJSON accepts both forms and ignores any other.
func (e *nestedError) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &e.Word) == nil {
		return nil
	}
	type object nestedError
	_ = json.Unmarshal(data, (*object)(e)) // what cannot be read stays empty
	return nil
}

// looseInt is a number that some versions write as a string. What is neither
// counts as absent: an odd code must not hide the message beside it.
type looseInt int

// UnmarshalJSON accepts 1016 and "1016".
func (n *looseInt) UnmarshalJSON(data []byte) error {
	if i, err := strconv.Atoi(strings.Trim(string(data), `"`)); err == nil {
		*n = looseInt(i)
	}
	return nil
}

// clean makes text from outside fit for one line of a log.
func clean(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
}

// short cuts text from outside off where it says no more. Secrets are taken out
// before: half of one could not be found any more.
func short(text string) string {
	if runes := []rune(text); len(runes) > maxMessage {
		return string(runes[:maxMessage]) + "…"
	}
	return text
}
