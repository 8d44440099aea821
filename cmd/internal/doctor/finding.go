package doctor

import (
	"fmt"
	"slices"

	"waybill/cmd/internal/cli"
)

// Mark says how a check came out.
type Mark string

// The marks.
const (
	OK   Mark = "ok"
	Warn Mark = "warn" // it works, but not as it should, or not for long
	Fail Mark = "fail" // worker run, or some of what it does, would fail
	Skip Mark = "skip" // it could not be looked at
)

// Finding is what a check has found: one line of the report. The names of its
// members are a contract: new ones may come, none is renamed.
type Finding struct {
	Mark  Mark   `json:"mark"`
	Where string `json:"where"` // settings, NATS, or a tenant
	Check string `json:"check"`
	Found string `json:"found"`
	Mend  string `json:"mend,omitempty"` // of everything that is not ok: what to change
	// Code is what kind of failure it is, as worker run would exit with it.
	Code cli.Code `json:"code,omitempty"`
}

// String is the finding as the table shows it, without its mark and place.
func (f Finding) String() string {
	if f.Mend == "" {
		return f.Found
	}
	return f.Found + " -> " + f.Mend
}

// report gathers the findings on one thing.
type report struct {
	where    string
	findings []Finding
}

func (r *report) add(mark Mark, code cli.Code, check, found, mend string) {
	r.findings = append(r.findings, Finding{Mark: mark, Where: r.where, Check: check, Found: found, Mend: mend, Code: code})
}

func (r *report) ok(check, format string, args ...any) {
	r.add(OK, cli.ExitOK, check, fmt.Sprintf(format, args...), "")
}

func (r *report) warn(check, mend, format string, args ...any) {
	r.add(Warn, cli.ExitOK, check, fmt.Sprintf(format, args...), mend)
}

func (r *report) fail(code cli.Code, check, mend, format string, args ...any) {
	r.add(Fail, code, check, fmt.Sprintf(format, args...), mend)
}

// skip is for what cannot be looked at; mend says what would let it be.
func (r *report) skip(check, mend, format string, args ...any) {
	r.add(Skip, cli.ExitOK, check, fmt.Sprintf(format, args...), mend)
}

// skipAll is for all that depends on one check.
func (r *report) skipAll(after string, checks ...string) {
	for _, check := range checks {
		r.skip(check, "mend "+after+" first", "not looked at")
	}
}

// Summary is the error that the command ends with: nil where nothing has
// failed. The code is of what waiting does not mend, and of the most basic: what
// is wrong in the settings or the streams, then a refused login or a missing
// right, then what cannot be reached.
func Summary(findings []Finding) error {
	failed, made := 0, 0
	var codes []cli.Code
	for _, f := range findings {
		if f.Mark != Skip {
			made++
		}
		if f.Mark == Fail {
			failed++
			codes = append(codes, f.Code)
		}
	}
	if failed == 0 {
		return nil
	}
	for _, code := range []cli.Code{cli.ExitUsage, cli.ExitCredentials, cli.ExitUnreachable} {
		if slices.Contains(codes, code) {
			return cli.Errorf(code, "%d of %d checks failed", failed, made)
		}
	}
	return cli.Errorf(cli.ExitUnexpected, "%d of %d checks failed", failed, made)
}

// OnSettings is the finding on settings that cannot be used.
func OnSettings(err error, code cli.Code, mend string) Finding {
	r := report{where: "settings"}
	r.fail(code, "settings", mend, "%s", withoutExcerpt(err))
	return r.findings[0]
}
