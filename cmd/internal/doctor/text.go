package doctor

import (
	"crypto/x509"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"waybill/cmd/internal/cli"
)

// oneLine is an error that several errors were joined to.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

// excerpt is a line of a file that an error of YAML shows, or the mark below it.
var excerpt = regexp.MustCompile(`^(>?\s*\d+ \||\s*\^)`)

// withoutExcerpt leaves out the lines of the file that an error shows, which
// make nothing readable in one line: the place is told before them.
func withoutExcerpt(err error) string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(err.Error()), "\n"), func(line string) bool {
		return strings.TrimSpace(line) == "" || excerpt.MatchString(line)
	})
	return strings.Join(lines, "; ")
}

// short is a duration as people want to read it.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// size is a number of bytes as people want to read it.
func size[N ~int64 | ~uint64](n N) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value := float64(n)
	for len(units) > 1 && value >= 1024 {
		value, units = value/1024, units[1:]
	}
	return fmt.Sprintf("%.4g %s", value, units[0])
}

// count is a number with its word.
func count[N ~int | ~uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// certificateSoon is from when on a certificate's end is told.
const certificateSoon = 30 * 24 * time.Hour

func (r *report) certificate(check, text string, c *x509.Certificate) {
	left := time.Until(c.NotAfter)
	text += ", certificate of " + c.Issuer.CommonName + " until " + c.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left < 0:
		r.fail(cli.ExitUsage, check, "renew the server's certificate", "%s: it has expired", text)
	case left < certificateSoon:
		r.warn(check, "renew the server's certificate", "%s: that is in %s", text, count(int(left/(24*time.Hour)), "day", "days"))
	default:
		r.ok(check, "%s", text)
	}
}
