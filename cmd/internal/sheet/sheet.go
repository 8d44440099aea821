// Package sheet reads a table of queue items: a CSV file with a header row,
// one item a row.
//
// Columns named Reference, Priority, Deadline and Postpone, in any case, are
// the item's own members, as in Orchestrator's CSV upload; every other column
// is a field of its SpecificContent. What a row asks for and whether it can
// work is decided here; publishing is the caller's.
//
// Every row gets a key that depends on what the row says and never on where
// it stands, so that importing the same file, or one that has grown, asks for
// nothing twice:
//
//   - the value of the column that Options.Key names, or
//   - the row's Reference where it has one, or
//   - a hash of the row's content and how many equal rows stand before it.
//
// A key that stands in the file before is a fault of the later row. To find
// such rows the file is read twice: [Sheet.Index] notes what every row would
// be called, [Sheet.Rows] gives the rows. Neither holds more than a few
// megabytes however long the file is; what has to be remembered lies in
// temporary files, and so does input that cannot be read twice.
package sheet

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"waybill/pipeline"
)

// Options say how a table is to be read. The zero value of each but Lane has a
// meaning.
type Options struct {
	// Lane is where the items go.
	Lane pipeline.Lane
	// Delimiter stands between values: comma, semicolon or tab. Zero: found
	// from the header, where only one of them occurs.
	Delimiter rune
	// Key names the column whose values are the keys.
	Key string
	// ContentKeys makes every key from the row's content, Reference or not.
	ContentKeys bool
	// Types says which columns hold something else than text.
	Types map[string]Type
	// Priority is that of rows that have none: High, Normal, Low; empty:
	// Orchestrator's default.
	Priority string
	// Location is the time zone of dates that have none. Nil: such dates are
	// refused.
	Location *time.Location
	// Until and NotAfter are passed on with every request.
	Until    pipeline.Until
	NotAfter time.Time
}

// FormatError says why a file cannot be read as a table at all.
type FormatError struct {
	Line   int    // 0: the file as a whole
	Column string // the column's name, where it is about one
	Mend   string // what is wrong and what to do about it
	// Rest is set where the rows before Line are sound, and nothing after it
	// can be trusted.
	Rest bool
}

// Error gives line, column and mend.
func (e *FormatError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, "column %s: ", e.Column)
	}
	return b.String() + e.Mend
}

// Row is one row below the header.
type Row struct {
	// Number counts rows as a spreadsheet shows them: the header is row 1.
	Number int
	// Line is the line of the file where the row begins.
	Line int
	// Fields holds the values as they stand, one a column. A row that could
	// not be taken apart has Text instead.
	Fields []string
	Text   string
	// Request asks for the item, unless Err says why it cannot: one or several
	// *pipeline.InvalidError, joined, whose Field is a column's name.
	Request pipeline.Request
	Err     error
	// Reference is the item's, where it is not its key.
	Reference string
	// End is how many bytes of the file have been read with this row.
	End int64
}

// Sheet is an open table.
type Sheet struct {
	opts     Options
	file     io.ReaderAt
	size     int64
	modified time.Time
	mark     []byte // the byte order mark, if there is one
	start    int64  // past the mark and the skipped lines
	skipped  int    // lines before the header
	spooled  *tempFile
	comma    rune
	columns  []column
	sorted   []int // the imported columns by name
	seen     *occurrences
}

// Open reads the header. Input that is not a regular file is copied to a
// temporary file first, which ends early when the context does. The caller
// still closes the file.
func Open(ctx context.Context, file io.Reader, opts Options) (*Sheet, error) {
	s := &Sheet{opts: opts, comma: opts.Delimiter}
	if err := s.attach(ctx, file); err != nil {
		return nil, err
	}
	if err := s.readHeader(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// attach finds something that can be read twice.
func (s *Sheet) attach(ctx context.Context, file io.Reader) error {
	if f, ok := file.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			s.file, s.size, s.modified = f, info.Size(), info.ModTime()
			return nil
		}
	}
	spooled, size, err := spool(ctx, file)
	if err != nil {
		return err
	}
	s.file, s.size, s.spooled = spooled, size, spooled
	return nil
}

// Size is how many bytes there are to read.
func (s *Sheet) Size() int64 { return s.size }

// Header gives the columns' names.
func (s *Sheet) Header() []string {
	names := make([]string, len(s.columns))
	for i, c := range s.columns {
		names[i] = c.name
	}
	return names
}

