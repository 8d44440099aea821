package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// value is what a property of an entity holds, in the member that its kind calls for.
type value struct {
	null   bool
	text   string // kindText, kindEnum, and kindGUID in its canonical form
	number float64
	moment time.Time
}

type kind int

const (
	kindText kind = iota
	kindNumber
	kindBool // number 0 or 1
	kindMoment
	kindGUID
	kindEnum
)

// field is a property that can be filtered by.
type field[T any] struct {
	kind     kind
	names    []string // of an enumeration, in the order of their numbers
	unsorted bool     // $orderby by it is refused
	fold     bool     // text that is compared without regard to case
	get      func(T) value
}

func textField[T any](get func(T) string) field[T] {
	return field[T]{kind: kindText, get: func(t T) value { s := get(t); return value{text: s, null: s == ""} }}
}

// foldedField is a text that is compared without regard to case, whatever the switch says.
func foldedField[T any](get func(T) string) field[T] {
	f := textField(get)
	f.fold = true
	return f
}

func enumField[T any](names []string, get func(T) string) field[T] {
	return field[T]{kind: kindEnum, names: names, get: func(t T) value { s := get(t); return value{text: s, null: s == ""} }}
}

func numberField[T any](get func(T) int64) field[T] {
	return field[T]{kind: kindNumber, get: func(t T) value { return value{number: float64(get(t))} }}
}

// optionalField is a number whose absence is 0.
func optionalField[T any](get func(T) int64) field[T] {
	return field[T]{kind: kindNumber, get: func(t T) value { n := get(t); return value{number: float64(n), null: n == 0} }}
}

func boolField[T any](get func(T) bool) field[T] {
	return field[T]{kind: kindBool, get: func(t T) value { return boolValue(get(t)) }}
}

func momentField[T any](get func(T) time.Time) field[T] {
	return field[T]{kind: kindMoment, get: func(t T) value { m := get(t); return value{moment: m, null: m.IsZero()} }}
}

func guidField[T any](get func(T) uuid.UUID) field[T] {
	return field[T]{kind: kindGUID, get: func(t T) value {
		g := get(t)
		return value{text: g.String(), null: g == uuid.Nil}
	}}
}

func boolValue(b bool) value {
	if b {
		return value{number: 1}
	}
	return value{}
}

// literalValue reads a literal as a value of the field's kind.
func (f field[T]) literalValue(l literal) (value, bool) {
	if l.kind == literalNull {
		return value{null: true}, true
	}
	switch f.kind {
	case kindText:
		return value{text: l.text}, l.kind == literalText
	case kindNumber:
		n, err := strconv.ParseFloat(l.text, 64)
		return value{number: n}, err == nil && l.kind == literalBare
	case kindBool:
		return boolValue(l.text == "true"), l.kind == literalBool
	case kindMoment:
		m, err := time.Parse(time.RFC3339Nano, l.text)
		return value{moment: m}, err == nil && l.kind == literalBare
	case kindGUID:
		g, err := uuid.Parse(l.text)
		return value{text: g.String()}, err == nil && (l.kind == literalBare || l.kind == literalText)
	case kindEnum:
		name, ok := enumName(f.names, l)
		return value{text: name}, ok
	}
	return value{}, false
}

// enumName accepts the name or the number of an enumeration's member, both in quotes.
func enumName(names []string, l literal) (string, bool) {
	if l.kind != literalText {
		return "", false
	}
	if slices.Contains(names, l.text) {
		return l.text, true
	}
	if n, err := strconv.Atoi(l.text); err == nil && 0 <= n && n < len(names) {
		return names[n], true
	}
	return "", false
}

func (f field[T]) compare(a, b value) int {
	switch f.kind {
	case kindText, kindGUID:
		return cmp.Compare(a.text, b.text)
	case kindNumber, kindBool:
		return cmp.Compare(a.number, b.number)
	case kindMoment:
		return a.moment.Compare(b.moment)
	case kindEnum:
		return cmp.Compare(slices.Index(f.names, a.text), slices.Index(f.names, b.text))
	}
	return 0
}

// collection is an entity set of the API: what it can be filtered by and what its entities look like.
type collection[T any] struct {
	name   string
	fields map[string]field[T] // by lower-case name
	expand []string            // navigation properties that $expand may name
	entity func(t T, expand []string) any
	rules  func(*Config) collectionRules
}

