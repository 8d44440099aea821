package sheet

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"waybill/pipeline"
)

// identity is what makes two rows ask for the same: a hash of the key that the
// file gives, or of the whole content.
type identity [16]byte

// keyColumn is where the keys stand, or -1 where each is made from the
// content.
func (s *Sheet) keyColumn() int {
	switch {
	case s.opts.Key != "":
		return find(s.columns, s.opts.Key)
	case s.opts.ContentKeys:
		return -1
	}
	return s.at(roleReference)
}

// givenKey is the key that stands in the row. Blanks around it are no part of
// it.
func (s *Sheet) givenKey(fields []string) string {
	if i := s.keyColumn(); i >= 0 {
		return strings.TrimSpace(fields[i])
	}
	return ""
}

// identity tells rows apart. A row that cannot have a key has none.
func (s *Sheet) identity(r record) (identity, bool) {
	if r.fault != nil {
		return identity{}, false
	}
	if key := s.givenKey(r.fields); key != "" {
		return hash("key", key), true
	}
	if s.opts.Key != "" {
		return identity{}, false
	}
	return s.contentHash(r.fields), true
}

// contentHash covers every column that is imported, by name, so that it stays
// the same when columns change places.
func (s *Sheet) contentHash(fields []string) identity {
	parts := []string{"row"}
	for _, i := range s.sorted {
		parts = append(parts, s.columns[i].name, fields[i])
	}
	return hash(parts...)
}

func hash(parts ...string) identity {
	h := sha256.New()
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return identity(h.Sum(nil)[:len(identity{})])
}

// sortedColumns orders the imported columns by name.
func sortedColumns(columns []column) []int {
	var order []int
	for i, c := range columns {
		if c.role != roleIgnored {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(columns[a].name, columns[b].name) })
	return order
}

// key names the row's request. The error is an *pipeline.InvalidError where
// the row has no key of its own.
func (s *Sheet) key(r record) (string, error) {
	nth, first, err := s.seen.of(r.row)
	if err != nil {
		return "", err
	}
	key := s.givenKey(r.fields)
	if key == "" && s.opts.Key != "" {
		return "", &pipeline.InvalidError{Field: s.columns[s.keyColumn()].name, Mend: "it is empty, and the column is to give every row its key; fill it in"}
	}
	if key == "" {
		return contentKey(s.contentHash(r.fields), nth), nil
	}
	if nth > 1 {
		return "", &pipeline.InvalidError{Field: s.columns[s.keyColumn()].name, Value: key, Mend: fmt.Sprintf("row %d has the same; if this row is meant to be an item of its own, import it by itself with --content-keys", first)}
	}
	return key, nil
}

// contentKey names the nth row of a content. It serves as the item's Reference
// too, so it is short and plain.
func contentKey(id identity, nth int) string {
	key := "row-" + hex.EncodeToString(id[:])
	if nth > 1 {
		key += "-" + strconv.Itoa(nth)
	}
	return key
}