// Close removes the temporary files.
func (s *Sheet) Close() error {
	var faults []error
	if s.spooled != nil {
		faults = append(faults, s.spooled.Close())
	}
	if s.seen != nil {
		faults = append(faults, s.seen.close())
	}
	return errors.Join(faults...)
}

// Index reads the file once and notes which rows repeat an earlier one. It
// finds out whether the file is UTF-8 throughout, before anything has been
// done with a row. Progress, if not nil, is told how many bytes were read.
func (s *Sheet) Index(ctx context.Context, progress func(bytes int64)) error {
	seen, err := newOccurrences()
	if err != nil {
		return err
	}
	s.seen = seen
	rows := 0
	for r, err := range s.records() {
		if broken, ok := errors.AsType[*FormatError](err); ok && broken.Rest {
			rows++ // Rows comes to the same place and tells
			break
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("read the file: %w", context.Cause(ctx))
		}
		rows++
		if id, ok := s.identity(r); ok {
			if err := seen.add(id, r.row); err != nil {
				return err
			}
		}
		if progress != nil {
			progress(r.end)
		}
	}
	if rows == 0 {
		return &FormatError{Mend: "the file has a header and no rows below it: there is nothing to import"}
	}
	return seen.count()
}

// Rows gives the rows in order; blank ones are left out. Index must have been
// called. An error ends it: a *FormatError with Rest set where the file cannot
// be trusted any further.
func (s *Sheet) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for r, err := range s.records() {
			row := Row{}
			if err == nil {
				row, err = s.row(r)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if err := s.unchanged(); err != nil {
			yield(Row{}, err)
		}
	}
}

// unchanged makes sure that both readings saw the same file.
func (s *Sheet) unchanged() error {
	f, ok := s.file.(*os.File)
	if !ok {
		return nil // our own copy
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	if info.Size() != s.size || !info.ModTime().Equal(s.modified) {
		return errors.New("the file was changed while it was read; run this again when it is complete, it adds the rest")
	}
	return nil
}

// records gives what stands below the header.
func (s *Sheet) records() iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		p := s.newPass()
		if _, err := p.read(); err != nil {
			yield(record{}, err)
			return
		}
		for {
			r, err := p.read()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil && r.isBlank() {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// row turns a record into a request or says what is wrong with it.
func (s *Sheet) row(r record) (Row, error) {
	row := Row{Number: r.row, Line: r.line, Fields: r.fields, End: r.end}
	if r.fault != nil {
		row.Err = r.fault
		if r.fields == nil {
			row.Text = r.text
		}
		return row, nil
	}
	key, err := s.key(r)
	if fault, ok := errors.AsType[*pipeline.InvalidError](err); ok {
		row.Err = fault
		return row, nil
	}
	if err != nil {
		return row, err
	}
	row.Request, row.Err = s.request(key, r.fields)
	if i := s.at(roleReference); i >= 0 && strings.TrimSpace(r.fields[i]) != key {
		row.Reference = strings.TrimSpace(r.fields[i])
	}
	return row, nil
}

// isBlank reports whether every value is empty: spreadsheets leave such rows
// at the end.
func (r record) isBlank() bool {
	return r.fault == nil && isEmpty(r.fields)
}

func isEmpty(fields []string) bool {
	for _, field := range fields {
		if field != "" {
			return false
		}
	}
	return true
}

// Imported gives the values of a row, or of the header, that are not left out:
// empty ones for a row that could not be taken apart.
func (s *Sheet) Imported(fields []string) []string {
	var imported []string
	for i, c := range s.columns {
		switch {
		case c.role == roleIgnored:
		case fields == nil:
			imported = append(imported, "")
		default:
			imported = append(imported, fields[i])
		}
	}
	return imported
}

// Writer returns a writer of the same form of CSV as the sheet's.
func (s *Sheet) Writer(w io.Writer) (*csv.Writer, error) {
	if _, err := w.Write(s.mark); err != nil {
		return nil, fmt.Errorf("write the byte order mark: %w", err)
	}
	out := csv.NewWriter(w)
	out.Comma = s.comma
	return out, nil
}

// KeyColumn names the column that the keys come from; empty if they come from
// the content.
func (s *Sheet) KeyColumn() string {
	if i := s.keyColumn(); i >= 0 {
		return s.columns[i].name
	}
	return ""
}
