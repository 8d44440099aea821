package sheet

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readHeader checks the encoding, settles the delimiter and reads the columns.
func (s *Sheet) readHeader() error {
	if err := s.checkEncoding(); err != nil {
		return err
	}
	if err := s.readSeparator(); err != nil {
		return err
	}
	if s.comma == 0 {
		var err error
		if s.comma, err = s.findDelimiter(); err != nil {
			return err
		}
	}
	r, err := s.newPass().read()
	if errors.Is(err, io.EOF) {
		return &FormatError{Mend: "the file is empty: the first row names the columns, each further row is an item"}
	}
	if err != nil {
		return err
	}
	if r.fault != nil {
		return &FormatError{Line: r.line, Mend: "the header cannot be read: " + r.fault.Mend}
	}
	if s.columns, err = newColumns(r.line, r.fields, s.opts); err != nil {
		return err
	}
	s.sorted = sortedColumns(s.columns)
	return nil
}

var (
	bomUTF8    = []byte{0xEF, 0xBB, 0xBF}
	bomUTF16LE = []byte{0xFF, 0xFE}
	bomUTF16BE = []byte{0xFE, 0xFF}
)

const notUTF8 = "the file is not UTF-8; save it as \"CSV UTF-8\", or convert it, for example with: iconv -f WINDOWS-1252 -t UTF-8"

// zipMagic begins a ZIP file, which an Excel workbook is.
var zipMagic = []byte("PK\x03\x04")

// checkEncoding skips the byte order mark of UTF-8 and refuses what is plainly
// UTF-16 or no text at all. Bytes that are not UTF-8 are found row by row.
func (s *Sheet) checkEncoding() error {
	begin, err := s.peek(4)
	if err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(begin, bomUTF8):
		s.mark = bomUTF8
		s.start = int64(len(bomUTF8))
	case bytes.Equal(begin, zipMagic):
		return &FormatError{Mend: "this is an Excel workbook; save it as \"CSV UTF-8\""}
	case bytes.HasPrefix(begin, bomUTF16LE), bytes.HasPrefix(begin, bomUTF16BE), len(begin) > 1 && (begin[0] == 0 || begin[1] == 0):
		return &FormatError{Mend: "the file is UTF-16, not UTF-8; save it as \"CSV UTF-8\", or convert it with: iconv -f UTF-16 -t UTF-8"}
	}
	return nil
}

// peek gives up to n bytes of what is still to be read.
func (s *Sheet) peek(n int) ([]byte, error) {
	begin := make([]byte, n)
	n, err := s.file.ReadAt(begin, s.start)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return begin[:n], nil
}

// readSeparator takes a line such as sep=; before the header, by which Excel is
// told the delimiter. Excel does not show it, so it is no row.
func (s *Sheet) readSeparator() error {
	begin, err := s.peek(len("sep=;\r\n"))
	if err != nil {
		return err
	}
	line, _, ended := strings.Cut(string(begin), "\n")
	said, is := strings.CutPrefix(strings.TrimSuffix(line, "\r"), "sep=")
	if !is || !ended {
		return nil
	}
	if said != "," && said != ";" && said != "\t" {
		return &FormatError{Line: 1, Mend: fmt.Sprintf("sep=%s: use a comma, a semicolon or a tab", said)}
	}
	s.comma = cmp.Or(s.comma, rune(said[0]))
	s.start += int64(len(line) + 1)
	s.skipped = 1
	return nil
}

// findDelimiter looks for the one separator that the header's line has outside
// quotes. Two of them could mean two different tables, so nobody guesses.
func (s *Sheet) findDelimiter() (rune, error) {
	line, err := s.firstLine()
	if err != nil {
		return 0, err
	}
	var found []rune
	for _, r := range ",;\t" {
		if countOutsideQuotes(line, r) > 0 {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return ',', nil // one column alone
	case 1:
		return found[0], nil
	}
	return 0, &FormatError{Line: 1, Mend: "the header has commas, semicolons or tabs side by side; say which one separates the values with --delimiter"}
}

func (s *Sheet) firstLine() (string, error) {
	const enough = 64 << 10
	text := make([]byte, min(enough, s.size-s.start))
	if _, err := s.file.ReadAt(text, s.start); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the header: %w", err)
	}
	line, _, _ := strings.Cut(strings.TrimLeft(string(text), "\r\n"), "\n")
	return line, nil
}

func countOutsideQuotes(line string, want rune) int {
	n, quoted := 0, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted = !quoted
		case r == want && !quoted:
			n++
		}
	}
	return n
}
