package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// The forms in which data is printed.
const (
	FormatTable = "table" // for people: a heading and one line a record
	FormatJSON  = "json"  // one document, indented
	FormatJSONL = "jsonl" // one record a line
)

// OutputFlag adds -o, --output, with the given form as default.
func OutputFlag(fs *pflag.FlagSet, into *string, value string) {
	ChoiceFlag(fs, into, "output", "o", value, []string{FormatTable, FormatJSON, FormatJSONL}, "form of the data on standard output")
}

// Column is one column of a table of Ts.
type Column[T any] struct {
	Name string
	// Width is how much room the column takes at least; records are printed
	// as they come, so it cannot be measured.
	Width int
	Value func(T) string
}

// PrintOne prints one record: JSON gives an object.
func PrintOne[T any](w io.Writer, format string, columns []Column[T], record T) error {
	one := func(yield func(T, error) bool) { yield(record, nil) }
	if format == FormatJSON {
		return printJSON(w, record)
	}
	return PrintAll(w, format, columns, one)
}

// PrintAll prints records as they come, until the first error, which it
// returns. JSON gives an array, a table its heading with the first record.
func PrintAll[T any](w io.Writer, format string, columns []Column[T], records iter.Seq2[T, error]) error {
	switch format {
	case FormatJSON:
		return printArray(w, records)
	case FormatJSONL:
		return printLines(w, records)
	}
	return printTable(w, columns, records)
}

func printTable[T any](w io.Writer, columns []Column[T], records iter.Seq2[T, error]) error {
	headed := false
	for record, err := range records {
		if err == nil && !headed {
			err = printRow(w, columns, func(c Column[T]) string { return c.Name })
			headed = true
		}
		if err != nil {
			return err
		}
		if err := printRow(w, columns, func(c Column[T]) string { return c.Value(record) }); err != nil {
			return err
		}
	}
	return nil
}

func printRow[T any](w io.Writer, columns []Column[T], cell func(Column[T]) string) error {
	var b strings.Builder
	for _, c := range columns {
		text := oneLine(cell(c))
		width := max(c.Width, len(c.Name), utf8.RuneCountInString(text))
		fmt.Fprintf(&b, "%-*s  ", width, text)
	}
	return write(w, strings.TrimRight(b.String(), " ")+"\n")
}

// oneLine keeps a value from breaking the table.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

func printLines[T any](w io.Writer, records iter.Seq2[T, error]) error {
	for record, err := range records {
		if err != nil {
			return err
		}
		line, err := json.Marshal(record)
		if err != nil {
			return fmt.Errorf("encode output: %w", err)
		}
		if err := write(w, string(line)+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// printArray ends a record's last line when it is known what follows.
func printArray[T any](w io.Writer, records iter.Seq2[T, error]) error {
	opening := "[\n  "
	for record, err := range records {
		if err != nil {
			if opening != "[\n  " {
				err = errors.Join(err, write(w, "\n"))
			}
			return err
		}
		text, err := encode("  ", record)
		if err != nil {
			return err
		}
		if err := write(w, opening+text); err != nil {
			return err
		}
		opening = ",\n  "
	}
	if opening == "[\n  " {
		return write(w, "[]\n")
	}
	return write(w, "\n]\n")
}

func printJSON(w io.Writer, record any) error {
	text, err := encode("", record)
	if err != nil {
		return err
	}
	return write(w, text+"\n")
}

func encode(prefix string, record any) (string, error) {
	text, err := json.MarshalIndent(record, prefix, "  ")
	if err != nil {
		return "", fmt.Errorf("encode output: %w", err)
	}
	return string(text), nil
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
