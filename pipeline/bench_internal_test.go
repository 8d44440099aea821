package pipeline

import (
	"fmt"
	"log/slog"
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

var typicalAnswer = &nats.Msg{Data: []byte(`{"stream":"UIPATH_LEDGER","seq":118743}`)}

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

// BenchmarkClaimWrite is a claim from its members to the message that is
// published.
func BenchmarkClaimWrite(b *testing.B) {
	l := newLedger(nil, Topology{}.withDefaults(), nil)
	b.ReportAllocs()
	for b.Loop() {
		l.changeClaim(typicalLane, typicalKey, typicalClaim).message()
	}
}

// BenchmarkAnswer is what the server says to a write, taken in.
func BenchmarkAnswer(b *testing.B) {
	var w write
	b.ReportAllocs()
	for b.Loop() {
		if w.take(typicalAnswer) || w.err != nil {
			b.Fatal(w.err)
		}
	}
}

// BenchmarkTakeKeys takes the keys of a batch in hand and gives them back.
func BenchmarkTakeKeys(b *testing.B) {
	h := newHeld(slog.New(slog.DiscardHandler))
	batch := make([]*delivery, 500)
	for i := range batch {
		batch[i] = &delivery{key: fmt.Sprintf("INV-2026-%06d", i)}
	}
	b.ReportAllocs()
	for b.Loop() {
		taken, _ := h.takeKeys(typicalLane, batch)
		h.dropKeys(typicalLane, taken)
	}
}

// Each request goes through each of these steps. The bounds stand about
// a quarter above what it takes today: who passes one has made every request
// dearer.
//
//nolint:paralleltest // AllocsPerRun counts the whole process
func TestStepsAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates too")
	}
	jobLane := typicalLane
	jobLane.Kind = KindJob
	l := newLedger(nil, Topology{}.withDefaults(), nil)
	o := typicalOutcome()
	var w write
	for _, test := range []struct {
		name string
		step func()
		most float64
	}{
		{"read an item", func() { readTypical(t, typicalItem, typicalLane) }, 17},
		{"read a job", func() { readTypical(t, typicalJob, jobLane) }, 27},
		{"write a claim", func() { l.changeClaim(typicalLane, typicalKey, typicalClaim).message() }, 15},
		{"write an outcome", func() {
			put, err := l.putOutcome(typicalLane, o, typicalClaim, nil)
			if err != nil {
				t.Fatal(err)
			}
			put.message()
		}, 30},
		{"take an answer in", func() { w.take(typicalAnswer) }, 2},
	} {
		got := testing.AllocsPerRun(200, test.step)
		if got > test.most {
			t.Errorf("to %s makes %.0f allocations, want at most %.0f", test.name, got, test.most)
		}
		t.Logf("%s: %.0f allocations", test.name, got)
	}
}
