package sheet

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Type says what the values of a column are in SpecificContent.
type Type string

// The types of columns. Text is the default: what looks like a number, such as
// 00042, often is none.
const (
	Text    Type = "text"
	Number  Type = "number"
	Boolean Type = "boolean"
)

// column is one column by its header.
type column struct {
	name string
	role role
	kind Type
}

// role says what a column's values are to the item.
type role int

const (
	roleContent role = iota
	roleReference
	rolePriority
	roleDeadline
	rolePostpone
	roleIgnored
)

var members = map[string]role{
	"reference": roleReference,
	"priority":  rolePriority,
	"deadline":  roleDeadline,
	"postpone":  rolePostpone,
}

// IgnoredPrefix opens the names of columns that are left out. A list of
// rejected rows has such columns, so that it can be mended and imported as it
// is. Orchestrator's field names have no colon.
const IgnoredPrefix = "waybill:"

// newColumns reads the header; the error, a *FormatError, names the column.
func newColumns(line int, header []string, opts Options) ([]column, error) {
	columns := make([]column, 0, len(header))
	for i, name := range header {
		c, err := newColumn(strings.TrimSpace(name), columns, opts)
		if err != "" {
			return nil, &FormatError{Line: line, Column: fmt.Sprintf("%d %q", i+1, name), Mend: err}
		}
		columns = append(columns, c)
	}
	if opts.Key != "" && find(columns, opts.Key) < 0 {
		return nil, &FormatError{Line: line, Mend: fmt.Sprintf("there is no column %q for the keys; there are %s", opts.Key, list(columns))}
	}
	for name := range opts.Types {
		if i := find(columns, name); i < 0 || columns[i].role != roleContent {
			return nil, &FormatError{Line: line, Mend: fmt.Sprintf("there is no column of content %q to give a type; there are %s", name, list(columns))}
		}
	}
	return columns, nil
}

// newColumn gives the column of that name, or why there can be none after
// those before it.
func newColumn(name string, before []column, opts Options) (column, string) {
	c := column{name: name, role: members[strings.ToLower(name)], kind: Text}
	if strings.HasPrefix(name, IgnoredPrefix) {
		c.role = roleIgnored
		return c, ""
	}
	for typed, kind := range opts.Types {
		if strings.EqualFold(typed, name) {
			c.kind = kind
		}
	}
	switch {
	case name == "":
		return c, "it has no name; name it, or remove the column"
	case strings.ContainsFunc(name, unicode.IsControl):
		return c, "its name has a line break or another control character; rename it, and if the lines end in CR alone, save the file with line feeds"
	case strings.ContainsAny(name, `:.,@"#`):
		return c, `Orchestrator's field names have none of : . , @ " #; rename it`
	case slices.ContainsFunc(before, func(b column) bool { return strings.EqualFold(b.name, name) }):
		return c, "another column has that name already, in these or other letters; rename one"
	}
	return c, ""
}

// find gives the place of a column by its name, without regard to case, or -1.
func find(columns []column, name string) int {
	return slices.IndexFunc(columns, func(c column) bool { return strings.EqualFold(c.name, name) })
}

// at gives the place of the column with a role, or -1.
func (s *Sheet) at(r role) int {
	return slices.IndexFunc(s.columns, func(c column) bool { return c.role == r })
}

func list(columns []column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// columnOf gives the column that a member of the request was made from.
func (s *Sheet) columnOf(field string) string {
	if name, ok := strings.CutPrefix(field, "item.SpecificContent."); ok {
		return name
	}
	if field == "item.SpecificContent" {
		return "row"
	}
	for member, i := range map[string]int{
		"key":            s.keyColumn(),
		"item.Reference": s.at(roleReference),
		"item.Priority":  s.at(rolePriority),
		"item.DueDate":   s.at(roleDeadline),
		"item.DeferDate": s.at(rolePostpone),
	} {
		if field == member && i >= 0 {
			return s.columns[i].name
		}
	}
	return field
}
