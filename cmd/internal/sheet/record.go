package sheet

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"waybill/pipeline"
)

// maxRowBytes bounds a row, and with it the memory that a quote which is
// never closed can take. Orchestrator takes items of 500 KB.
const maxRowBytes = 4 << 20

var errRowTooLong = errors.New("row too long")

// record is a row taken apart, or the reason why it could not be.
type record struct {
	row, line int
	fields    []string
	text      string // where fields is nil
	fault     *pipeline.InvalidError
	end       int64
}

// pass reads the file once from its beginning, the header included.
type pass struct {
	sheet *Sheet
	csv   *csv.Reader
	limit *limitedReader
	row   int
}

func (s *Sheet) newPass() *pass {
	limit := &limitedReader{from: io.NewSectionReader(s.file, s.start, s.size-s.start)}
	r := csv.NewReader(bufio.NewReaderSize(limit, 64<<10))
	r.Comma = s.comma
	r.FieldsPerRecord = -1 // counted here, to say more
	return &pass{sheet: s, csv: r, limit: limit}
}

// limitedReader fails where one row goes on for too long.
type limitedReader struct {
	from        io.Reader
	read, until int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.read >= l.until {
		return 0, errRowTooLong
	}
	n, err := l.from.Read(p[:min(int64(len(p)), l.until-l.read)])
	l.read += int64(n)
	return n, err //nolint:wrapcheck // io.EOF must stay what it is
}

// read gives the next row. A row that is faulty by itself is no error: the
// next line can be trusted again. Errors are io.EOF, a *FormatError, or what
// went wrong with reading.
func (p *pass) read() (record, error) {
	start := p.csv.InputOffset()
	p.limit.until = start + maxRowBytes
	fields, err := p.csv.Read()
	if errors.Is(err, io.EOF) {
		return record{}, io.EOF
	}
	p.row++
	r := record{row: p.row, fields: fields, end: p.csv.InputOffset()}
	if err != nil {
		return p.malformed(r, start, err)
	}
	r.line, _ = p.csv.FieldPos(0)
	r.line += p.sheet.skipped
	if !isUTF8(fields) {
		return r, &FormatError{Line: r.line, Mend: notUTF8}
	}
	err = p.check(&r, start)
	return r, err
}

// check finds the faults of a row that could be taken apart.
func (p *pass) check(r *record, start int64) error {
	columns := p.sheet.columns
	if columns == nil {
		return nil // this is the header
	}
	if len(r.fields) != len(columns) {
		r.fault = &pipeline.InvalidError{Field: "row", Mend: fmt.Sprintf("it has %d values, the header names %d columns; put a value that contains the separator into quotes, and keep the separators of empty values", len(r.fields), len(columns))}
		text, err := p.text(start)
		r.text, r.fields = string(bytes.TrimSpace(text)), nil
		return err
	}
	if isEmpty(p.sheet.Imported(r.fields)) && !isEmpty(r.fields) {
		r.fault = &pipeline.InvalidError{Field: "row", Mend: "it was rejected before and not mended; write its values into their columns"}
		return nil
	}
	for i, field := range r.fields {
		if strings.ContainsRune(field, 0) {
			r.fault = &pipeline.InvalidError{Field: columns[i].name, Value: field, Mend: "it contains a NUL byte; remove it"}
			return nil
		}
	}
	return nil
}

// malformed tells a row that is broken by itself from a place after which
// nothing can be trusted.
func (p *pass) malformed(r record, start int64, cause error) (record, error) {
	parse, isParse := errors.AsType[*csv.ParseError](cause)
	if !isParse && !errors.Is(cause, errRowTooLong) {
		return r, fmt.Errorf("read the file: %w", cause)
	}
	text, err := p.text(start)
	if err != nil {
		return r, err
	}
	column := ""
	if len(r.fields) < len(p.sheet.columns) {
		column = p.sheet.columns[len(r.fields)].name
	}
	opened, open := openQuote(text, p.sheet.comma)
	if isParse && (!open || errors.Is(cause, csv.ErrBareQuote)) {
		r.line, r.fields, r.text = parse.StartLine+p.sheet.skipped, nil, string(bytes.TrimSpace(text))
		r.fault = &pipeline.InvalidError{Field: cmp.Or(column, "row"), Mend: `a quote stands inside a value; put the whole value into quotes and double those within, as in "5"" pipe"`}
		return r, nil
	}
	line, err := p.lineAt(r.end - int64(len(text)))
	if err != nil {
		return r, err
	}
	if open {
		return r, &FormatError{Line: line + opened, Column: column, Rest: true, Mend: "the quote that opens here is never closed, so nothing after it can be told apart; close it, or double it if it belongs to the value"}
	}
	return r, &FormatError{Line: line, Rest: true, Mend: fmt.Sprintf("the row is longer than %d MiB; is this a CSV file?", maxRowBytes>>20)}
}

// text gives the row that was just read as it stands in the file, without the
// blank lines before it.
func (p *pass) text(start int64) ([]byte, error) {
	text := make([]byte, p.csv.InputOffset()-start)
	if _, err := p.sheet.file.ReadAt(text, p.sheet.start+start); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return bytes.TrimLeft(text, "\r\n"), nil
}

// lineAt counts the lines before an offset, since encoding/csv does not say
// where a row that it gave up began.
func (p *pass) lineAt(offset int64) (int, error) {
	r := bufio.NewReader(io.NewSectionReader(p.sheet.file, p.sheet.start, offset))
	for line := 1 + p.sheet.skipped; ; {
		switch _, err := r.ReadSlice('\n'); {
		case err == nil:
			line++
		case errors.Is(err, io.EOF):
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return 0, fmt.Errorf("read the file: %w", err)
		}
	}
}

// openQuote reports whether the text ends within a quoted value and, if so, on
// which of its lines, counted from 0, that value begins.
func openQuote(text []byte, comma rune) (line int, open bool) {
	separators := string(comma) + "\r\n"
	current := 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\n':
			current++
		case text[i] != '"':
		case !open:
			line, open = current, true
		case i+1 < len(text) && text[i+1] == '"':
			i++
		case i+1 < len(text) && !strings.ContainsRune(separators, rune(text[i+1])):
			return 0, false // the value ends here, and something follows it
		default:
			open = false
		}
	}
	return line, open
}

func isUTF8(fields []string) bool {
	for _, field := range fields {
		if !utf8.ValidString(field) {
			return false
		}
	}
	return true
}
