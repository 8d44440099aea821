package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/orchestrator"
)

// What comes from outside is read by these; none of them may panic, and what
// they take must mean the same to the next who reads it. Run one with
//
//	go test -run '^$' -fuzz FuzzDecodeRequest -fuzztime 30s ./pipeline

func FuzzDecodeRequest(f *testing.F) {
	for _, body := range []string{
		string(typicalItem), string(typicalJob),
		`{}`, `null`, `[]`, ` {"key" : "k" , "item" : { } } `, "\ufeff{}",
		`{"key":"k","item":{"SpecificContent":{"A":1e400,"B":-0,"C":"\ud800","D":null}}}`,
		`{"key":"k","item":{"Reference":"k","SpecificContent":{"a@odata.type":"#String"}}}`,
		`{"key":"k","key":"l","item":{}}`, `{"\u006bey":"k","item":{}}`, `{"key":"<&>\u2028","item":{"<":"&"}}`,
		`{"key":"k","item":{},"job":null,"tenant":"T","folder":"F","queue":"Q"}`, `{"key":"k","job":{},"process":"P"}`,
		`{"key":"k","notAfter":"2026-12-01T00:00:00.123456789+14:00","until":"completed","job":{"InputArguments":"{\"a\":{}}"}}`,
		`{"key":"k","job":{"InputArguments":{"a":[{"b":[]}]},"RobotIds":[1],"JobsCount":1}}`,
		`{"key":"k","item":{}} {}`, `{"key":"k","item":`, `{"a":1,"b":2}`, "{\"key\":\"\xff\"}",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeRequest(body)
		if err != nil {
			checkInvalid(t, err)
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		second, err := DecodeRequest(again)
		if err != nil {
			t.Fatalf("what was encoded is refused: %v\n%s", err, again)
		}
		if diff := cmp.Diff(plainRequest(t, r), plainRequest(t, second)); diff != "" {
			t.Fatalf("encoded and decoded it is another request (-first +second):\n%s", diff)
		}
		for _, kind := range []Kind{KindItem, KindJob} {
			lane := Lane{Tenant: "T", Folder: "F", Kind: kind, Name: "N"}
			first, err := r.payload(lane, r.read)
			checkInvalid(t, err)
			if p, secondErr := second.payload(lane, second.read); p.hash != first.hash || (err == nil) != (secondErr == nil) {
				t.Fatalf("encoded and decoded it has another payload: %s (%v), then %s (%v)", first.hash, err, p.hash, secondErr)
			}
			if err == nil {
				checkSendable(t, first)
			}
		}
	})
}

// checkInvalid wants faults to be said as such, in words that fit a header
// whatever the request has in it.
func checkInvalid(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*InvalidError](err); !ok {
		t.Fatalf("a fault is no *InvalidError: %v", err)
	}
	if line := oneLine(err.Error()); !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
		t.Fatalf("a fault does not make a header: %q", line)
	}
}

// plainRequest is a request with what may be written in several ways written
// in one.
func plainRequest(t *testing.T, r Request) map[string]any {
	t.Helper()
	value := func(raw json.RawMessage) string {
		if raw == nil {
			return ""
		}
		return string(rewrite(t, raw))
	}
	return map[string]any{
		"key": r.Key, "until": r.Until, "notAfter": r.NotAfter.UTC(), "item": value(r.Item), "job": value(r.Job),
		"tenant": r.Tenant, "folder": r.Folder, "queue": r.Queue, "process": r.Process,
	}
}

// checkSendable wants what is sent to Orchestrator to be JSON.
func checkSendable(t *testing.T, p payload) {
	t.Helper()
	if body := p.item.AppendJSON(nil); !json.Valid(body) {
		t.Fatalf("the item does not make JSON: %s", body)
	}
	if body := p.job.AppendJSON(nil); !json.Valid(body) {
		t.Fatalf("the job does not make JSON: %s", body)
	}
}

