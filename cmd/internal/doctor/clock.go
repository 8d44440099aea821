package doctor

import (
	"context"
	"time"

	"waybill/pipeline"
)

// clock compares the server's with ours, by an answer that carries it.
func (l *server) clock(ctx context.Context, states []pipeline.StreamState) {
	for _, s := range states {
		if s.Info == nil {
			continue
		}
		ctx, cancel := l.within(ctx)
		defer cancel()
		sent := time.Now()
		stream, err := l.js.Stream(ctx, s.Name)
		if err != nil {
			l.skip(checkClock, "look again, and see the server's log should it come again", "stream %s was not to be asked for its state: %v", s.Name, noAnswer(ctx, err))
			return
		}
		got := time.Now()
		skew := stream.CachedInfo().TimeStamp.Sub(sent.Add(got.Sub(sent) / 2))
		l.skew = &skew
		l.compareClocks(checkClock, "NATS's", "this machine's", skew, time.Millisecond)
		return
	}
	l.skip(checkClock, "look again when worker run has made the streams", "no stream whose state would show the server's clock")
}

// tolerable is how far clocks may be apart before something is said. The
// promise goes by the server's clock alone; dates in requests and in logs do not.
const tolerable = 3 * time.Second

// compareClocks tells of a skew that is known to within a unit.
func (r *report) compareClocks(check, whose, other string, skew, unit time.Duration) {
	if skew.Abs() > tolerable {
		r.warn(check, "have all machines set their clocks by NTP", "%s clock is %s %s", whose, aheadOf(skew), other)
		return
	}
	r.ok(check, "%s clock and %s agree, to within %s", whose, other, max(skew.Abs().Round(unit), unit))
}

func aheadOf(skew time.Duration) string {
	if skew < 0 {
		return skew.Abs().Round(100*time.Millisecond).String() + " behind"
	}
	return skew.Round(100*time.Millisecond).String() + " ahead of"
}
