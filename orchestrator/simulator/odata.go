package simulator

import (
	"errors"
	"fmt"
	"strings"
)

// node is a part of a parsed $filter. Its String is a $filter that means the same.
type node interface{ String() string }

type (
	// logical joins two conditions by "and" or "or".
	logical struct {
		op          string
		left, right node
	}
	// negation is "not".
	negation struct{ of node }
	// comparison holds two operands against each other: eq, ne, gt, ge, lt, le.
	comparison struct {
		op          string
		left, right operand
	}
	// membership is "in" with a list of literals.
	membership struct {
		property string
		values   []literal
	}
	// truth is a property or literal of type Boolean that stands alone.
	truth struct{ of operand }
)

// operand is a property, or a literal where property is empty.
type operand struct {
	property string
	literal  literal
}

// literal is a value as written; text is without quotes.
type literal struct {
	kind literalKind
	text string
}

type literalKind int

const (
	literalNone literalKind = iota
	literalText             // 'quoted'
	literalBare             // a number, date or GUID
	literalBool
	literalNull
)

func (n logical) String() string {
	return "(" + n.left.String() + " " + n.op + " " + n.right.String() + ")"
}
func (n negation) String() string   { return "not (" + n.of.String() + ")" }
func (n comparison) String() string { return n.left.String() + " " + n.op + " " + n.right.String() }
func (n truth) String() string      { return n.of.String() }

func (n membership) String() string {
	values := make([]string, len(n.values))
	for i, v := range n.values {
		values[i] = v.String()
	}
	return n.property + " in (" + strings.Join(values, ",") + ")"
}

func (o operand) String() string {
	if o.property != "" {
		return o.property
	}
	return o.literal.String()
}

func (l literal) String() string {
	if l.kind == literalText {
		return "'" + strings.ReplaceAll(l.text, "'", "''") + "'"
	}
	return l.text
}

func (l literal) isNull() bool { return l.kind == literalNull }

// isGiven says whether there is a literal and it is not null.
func (l literal) isGiven() bool { return l.kind != literalNone && l.kind != literalNull }

// filterDepth bounds the nesting of a $filter, so that a hostile one cannot exhaust the stack.
const filterDepth = 100

var (
	errFilterDepth = errors.New("nested too deeply")
	errFilterEnd   = errors.New("ends too early")
)

// parseFilter parses a $filter. "and" binds tighter than "or", "not" tighter than both.
func parseFilter(text string) (node, error) {
	tokens, err := lexFilter(text)
	if err != nil {
		return nil, err
	}
	p := &filterParser{tokens: tokens}
	n, err := p.disjunction()
	if err != nil {
		return nil, err
	}
	if !p.at(tokenEnd) {
		return nil, p.unexpected()
	}
	return n, nil
}

type filterParser struct {
	tokens []filterToken // ends with tokenEnd
	depth  int
}

func (p *filterParser) at(kind tokenKind) bool { return p.tokens[0].kind == kind }

func (p *filterParser) next() filterToken {
	t := p.tokens[0]
	if t.kind != tokenEnd {
		p.tokens = p.tokens[1:]
	}
	return t
}

// take moves past a word if it comes next.
func (p *filterParser) take(word string) bool {
	if !p.at(tokenWord) || p.tokens[0].text != word {
		return false
	}
	p.next()
	return true
}

func (p *filterParser) unexpected() error {
	if p.at(tokenEnd) {
		return errFilterEnd
	}
	return fmt.Errorf("unexpected %q", p.tokens[0].text)
}

func (p *filterParser) disjunction() (node, error) {
	return p.joined("or", (*filterParser).conjunction)
}

func (p *filterParser) conjunction() (node, error) {
	return p.joined("and", (*filterParser).condition)
}

func (p *filterParser) joined(op string, part func(*filterParser) (node, error)) (node, error) {
	left, err := part(p)
	for err == nil && p.take(op) {
		var right node
		right, err = part(p)
		left = logical{op: op, left: left, right: right}
	}
	if err != nil {
		return nil, err
	}
	return left, nil
}

func (p *filterParser) condition() (node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > filterDepth {
		return nil, errFilterDepth
	}
	if p.take("not") {
		of, err := p.condition()
		if err != nil {
			return nil, err
		}
		return negation{of: of}, nil
	}
	if p.at(tokenOpen) {
		return p.parenthesis()
	}
	return p.comparison()
}

func (p *filterParser) parenthesis() (node, error) {
	p.next()
	n, err := p.disjunction()
	if err != nil {
		return nil, err
	}
	if !p.at(tokenClose) {
		return nil, p.unexpected()
	}
	p.next()
	return n, nil
}

func (p *filterParser) comparison() (node, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	if !p.at(tokenWord) {
		return truth{of: left}, nil
	}
	switch op := p.tokens[0].text; op {
	case "eq", "ne", "gt", "ge", "lt", "le":
		p.next()
		right, err := p.operand()
		if err != nil {
			return nil, err
		}
		return comparison{op: op, left: left, right: right}, nil
	case "in":
		p.next()
		return p.membership(left)
	case "and", "or":
		return truth{of: left}, nil
	default:
		return nil, p.unexpected()
	}
}

func (p *filterParser) membership(of operand) (node, error) {
	if of.property == "" || !p.at(tokenOpen) {
		return nil, p.unexpected()
	}
	p.next()
	n := membership{property: of.property}
	for {
		value, err := p.operand()
		if err != nil {
			return nil, err
		}
		if value.property != "" {
			return nil, fmt.Errorf("a list holds values, not the property %q", value.property)
		}
		n.values = append(n.values, value.literal)
		if p.at(tokenClose) {
			p.next()
			return n, nil
		}
		if !p.at(tokenComma) {
			return nil, p.unexpected()
		}
		p.next()
	}
}

func (p *filterParser) operand() (operand, error) {
	switch p.tokens[0].kind {
	case tokenText:
		return operand{literal: literal{kind: literalText, text: p.next().text}}, nil
	case tokenBare:
		return operand{literal: literal{kind: literalBare, text: p.next().text}}, nil
	case tokenWord:
		return wordOperand(p.next().text)
	case tokenEnd, tokenOpen, tokenClose, tokenComma:
	}
	return operand{}, p.unexpected()
}

func wordOperand(word string) (operand, error) {
	switch word {
	case "true", "false":
		return operand{literal: literal{kind: literalBool, text: word}}, nil
	case "null":
		return operand{literal: literal{kind: literalNull, text: word}}, nil
	case "and", "or", "not", "eq", "ne", "gt", "ge", "lt", "le", "in":
		return operand{}, fmt.Errorf("unexpected %q", word)
	default:
		return operand{property: word}, nil
	}
}
