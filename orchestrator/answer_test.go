package orchestrator

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const (
	jsonType  = "application/json; charset=utf-8"
	htmlLogin = "<!DOCTYPE html><html><head><title>Sign in\n - Proxy</title></head><body>x</body></html>"
)

func TestFailureOfEveryErrorBody(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status      int
		contentType string
		body        string
		write, read Kind
		code        int
		message     string
		trace       string
		notFound    bool
	}{
		"orchestrator's own": {
			status: 400, contentType: jsonType,
			body:  `{"message":"The field take must be between 0 and 100","errorCode":1009,"traceId":"00-a1-b2-00"}`,
			write: Rejected, read: Rejected, code: 1009, message: "The field take must be between 0 and 100", trace: "00-a1-b2-00",
		},
		"null members": {
			status: 400, contentType: jsonType, body: `{"message":"no","errorCode":null,"traceId":null,"resourceIds":null}`,
			write: Rejected, read: Rejected, message: "no",
		},
		"code as text": {
			status: 409, contentType: jsonType, body: `{"message":"Duplicate Reference.","errorCode":"1016"}`,
			write: Duplicate, read: Duplicate, code: 1016, message: "Duplicate Reference.",
		},
		"odd members": {
			status: 400, contentType: jsonType, body: `{"errorCode":{"a":1},"traceId":7,"errors":[1],"message":"still read"}`,
			write: Rejected, read: Rejected, message: "still read",
		},
		"duplicate reference": {
			status: 409, contentType: jsonType, body: `{"message":"Error creating Transaction. Duplicate Reference.","errorCode":1016}`,
			write: Duplicate, read: Duplicate, code: 1016, message: "Error creating Transaction. Duplicate Reference.",
		},
		"other conflict": {
			status: 409, contentType: jsonType, body: `{"message":"no robot","errorCode":1671}`,
			write: Rejected, read: Rejected, code: 1671, message: "no robot",
		},
		"queue missing": {
			status: 404, contentType: jsonType, body: `{"message":"Q does not exist.","errorCode":1002}`,
			write: Rejected, read: Rejected, code: 1002, message: "Q does not exist.", notFound: true,
		},
		"process missing, no code": {
			status: 404, contentType: jsonType, body: `{"message":"The job's associated process could not be found"}`,
			write: Rejected, read: Rejected, message: "The job's associated process could not be found", notFound: true,
		},
		"folder unknown with 403": {
			status: 403, contentType: jsonType, body: `{"message":"Folder does not exist","errorCode":1100}`,
			write: Rejected, read: Rejected, code: 1100, message: "Folder does not exist",
		},
		"abp envelope": {
			status: 403, contentType: jsonType,
			body: `{"message":"You are not authorized!","errorCode":0,"result":null,"success":false,"error":{"code":0,"message":"You are not authorized!",` +
				`"details":"You are not allowed to perform this operation.","validationErrors":null},"unAuthorizedRequest":true,"__abp":true}`,
			write: Denied, read: Denied, message: "You are not authorized! You are not allowed to perform this operation.",
		},
		"abp envelope alone": {
			status: 401, contentType: jsonType, body: `{"error":{"code":12,"message":"You are not authenticated!","details":null}}`,
			write: Denied, read: Denied, code: 12, message: "You are not authenticated!",
		},
		"problem details": {
			status: 422, contentType: "application/problem+json",
			body:  `{"type":"https://x","title":"One or more validation errors occurred.","status":422,"errors":{"b":["two","three"],"a":["one"]},"traceId":"00-t"}`,
			write: Rejected, read: Rejected, message: "One or more validation errors occurred. a: one b: two three", trace: "00-t",
		},
		"status description": {
			status: 400, contentType: jsonType, body: `{"StatusCode":400,"StatusDescription":"BadRequest","Message":"Invalid Entity Names."}`,
			write: Rejected, read: Rejected, message: "Invalid Entity Names.",
		},
		"status description alone": {
			status: 400, contentType: jsonType, body: `{"StatusCode":400,"StatusDescription":"BadRequest"}`,
			write: Rejected, read: Rejected, message: "BadRequest",
		},
		"error message": {
			status: 400, contentType: jsonType, body: `{"errorMessage":"Scope(s) 'x' is(are) invalid."}`,
			write: Rejected, read: Rejected, message: "Scope(s) 'x' is(are) invalid.",
		},
		"json that is no object": {
			status: 400, contentType: jsonType, body: `[1,2]`, write: Rejected, read: Rejected,
		},
		"no healthy upstream": {
			status: 503, contentType: "text/plain", body: "no healthy upstream",
			write: Transient, read: Transient, message: "no healthy upstream",
		},
		"no healthy upstream said by the service": {
			status: 503, contentType: jsonType, body: `{"message":"no healthy upstream"}`,
			write: Uncertain, read: Transient, message: "no healthy upstream",
		},
		"connection lost behind the gateway": {
			status: 503, contentType: "text/plain", body: "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
			write: Uncertain, read: Transient,
			message: "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
		},
		"html 502": {
			status: 502, contentType: "text/html", body: "<html><title>502 Bad Gateway</title></html>",
			write: Uncertain, read: Transient, message: `502 Bad Gateway with text/html instead of JSON (a page titled "502 Bad Gateway")`,
		},
		"html without type": {
			status: 500, body: htmlLogin,
			write: Uncertain, read: Transient, message: `500 Internal Server Error with a body without content type instead of JSON (a page titled "Sign in - Proxy")`,
		},
		"xml": {
			status: 403, contentType: "application/xml", body: `<?xml version="1.0"?><Error><Code>AuthenticationFailed</Code></Error>`,
			write: Denied, read: Denied, message: "403 Forbidden with application/xml instead of JSON",
		},
		"cloudflare 524": {
			status: 524, contentType: "text/html", body: "<html></html>",
			write: Uncertain, read: Transient, message: "524 with text/html instead of JSON",
		},
		"empty 500": {
			status: 500, write: Uncertain, read: Transient, message: "500 Internal Server Error with an empty body instead of JSON",
		},
		"empty 401": {
			status: 401, write: Denied, read: Denied, message: "401 Unauthorized with an empty body instead of JSON",
		},
		"empty 429": {
			status: 429, write: Transient, read: Transient, message: "429 Too Many Requests with an empty body instead of JSON",
		},
		"404 of a gateway": {
			status: 404, contentType: "text/plain", body: "default backend - 404",
			write: Denied, read: Denied, message: "default backend - 404",
		},
		"405 of another server": {
			status: 405, contentType: "text/html", body: "<html></html>",
			write: Denied, read: Denied, message: "405 Method Not Allowed with text/html instead of JSON",
		},
		"413 of a proxy": {
			status: 413, contentType: "text/html", body: "<html><title>413 Request Entity Too Large</title></html>",
			write: Rejected, read: Rejected,
			message: `413 Request Entity Too Large with text/html instead of JSON (a page titled "413 Request Entity Too Large")`,
		},
		"408": {
			status: 408, write: Uncertain, read: Transient, message: "408 Request Timeout with an empty body instead of JSON",
		},
		"redirect to a login page": {
			status: 302, contentType: "text/html", body: "<html></html>",
			write: Uncertain, read: Transient, message: "302 Found to https://login.example/start instead of an answer",
		},
		"bell and line breaks": {
			status: 400, contentType: "text/plain", body: "a\x07\r\n\tb \xff",
			write: Rejected, read: Rejected, message: "a b \uFFFD",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnswer(test.status, test.contentType, test.body)
			a.header.Set("Location", "https://login.example/start?code=secret")
			read, write := a.failure("op", Reads, false), a.failure("op", Writes, true)
			if read.Kind != test.read || write.Kind != test.write {
				t.Errorf("kinds: got read %s, write %s, want %s, %s", read.Kind, write.Kind, test.read, test.write)
			}
			if write.StatusCode != test.status || write.Code != test.code || write.Message != test.message || write.TraceID != test.trace {
				t.Errorf("got status %d, code %d, message %q, trace %q,\nwant %d, %d, %q, %q",
					write.StatusCode, write.Code, write.Message, write.TraceID, test.status, test.code, test.message, test.trace)
			}
			if got := errors.Is(read, ErrNotFound); got != test.notFound {
				t.Errorf("is ErrNotFound: got %t, want %t", got, test.notFound)
			}
			if got, want := errors.Is(write, ErrDuplicateReference), test.write == Duplicate; got != want {
				t.Errorf("is ErrDuplicateReference: got %t, want %t", got, want)
			}
		})
	}
}