// collectionRules are the settings that differ from one collection to the next.
type collectionRules struct {
	maxTop  int
	refused []string // lower-case fields that filters may not name
	blind   []string // lower-case fields that filters never match
}

// predicate says whether an entity passes a $filter.
type predicate[T any] func(T) bool

// compiler turns a parsed $filter into a predicate.
type compiler[T any] struct {
	collection collection[T]
	rules      collectionRules
	fold       bool // compare text without regard to case
	left       int  // comparisons that are still allowed
}

func (c *compiler[T]) compile(n node) (predicate[T], bool) {
	switch n := n.(type) {
	case logical:
		return c.logical(n)
	case negation:
		of, ok := c.compile(n.of)
		return func(t T) bool { return !of(t) }, ok
	case comparison:
		return c.comparison(n)
	case membership:
		return c.membership(n)
	case truth:
		return c.comparison(comparison{op: "eq", left: n.of, right: operand{literal: literal{kind: literalBool, text: "true"}}})
	}
	return nil, false
}

func (c *compiler[T]) logical(n logical) (predicate[T], bool) {
	left, ok := c.compile(n.left)
	if !ok {
		return nil, false
	}
	right, ok := c.compile(n.right)
	if n.op == "and" {
		return func(t T) bool { return left(t) && right(t) }, ok
	}
	return func(t T) bool { return left(t) || right(t) }, ok
}

func (c *compiler[T]) field(name string) (f field[T], blind, ok bool) {
	lower := strings.ToLower(name)
	f, ok = c.collection.fields[lower]
	if slices.Contains(c.rules.refused, lower) {
		ok = false
	}
	if f.fold = f.fold || c.fold; f.fold && f.kind == kindText {
		get := f.get
		f.get = func(t T) value { v := get(t); v.text = strings.ToLower(v.text); return v }
	}
	return f, slices.Contains(c.rules.blind, lower), ok
}

func (c *compiler[T]) literal(f field[T], l literal) (value, bool) {
	v, ok := f.literalValue(l)
	if f.kind == kindText && f.fold {
		v.text = strings.ToLower(v.text)
	}
	return v, ok
}

