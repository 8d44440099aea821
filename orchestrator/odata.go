package orchestrator

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Query narrows a listing, in the terms of the page "Building API requests" of
// UiPath's API guide. The zero value lists everything.
type Query struct {
	Filter  string // $filter; see Eq and the functions beside it
	OrderBy string // $orderby; default Id, so that pages do not shift while new things are added
	Select  string // $select
	Expand  string // $expand
	Top     int    // page size; default: what the listing's server side allows at most
	Limit   int    // how many to give in all; 0: every one
}

// encode is the query string of the page that begins after skip entries.
// Blanks are sent as %20: not every proxy and version reads + as one.
func (q Query) encode(skip, top int) string {
	params := []struct{ name, value string }{
		{"$filter", q.Filter},
		{"$select", q.Select},
		{"$expand", q.Expand},
		{"$orderby", q.OrderBy},
		{"$top", strconv.Itoa(top)},
		{"$skip", strconv.Itoa(skip)},
		{"$count", "true"},
	}
	var b strings.Builder
	for _, p := range params {
		if p.value == "" || p.name == "$skip" && skip == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + strings.ReplaceAll(url.QueryEscape(p.value), "+", "%20"))
	}
	return b.String()
}

// page is one answer of a listing.
type page[T any] struct {
	Count *int64 `json:"@odata.count"`
	Value *[]T   `json:"value"`
}

func (p *page[T]) missing() string {
	if p.Value == nil {
		return "value"
	}
	return ""
}

// last tells whether nothing follows, after seen entries in all. The count is
// believed where it comes; a page shorter than asked for is not the end by
// itself, since a server may cap its pages lower.
func (p *page[T]) last(seen, top int) bool {
	switch {
	case len(*p.Value) == 0:
		return true
	case p.Count != nil:
		return int64(seen) >= *p.Count
	}
	return len(*p.Value) < top
}

// list walks through all pages of a listing; the first error ends it.
func list[T any](ctx context.Context, c *Client, cl call, q Query, maxTop int) iter.Seq2[T, error] {
	if q.OrderBy == "" {
		q.OrderBy = "Id"
	}
	top := maxTop
	if q.Top > 0 {
		top = q.Top
	}
	if q.Limit > 0 {
		top = min(top, q.Limit)
	}
	return func(yield func(T, error) bool) {
		seen := 0
		for {
			var p page[T]
			if err := c.do(ctx, cl.page(q.encode(seen, top), &p)); err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range *p.Value {
				seen++
				if !yield(entry, nil) || seen == q.Limit {
					return
				}
			}
			if p.last(seen, top) {
				return
			}
		}
	}
}

// page is the call for one page of a listing.
func (cl call) page(query string, into answerBody) call {
	cl.method, cl.query, cl.into = http.MethodGet, query, into
	return cl
}

// entity is the path of one entity of a set.
func entity(set string, id int64) string {
	return "/odata/" + set + "(" + strconv.FormatInt(id, 10) + ")"
}

// Eq is the filter property eq 'value'.
func Eq(property, value string) string { return property + " eq " + quote(value) }

// EqInt is the filter property eq value.
func EqInt(property string, value int64) string {
	return property + " eq " + strconv.FormatInt(value, 10)
}

// EqGUID is the filter property eq value, unquoted as GUIDs are written.
func EqGUID(property, value string) string { return property + " eq " + value }

// In is the filter property in ('a','b'). No value at all matches nothing.
func In(property string, values ...string) string {
	quoted := make([]string, len(values))
	for i, value := range values {
		quoted[i] = quote(value)
	}
	return in(property, quoted)
}

// InInt is the filter property in (1,2). No value at all matches nothing.
func InInt(property string, values ...int64) string {
	digits := make([]string, len(values))
	for i, value := range values {
		digits[i] = strconv.FormatInt(value, 10)
	}
	return in(property, digits)
}

func in(property string, values []string) string {
	if len(values) == 0 {
		return "false"
	}
	return property + " in (" + strings.Join(values, ",") + ")"
}

// Ge is the filter property ge t, to the millisecond.
func Ge(property string, t time.Time) string { return property + " ge " + timeLiteral(t) }

// Lt is the filter property lt t, to the millisecond.
func Lt(property string, t time.Time) string { return property + " lt " + timeLiteral(t) }

// And joins filters of which all must hold; empty ones are left out.
func And(filters ...string) string { return join(" and ", filters) }

// Or joins filters of which one must hold; empty ones are left out.
func Or(filters ...string) string { return join(" or ", filters) }

func join(operator string, filters []string) string {
	var kept []string
	for _, filter := range filters {
		if filter != "" {
			kept = append(kept, filter)
		}
	}
	if len(kept) < 2 {
		return strings.Join(kept, "")
	}
	return "(" + strings.Join(kept, ")"+operator+"(") + ")"
}

// quote doubles single quotes: undoubled they would end the text early.
func quote(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

func timeLiteral(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
