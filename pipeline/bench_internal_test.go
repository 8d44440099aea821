package pipeline

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A request, a lane and a claim as they commonly are.
var (
	typicalLane = Lane{Tenant: "Default", Folder: "Finance/Invoices", Kind: KindItem, Name: "Invoices 2026"}
	typicalKey  = "INV-2026-004217"
	typicalItem = []byte(`{"key":"INV-2026-004217","item":{"Priority":"High","DueDate":"2026-12-01T18:00:00Z","SpecificContent":` +
		`{"Invoice":"INV-2026-004217","Supplier":"Supplier 12","Amount":1250.75,"Currency":"EUR","Paid":false,"Note":"second reminder, see letter of 12 May"}}}`)
	typicalJob   = []byte(`{"key":"run-2026-11-22","until":"completed","job":{"JobPriority":"Normal","InputArguments":{"in_Date":"2026-11-22","in_Max":100}}}`)
	typicalClaim = claim{
		Version: claimVersion, State: claimHeld, Worker: "host-4711-ABC123", Nonce: "ZQ3Z4BK2H1M7C9D8E5F6G0",
		Hold: 45 * time.Second, PayloadHash: "sha256:2f415680c5d52972462d4f7e6b6adad93e10cddcbbb426738da1e90efbc5caec",
		Reference: "INV-2026-004217", Generation: 1, Attempts: 1, EverCalled: true,
		PublishedAt:      time.Date(2026, 11, 22, 8, 0, 0, 104_000_000, time.UTC),
		FirstDeliveredAt: time.Date(2026, 11, 22, 8, 0, 0, 106_000_000, time.UTC),
		RequestSequence:  118_743,
	}
)

func typicalOutcome() Outcome {
	d := delivery{key: typicalKey, claim: typicalClaim}
	return *d.outcome(typicalLane, StatusAccepted, ByAnswer, typicalClaim.PublishedAt.Add(time.Second))
}

// readTypical is what a worker does with a message before anything else.
func readTypical(tb testing.TB, body []byte, lane Lane) payload {
	tb.Helper()
	r, asked, err := decodeRequest(body)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := r.payload(lane, asked.object)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func BenchmarkReadItem(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(typicalItem)))
	for b.Loop() {
		readTypical(b, typicalItem, typicalLane)
	}
}

func BenchmarkReadJob(b *testing.B) {
	lane := typicalLane
	lane.Kind = KindJob
	b.ReportAllocs()
	b.SetBytes(int64(len(typicalJob)))
	for b.Loop() {
		readTypical(b, typicalJob, lane)
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRequest(typicalItem); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashPayload(b *testing.B) {
	r, err := DecodeRequest(typicalItem)
	if err != nil {
		b.Fatal(err)
	}
	members, err := readObject(r.Item)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		hashPayload(typicalKey, members)
	}
}

func BenchmarkClaimEncode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		typicalClaim.encode()
	}
}

func BenchmarkClaimDecode(b *testing.B) {
	data := typicalClaim.encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeClaim(data, 1, time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOutcomeWrite is an outcome from its members to the message that is
// published.
func BenchmarkOutcomeWrite(b *testing.B) {
	l := newLedger(nil, Topology{}.withDefaults(), nil)
	o := typicalOutcome()
	b.ReportAllocs()
	for b.Loop() {
		w, err := l.putOutcome(typicalLane, o, typicalClaim, nats.Header{})
		if err != nil {
			b.Fatal(err)
		}
		w.message()
	}
}

func BenchmarkOutcomeEncode(b *testing.B) {
	o := typicalOutcome()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.MarshalJSON(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSubjects(b *testing.B) {
	var t Topology
	b.ReportAllocs()
	for b.Loop() {
		t.claimSubject(typicalLane, typicalKey)
		t.OutcomeSubject(typicalLane, typicalKey, StageFinal)
	}
}

// Reading a request is the worker's own greatest cost. The bounds stand about
// a quarter above what it takes today: who passes them has made every request
// dearer.
//
//nolint:paralleltest // AllocsPerRun counts the whole process
func TestReadingAllocatesLittle(t *testing.T) {
	jobLane := typicalLane
	jobLane.Kind = KindJob
	for _, test := range []struct {
		name string
		body []byte
		lane Lane
		most float64
	}{
		{"item", typicalItem, typicalLane, 48},
		{"job", typicalJob, jobLane, 41},
	} {
		got := testing.AllocsPerRun(200, func() { readTypical(t, test.body, test.lane) })
		if got > test.most {
			t.Errorf("reading a typical request for a %s makes %.0f allocations, want at most %.0f", test.name, got, test.most)
		}
		t.Logf("%s: %.0f allocations", test.name, got)
	}
}