func TestMessageIsShortened(t *testing.T) {
	t.Parallel()
	e := newAnswer(400, "text/plain", strings.Repeat("é", 5000)).hiding(nil, func(a answer) *Error { return a.failure("op", Reads, false) })
	if got := utf8.RuneCountInString(e.Message); got != maxMessage+1 {
		t.Errorf("got %d runes, want %d", got, maxMessage+1)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	date := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC).Format(http.TimeFormat)
	tests := map[string]struct {
		value, date string
		want        time.Duration
	}{
		"absent":                       {},
		"seconds":                      {value: "17", want: 17 * time.Second},
		"seconds with blanks":          {value: " 3 ", want: 3 * time.Second},
		"zero":                         {value: "0"},
		"negative":                     {value: "-5"},
		"fraction":                     {value: "1.5"},
		"words":                        {value: "soon"},
		"more than time.Duration":      {value: "18446744073709551615", want: maxRetryAfter},
		"more than uint64":             {value: "99999999999999999999999"},
		"date against the server's":    {value: "Mon, 04 May 2026 10:02:00 GMT", date: date, want: 2 * time.Minute},
		"date gone by":                 {value: "Mon, 04 May 2026 09:00:00 GMT", date: date},
		"date of the year 9999":        {value: "Fri, 31 Dec 9999 23:59:59 GMT", date: date, want: maxRetryAfter},
		"date in the oldest form":      {value: "Mon May  4 10:00:30 2026", date: date, want: 30 * time.Second},
		"date, the server's not read":  {value: "Mon, 04 May 2020 10:00:00 GMT", date: "yesterday"},
		"date far ahead, no date sent": {value: "Fri, 31 Dec 9999 23:59:59 GMT", want: maxRetryAfter},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAnswer(429, "", "")
			a.header.Set("Retry-After", test.value)
			a.header.Set("Date", test.date)
			if got := a.retryAfter(); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestDecodeSaysWhatCameInstead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		answer answer
		want   string // empty: decoded
	}{
		"good":             {newAnswer(200, jsonType, `{"Id":3}`), ""},
		"no content type":  {newAnswer(200, "", ` {"Id":3}`), ""},
		"json by suffix":   {newAnswer(200, "application/vnd.x+json", `{"Id":3}`), ""},
		"broken type":      {newAnswer(200, "application/json; ;;=", `{"Id":3}`), ""},
		"html":             {newAnswer(200, "text/html", htmlLogin), `200 OK with text/html instead of JSON (a page titled "Sign in - Proxy")`},
		"empty":            {newAnswer(204, "", ""), "204 No Content with an empty body instead of JSON"},
		"not json":         {newAnswer(200, jsonType, `<html>`), "200 OK with JSON that cannot be read"},
		"cut short":        {newAnswer(200, jsonType, `{"Id":3`), "200 OK with JSON that cannot be read"},
		"null":             {newAnswer(200, jsonType, `null`), "200 OK with JSON that lacks Id"},
		"a list":           {newAnswer(200, jsonType, `[{"Id":3}]`), "200 OK with JSON that cannot be read"},
		"something else":   {newAnswer(201, jsonType, `{"status":"ok"}`), "201 Created with JSON that lacks Id"},
		"error as success": {newAnswer(200, jsonType, `{"message":"x","traceId":"t"}`), "200 OK with JSON that lacks Id"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := test.answer.decode(new(Job))
			if test.want == "" {
				if err != nil {
					t.Fatalf("got %v, want no error", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("got no error, want %q", test.want)
			}
			wantText(t, err.Error(), test.want)
		})
	}
}

func FuzzErrorBody(f *testing.F) {
	f.Add(409, jsonType, []byte(`{"message":"Duplicate Reference.","errorCode":1016,"traceId":"00-a"}`))
	f.Add(401, jsonType, []byte(`{"error":{"code":0,"message":"m","details":"d"},"__abp":true}`))
	f.Add(400, jsonType, []byte(`{"error":"invalid_client","error_description":"d"}`))
	f.Add(400, "application/problem+json", []byte(`{"title":"t","errors":{"a":["b"]}}`))
	f.Add(503, "text/plain", []byte("no healthy upstream"))
	f.Add(502, "text/html", []byte("<title>\x00</title"))
	f.Add(500, "", []byte("<TITLE ><"))
	f.Add(502, "\x00", []byte("\x10"))
	f.Add(404, "", []byte{0xef, 0xbb, 0xbf, '{', '}'})
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		if status < 300 || status > 599 {
			return
		}
		a := answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
		e := a.failure("op", Writes, true)
		if e.Kind < Transient || e.Kind > Denied {
			t.Errorf("got kind %s", e.Kind)
		}
		if e.Kind == Transient && status != 429 && status != 503 {
			t.Errorf("a write answered with %d counts as surely not done", status)
		}
		if text := e.Error(); !utf8.ValidString(e.Message) || strings.ContainsAny(text, "\r\n\x00") {
			t.Errorf("got %q, unfit for a log line", text)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "120", "-1", "1e3", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999"} {
		f.Add(seed, "Wed, 21 Oct 2015 07:27:00 GMT")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		a := answer{status: 429, header: http.Header{"Retry-After": {value}, "Date": {date}}}
		if got := a.retryAfter(); got < 0 || got > maxRetryAfter {
			t.Errorf("got %s", got)
		}
	})
}
