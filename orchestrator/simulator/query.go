package simulator

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

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