// mirrored is the operator that says the same with its operands exchanged.
var mirrored = map[string]string{"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}

func (c *compiler[T]) comparison(n comparison) (predicate[T], bool) {
	if n.left.property == "" {
		n = comparison{op: mirrored[n.op], left: n.right, right: n.left}
	}
	f, blind, ok := c.field(n.left.property)
	c.left--
	if !ok || c.left < 0 {
		return nil, false
	}
	other, ok := c.operand(f, n.right)
	if !ok {
		return nil, false
	}
	if blind {
		return func(T) bool { return false }, true
	}
	return func(t T) bool { return holds(f, n.op, f.get(t), other(t)) }, true
}

func (c *compiler[T]) operand(f field[T], o operand) (func(T) value, bool) {
	if o.property != "" {
		other, _, ok := c.field(o.property)
		return other.get, ok && other.kind == f.kind
	}
	v, ok := c.literal(f, o.literal)
	return func(T) value { return v }, ok
}

func (c *compiler[T]) membership(n membership) (predicate[T], bool) {
	f, blind, ok := c.field(n.property)
	c.left -= len(n.values)
	if !ok || c.left < 0 {
		return nil, false
	}
	values := make([]value, len(n.values))
	for i, l := range n.values {
		if values[i], ok = c.literal(f, l); !ok {
			return nil, false
		}
	}
	return func(t T) bool {
		v := f.get(t)
		return !blind && slices.ContainsFunc(values, func(other value) bool { return holds(f, "eq", v, other) })
	}, true
}

// holds decides one comparison. Null equals null alone, and is neither more nor less than anything.
func holds[T any](f field[T], op string, a, b value) bool {
	if a.null || b.null {
		return (op == "eq" && a.null == b.null) || (op == "ne" && a.null != b.null)
	}
	order := f.compare(a, b)
	switch op {
	case "eq":
		return order == 0
	case "ne":
		return order != 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	}
	return false
}

// pinned returns the literals one of which a property must equal for a filter to hold, so that an index can be used.
func pinned(n node, property string) (values []literal, ok bool) {
	switch n := n.(type) {
	case comparison:
		if n.op == "eq" && strings.EqualFold(n.left.property, property) {
			return []literal{n.right.literal}, n.right.literal.isGiven()
		}
	case membership:
		return n.values, strings.EqualFold(n.property, property) && !slices.ContainsFunc(n.values, literal.isNull)
	case logical:
		left, leftOK := pinned(n.left, property)
		right, rightOK := pinned(n.right, property)
		switch {
		case n.op == "or":
			return slices.Concat(left, right), leftOK && rightOK
		case leftOK:
			return left, true
		default:
			return right, rightOK
		}
	}
	return nil, false
}

// pinnedBy reads what pinned found by a parser; what it cannot read can match nothing.
func pinnedBy[V any](n node, property string, parse func(string) (V, error)) (values []V, ok bool) {
	literals, ok := pinned(n, property)
	for _, l := range literals {
		if v, err := parse(l.text); err == nil {
			values = append(values, v)
		}
	}
	return values, ok
}

// since returns the earliest time that a property may have for a filter to hold; zero if any.
func since(n node, property string) time.Time {
	switch n := n.(type) {
	case comparison:
		if (n.op == "ge" || n.op == "gt" || n.op == "eq") && strings.EqualFold(n.left.property, property) {
			t, _ := time.Parse(time.RFC3339Nano, n.right.literal.text) // not a time: no bound
			return t
		}
	case logical:
		left, right := since(n.left, property), since(n.right, property)
		if n.op == "and" && right.After(left) || n.op == "or" && right.Before(left) {
			return right
		}
		return left
	}
	return time.Time{}
}

// options are the OData query options of a call, checked.
type options struct {
	filter    node // nil: none
	top, skip int
	orderBy   []string
	selected  []string // empty: all members
	expand    []string
	count     bool
}

const maxOrderBy = 5

// parseOptions refuses what it does not know, as Orchestrator does, except for parameters without a dollar sign.
func parseOptions(rawQuery string, maxTop int) (options, bool) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return options{}, false
	}
	o := options{top: maxTop}
	for name, values := range query {
		if strings.HasPrefix(name, "$") && (len(values) != 1 || !o.set(name, values[0], maxTop)) {
			return options{}, false
		}
	}
	return o, true
}

func (o *options) set(name, text string, maxTop int) bool {
	var err error
	switch name {
	case "$filter":
		o.filter, err = parseFilter(text)
	case "$top":
		o.top, err = strconv.Atoi(text)
		return err == nil && 0 <= o.top && o.top <= maxTop
	case "$skip":
		o.skip, err = strconv.Atoi(text)
		return err == nil && o.skip >= 0
	case "$orderby":
		o.orderBy = splitList(text)
		return len(o.orderBy) <= maxOrderBy
	case "$select":
		o.selected = splitList(text)
	case "$expand":
		o.expand = splitList(text)
	case "$count":
		o.count, err = strconv.ParseBool(text)
	default:
		return false
	}
	return err == nil
}

