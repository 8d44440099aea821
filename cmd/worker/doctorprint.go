package main

import (
	"io"
	"unicode/utf8"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/doctor"
)

// printFindings prints the report, in columns as wide as it needs.
func printFindings(w io.Writer, format string, findings []doctor.Finding) error {
	columns := []cli.Column[doctor.Finding]{
		{Name: "MARK", Value: func(f doctor.Finding) string { return string(f.Mark) }},
		{Name: "WHERE", Value: func(f doctor.Finding) string { return f.Where }},
		{Name: "CHECK", Value: func(f doctor.Finding) string { return f.Check }},
		{Name: "FOUND -> WHAT TO CHANGE", Value: doctor.Finding.String},
	}
	for i := range columns[:len(columns)-1] {
		for _, f := range findings {
			columns[i].Width = max(columns[i].Width, utf8.RuneCountInString(columns[i].Value(f)))
		}
	}
	return cli.PrintAll(w, format, columns, func(yield func(doctor.Finding, error) bool) { //nolint:wrapcheck // it says all there is to say
		for _, f := range findings {
			if !yield(f, nil) {
				return
			}
		}
	})
}
