package simulator

import (
	"slices"
	"strings"
	"time"
)

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