func splitList(text string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// page is the answer to a list call.
type page struct {
	Context string            `json:"@odata.context"`
	Count   *int              `json:"@odata.count,omitempty"`
	Value   []json.RawMessage `json:"value"`
}

// list answers a list call. candidates yields, in the collection's own order, at least every entity that can match.
func list[T any](s *Server, c *call, set collection[T], candidates func(filter node) iter.Seq[T]) (answer, *refusal) {
	rules := set.rules(&s.cfg)
	o, ok := parseOptions(c.r.URL.RawQuery, rules.maxTop)
	if !ok || !set.knows(o) {
		return answer{}, errInvalidOData
	}
	matches := predicate[T](func(T) bool { return true })
	if o.filter != nil {
		compiler := compiler[T]{collection: set, rules: rules, fold: s.cfg.IgnoreCase, left: s.cfg.FilterExpressions}
		if matches, ok = compiler.compile(o.filter); !ok {
			return answer{}, errInvalidOData
		}
	}
	order, ok := set.order(o.orderBy)
	if !ok {
		return answer{}, errInvalidOData
	}
	found, total := collect(candidates(o.filter), matches, order, o)
	body := page{Context: c.target.base(c.r) + "/odata/$metadata#" + set.name, Value: make([]json.RawMessage, len(found))}
	for i, t := range found {
		body.Value[i] = set.encode(t, o)
	}
	if o.count {
		body.Count = &total
	}
	return answer{status: http.StatusOK, body: body}, nil
}

// collect takes one page of what matches, and counts all of it if that is asked for.
func collect[T any](candidates iter.Seq[T], matches predicate[T], order func(a, b T) int, o options) (found []T, total int) {
	whole := o.count || order != nil // else the end of the page is the end of the search
	for t := range candidates {
		if !matches(t) {
			continue
		}
		total++
		if order != nil || (total > o.skip && len(found) < o.top) {
			found = append(found, t)
		}
		if !whole && len(found) >= o.top {
			break
		}
	}
	if order != nil {
		slices.SortStableFunc(found, order)
		found = found[min(o.skip, len(found)):]
		found = found[:min(o.top, len(found))]
	}
	return found, total
}

// knows checks the names in $select and $expand.
func (set collection[T]) knows(o options) bool {
	for _, name := range o.expand {
		name, _, _ = strings.Cut(name, "(") // nested options are not looked at
		if !slices.ContainsFunc(set.expand, func(e string) bool { return strings.EqualFold(e, name) }) {
			return false
		}
	}
	return true
}

// order makes the comparison that $orderby asks for, or nil.
func (set collection[T]) order(by []string) (func(a, b T) int, bool) {
	if len(by) == 0 || (len(by) == 1 && strings.EqualFold(strings.TrimSuffix(by[0], " asc"), "Id")) {
		return nil, true // which is the order that candidates come in
	}
	var steps []func(a, b T) int
	for _, term := range by {
		name, direction, _ := strings.Cut(term, " ")
		f, ok := set.fields[strings.ToLower(name)]
		sign := map[string]int{"": 1, "asc": 1, "desc": -1}[strings.TrimSpace(direction)]
		if !ok || f.unsorted || sign == 0 {
			return nil, false
		}
		steps = append(steps, func(a, b T) int { return sign * f.order(f.get(a), f.get(b)) })
	}
	return func(a, b T) int {
		for _, step := range steps {
			if order := step(a, b); order != 0 {
				return order
			}
		}
		return 0
	}, true
}

// order puts null before everything else, as SQL Server does.
func (f field[T]) order(a, b value) int {
	switch {
	case a.null && b.null:
		return 0
	case a.null:
		return -1
	case b.null:
		return 1
	default:
		return f.compare(a, b)
	}
}

func (set collection[T]) encode(t T, o options) json.RawMessage {
	return selectMembers(encodeEntity(set.entity(t, o.expand)), o.selected)
}

// encodeEntity cannot fail: entities are structs of plain members and of JSON that has been checked.
func encodeEntity(entity any) json.RawMessage {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(entity); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

func selectMembers(object json.RawMessage, names []string) json.RawMessage {
	if len(names) == 0 {
		return object
	}
	selected := []byte{'{'}
	for name, content := range members(object) {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, string(name)) }) {
			continue
		}
		if len(selected) > 1 {
			selected = append(selected, ',')
		}
		selected = append(append(append(append(selected, '"'), name...), `":`...), content...)
	}
	return append(selected, '}')
}

// single answers a read of one entity.
func single[T any](s *Server, c *call, set collection[T], t T) (answer, *refusal) {
	o, ok := parseOptions(c.r.URL.RawQuery, set.rules(&s.cfg).maxTop)
	if !ok || !set.knows(o) {
		return answer{}, errInvalidOData
	}
	entity := withContext(set.encode(t, o), c.target.base(c.r)+"/odata/$metadata#"+set.name+"/$entity")
	return answer{status: http.StatusOK, body: entity}, nil
}

// withContext puts @odata.context in front of the members of an entity.
func withContext(entity json.RawMessage, context string) json.RawMessage {
	name, _ := json.Marshal(context) // a string can always be encoded
	head := slices.Concat([]byte(`{"@odata.context":`), name)
	if rest := bytes.TrimSpace(entity)[1:]; rest[0] != '}' {
		return slices.Concat(head, []byte(","), rest)
	}
	return append(head, '}')
}
