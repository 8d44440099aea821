package simulator

import (
	"cmp"
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
