package main

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"waybill/cmd/internal/cli"
)

// progress shows how far an import is, by bytes, since the number of rows is
// not known before the end: as a bar on a terminal, as a line now and then
// elsewhere. The file is read twice, so there is twice its size to do.
type progress struct {
	w     io.Writer
	total int64
	bar   *progressbar.ProgressBar // nil where nobody looks
	doing string
	every time.Duration // how often a line is written
	next  time.Time     // when the next one is due
}

func newProgress(w io.Writer, total int64) *progress {
	p := &progress{w: w, total: total, every: 10 * time.Second}
	p.next = time.Now().Add(p.every)
	if cli.IsTerminal(w) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetDescription("checking"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish())
	}
	return p
}

// checked is told how many bytes the first reading has come to.
func (p *progress) checked(bytes int64) {
	p.show(bytes, "checking", nil)
}

// read is told how many bytes the second reading has come to.
func (p *progress) read(bytes int64, result *importResult) {
	doing := "publishing"
	if result.DryRun {
		doing = "checking"
	}
	p.show(p.total/2+bytes, doing, result)
}

func (p *progress) show(done int64, doing string, result *importResult) {
	if p.bar != nil {
		if p.doing != doing {
			p.doing = doing
			p.bar.Describe(doing)
		}
		_ = p.bar.Set64(min(done, p.total-1)) // the last byte ends the bar
		return
	}
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(p.every)
	counts := ""
	if result != nil {
		counts = fmt.Sprintf(", %d rows published, %d already known, %d rejected", result.Published, result.Known, result.Rejected)
	}
	_, _ = fmt.Fprintf(p.w, "%s: %d %%%s\n", doing, 100*done/max(p.total, 1), counts)
}

// stop takes the bar away.
func (p *progress) stop() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