func FuzzDecodeOutcome(f *testing.F) {
	typical, err := json.Marshal(typicalOutcome())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(typical)
	for _, body := range []string{
		`{}`, `null`, `[]`, `{"key":"k","kind":"job","process":"P","job":{"Id":9007199254740993},"error":{"kind":"faulted","message":""}}`,
		`{"item":{"Output":{"a":[1.0,2]}},"later":"member"}`, `{"KEY":"k"}`, `{"attempts":-1}`, `{"finishedAt":"2026-11-22T08:00:00+14:00"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := DecodeOutcome(body)
		if err != nil {
			return
		}
		first, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		again, err := DecodeOutcome(first)
		if err != nil {
			t.Fatalf("what was encoded is refused: %v\n%s", err, first)
		}
		second, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Fatalf("encoded and decoded it is another outcome:\n%s\n%s", first, second)
		}
		if o.Lane() != again.Lane() || o.messageID() != again.messageID() {
			t.Fatalf("lane or Nats-Msg-Id changes: %q, then %q", o.messageID(), again.messageID())
		}
	})
}

func FuzzDecodeClaim(f *testing.F) {
	f.Add(typicalClaim.encode())
	for _, body := range []string{`{}`, `{"v":1}`, `{"v":2}`, `{"v":1,"holdNanoseconds":-1}`, `{"v":1,"state":"later","more":[]}`, `null`, `{"v":1.0}`} {
		f.Add([]byte(body))
	}
	back, err := decodeClaim(typicalClaim.encode(), 0, time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	if diff := cmp.Diff(&typicalClaim, back, cmp.AllowUnexported(claim{})); diff != "" {
		f.Fatalf("encoded and decoded it is another claim (-before +after):\n%s", diff)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		stored := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		c, err := decodeClaim(data, 7, stored)
		if err != nil {
			if c != nil {
				t.Fatalf("a claim beside the error %v: %+v", err, c)
			}
			return
		}
		if c.Version != claimVersion {
			t.Fatalf("claim of version %d taken", c.Version)
		}
		first := c.encode()
		again, err := decodeClaim(first, 7, stored)
		if err != nil {
			t.Fatalf("what was encoded is refused: %v\n%s", err, first)
		}
		if second := again.encode(); !bytes.Equal(first, second) {
			t.Fatalf("encoded and decoded it is another claim:\n%s\n%s", first, second)
		}
	})
}

// A name and its token stand for each other, one for one: two spellings of a
// lane would be two lanes.
func FuzzToken(f *testing.F) {
	for _, name := range []string{"Invoices", "Finance/Invoices v2.0", "-", "--", "", "%", "%2E", "%2e", "a.b*c>", "Réunion\u00a0\u2028", "\x00\x7f\u0085", "日本", "\xff", "%FF", "%2D", "a%20b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) {
			token := encodeToken(s)
			if strings.ContainsAny(token, ".*>/ \t\r\n") {
				t.Fatalf("encodeToken(%q) = %q, which is no token of a subject", s, token)
			}
			if back, err := decodeToken(token); err != nil || back != s {
				t.Fatalf("encodeToken(%q) = %q, which decodes to %q, %v", s, token, back, err)
			}
		}
		name, err := decodeToken(s)
		if err != nil {
			return
		}
		if again := encodeToken(name); again != s {
			t.Fatalf("decodeToken(%q) = %q, which is spelled %q", s, name, again)
		}
	})
}

func FuzzScope(f *testing.F) {
	for _, scope := range []string{
		typicalLane.scope(), "Default.-.jobs.Post%20invoices", "T.F.items.Q", "T.F.item.Q", "T.F.items.", "T.F.items", "T.F.items.Q.x",
		"T.%2F.items.%25", "T.%2f.items.Q", "T.F.items.-", "-.F.items.Q", "T.%2D.items.Q", "T..items.Q", "T.F.jobs.%", "ä.ö.jobs.ü",
	} {
		f.Add(scope)
	}
	f.Fuzz(func(t *testing.T, scope string) {
		lane, err := parseScope(scope)
		if err != nil {
			checkInvalid(t, err)
			return
		}
		if again := lane.scope(); again != scope {
			t.Fatalf("parseScope(%q) = %+v, which is spelled %q", scope, lane, again)
		}
	})
}

// FuzzHashPayload: neither order, at whatever depth, nor blanks nor escapes
// tell payloads apart.
func FuzzHashPayload(f *testing.F) {
	f.Add(typicalKey, []byte(`{"b":{"y":1.50,"x":[1,{"z":null,"w":0}]},"a":"ü\u00fc<","Reference":"INV-2026-004217","n":null}`))
	f.Add("k", []byte(`{"Reference":"k"}`))
	f.Add("k", []byte(`{}`))
	f.Add("k", []byte(`{"a":{"b":1,"c":2,"b":3}}`))
	f.Fuzz(func(t *testing.T, key string, raw []byte) {
		members, err := readObject(raw)
		if err != nil || !utf8.Valid(raw) { // a body that is not UTF-8 is refused before
			return
		}
		want := hashPayload(key, members)
		reversed := make([]member, 0, len(members))
		for _, m := range slices.Backward(members) {
			reversed = append(reversed, member{name: m.name, value: rewrite(t, m.value)})
		}
		if got := hashPayload(key, reversed); got != want {
			t.Fatalf("the same members, written in another way, have another hash: %s", raw)
		}
	})
}

// rewrite writes a JSON value with its members sorted and over many lines.
func rewrite(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("a member that was read is not JSON: %v: %s", err, raw)
	}
	lines, err := json.MarshalIndent(v, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

var bucketToken = regexp.MustCompile(`^[-_=a-zA-Z0-9]*$`)

// FuzzControlKey: names that differ have keys that differ, of characters that
// a bucket takes.
func FuzzControlKey(f *testing.F) {
	for _, pair := range [][2]string{{"a", "b"}, {"a.b", "a"}, {"=2E", "."}, {"", "="}, {"ü", "=C3=BC"}, {"A", "a"}, {"-", "_"}, {"_2E", "."}, {"-2E", "."}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := controlToken(a), controlToken(b)
		if !bucketToken.MatchString(x) {
			t.Fatalf("controlToken(%q) = %q, which a bucket does not take", a, x)
		}
		if (x == y) != (a == b) {
			t.Fatalf("controlToken(%q) = %q and controlToken(%q) = %q", a, x, b, y)
		}
		if controlKey("lanes", a, b) == controlKey("lanes", b, a) && a != b {
			t.Fatalf("%q and %q have one key in either order", a, b)
		}
	})
}

// entry is a record of the control bucket as a worker reads it.
type entry struct {
	jetstream.KeyValueEntry
	key   string
	value []byte
}

func (e entry) Key() string   { return e.key }
func (e entry) Value() []byte { return e.value }

// FuzzControlRecord: no record in the bucket, whoever wrote it, stops a worker
// for longer than a worker would.
func FuzzControlRecord(f *testing.F) {
	for _, record := range []string{
		`{"until":"2026-11-22T08:01:00Z","reason":"transient"}`, `{"until":"9999-12-31T23:59:59Z"}`, `{"until":"0000-01-01T00:00:00+23:59"}`,
		`{"worker":"w","until":"2026-11-22T08:00:10Z"}`, `{"worker":"","until":"9999-12-31T23:59:59.999999999-23:59"}`,
		`{"lane":{"Tenant":"Default","Folder":"Finance/Invoices","Kind":"item","Name":"Invoices 2026"},"folderKey":"k","boundAt":"2026-11-22T08:00:00Z"}`,
		`{"lane":{"Tenant":"Default","Folder":"","Kind":"items","Name":"\u0000"}}`, `{"lane":{"Tenant":"T","Folder":"F","Kind":"job","Name":"N"}}`,
		`{}`, `null`, `[]`, `7`, ``, `{"until":7}`,
	} {
		f.Add([]byte(record))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		checkPauseRecord(t, data, now)
		checkLeaseRecord(t, data, now)
		checkWatermark(t, data, now)
		checkBinding(t, data)
	})
}

func checkPauseRecord(t *testing.T, data []byte, now time.Time) {
	t.Helper()
	clock := &serverClock{}
	clock.observe(now)
	tenant := newTenant(Tenant{Name: "Default"}, 10_000, slog.New(slog.DiscardHandler), control{}, clock)
	tenant.adopt(entry{key: controlKey("throttle", "Default", orchestrator.Writes.String()), value: data})
	tenant.adopt(entry{key: controlKey("throttle", "Default", "later"), value: data})
	if wait := tenant.pausedFor(orchestrator.Writes); wait > maxRetryAfter {
		t.Fatalf("calls are paused for %s: %s", wait, data)
	}
	if wait := tenant.pausedFor(orchestrator.Reads); wait > 0 {
		t.Fatalf("a pause of writes holds up reads for %s: %s", wait, data)
	}
}

func checkLeaseRecord(t *testing.T, data []byte, now time.Time) {
	t.Helper()
	var l leased
	if decodeEntry(entry{value: data}, &l) != nil {
		return
	}
	const life = time.Minute
	if l.keepsOut("other", life, now) && l.keepsOut("another", life, now.Add(2*life)) {
		t.Fatalf("a lease keeps everybody out for longer than leases last: %s", data)
	}
	if l.keepsOut(l.Worker, life, now) {
		t.Fatalf("a lease keeps its own worker out: %s", data)
	}
}

func checkWatermark(t *testing.T, data []byte, now time.Time) {
	t.Helper()
	var m watermark
	if decodeEntry(entry{value: data}, &m) != nil {
		return
	}
	m = m.believable(now)
	if m != m.believable(now) || m.Until.After(now) {
		t.Fatalf("a mark at %s is believed: %s", m.Until, data)
	}
	filter := orchestrator.Ge("EndTime", m.Until.Add(-sweepOverlap))
	if _, err := time.Parse(time.RFC3339, strings.TrimPrefix(filter, "EndTime ge ")); err != nil {
		t.Fatalf("a mark makes a filter that is none: %s", filter)
	}
}

func checkBinding(t *testing.T, data []byte) {
	t.Helper()
	var b binding
	if decodeEntry(entry{value: data}, &b) != nil || b.check(typicalLane) != nil {
		return
	}
	if got, err := parseScope(b.Lane.scope()); err != nil || got != b.Lane {
		t.Fatalf("a lane is bound to one that makes no subject: %+v, read back as %+v: %v", b.Lane, got, err)
	}
}

// received is a request as JetStream hands it over.
type received struct {
	jetstream.Msg
	header nats.Header
	data   []byte
}

func (m received) Data() []byte         { return m.data }
func (m received) Headers() nats.Header { return m.header }
func (m received) Subject() string      { return Topology{}.withDefaults().RequestSubject(typicalLane) }

func (m received) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: 7}, Timestamp: typicalClaim.PublishedAt}, nil
}

// unconnected is a connection that has not heard of the server's limits.
type unconnected struct{ jetstream.JetStream }

func (unconnected) Conn() *nats.Conn { return &nats.Conn{} }

// FuzzDeadLetter: whatever headers and body a request came with, its dead
// letter can be stored and read, and says of itself only what we say.
func FuzzDeadLetter(f *testing.F) {
	for _, header := range []string{
		"", "Waybill-Key: k\r\n", "waybill-reason: none\r\nWaybill-Reason: a\r\nWaybill-Reason: b\r\n", "Nats-Msg-Id: 1\r\nnats-TTL: 1s\r\n",
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1\r\n", "A: \xff\x00\r\n", "a b: c\r\n", "Waybill-Key: \u00a0k\r\n",
		"A: " + strings.Repeat("x", maxForeignHeaders) + "\r\n", "traceparent: " + strings.Repeat("0", 600) + "\r\n",
	} {
		f.Add(header, []byte(`{"key":"k","item":7}`))
		f.Add(header, []byte("{\"key\":\"\xff\r\nWaybill-Reason: x\"}"))
	}
	r := &runner{Worker: &Worker{js: unconnected{}, cfg: Config{Worker: "w"}.withDefaults()}}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		h, err := nats.DecodeHeadersMsg([]byte("NATS/1.0\r\n" + header + "\r\n"))
		if err != nil {
			return
		}
		d, err := newDelivery(received{header: h, data: body}, typicalClaim.FirstDeliveredAt)
		if err != nil {
			t.Fatal(err)
		}
		d.read(typicalLane, nil)
		d.buried(ReasonKeyConflict)
		if d.fault != nil {
			d.refused(d.invalidOutcome(typicalLane, typicalClaim.PublishedAt), ReasonInvalid)
		}
		letter := r.deadLetter(typicalLane, d)
		if !bytes.Equal(letter.Data, body) {
			t.Fatalf("the body is another: %q, was %q", letter.Data, body)
		}
		checkLetterHeaders(t, throughWire(t, letter.Header), d)
		for name, values := range throughWire(t, traceOf(h)) {
			if len(values) != 1 || len(values[0]) > traceHeaders[name] {
				t.Fatalf("an outcome inherits %s: %q", name, values)
			}
		}
	})
}

// throughWire writes headers as a client sends them, and reads them again.
func throughWire(t *testing.T, header nats.Header) nats.Header {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("NATS/1.0\r\n")
	if err := http.Header(header).Write(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\r\n")
	if b.Len() > deadLetterRoom {
		t.Fatalf("headers of %d bytes", b.Len())
	}
	got, err := nats.DecodeHeadersMsg(b.Bytes())
	if err != nil {
		t.Fatalf("headers that cannot be read: %v\n%q", err, b.Bytes())
	}
	return got
}

func checkLetterHeaders(t *testing.T, got nats.Header, d *delivery) {
	t.Helper()
	for name, want := range map[string]string{
		nats.MsgIdHdr: "7/" + d.verdict.deadLetter, HeaderKey: d.key, HeaderReason: d.verdict.deadLetter, HeaderError: strings.TrimSpace(oneLine(d.why())),
		HeaderGeneration: "0", HeaderAttempts: "0", HeaderRequestSubject: d.msg.Subject(), HeaderRequestSequence: "7", HeaderWorker: "w",
	} {
		if values := got[name]; len(values) != 1 || values[0] != want {
			t.Fatalf("%s is %q, want %q", name, values, want)
		}
		for other := range got {
			if other != name && strings.EqualFold(other, name) {
				t.Fatalf("%s stands beside %s", other, name)
			}
		}
	}
}
