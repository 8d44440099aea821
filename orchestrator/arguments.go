package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Argument is a parameter of a process.
type Argument struct {
	Name string
	// Type is the short form of the .NET type that Orchestrator names in full:
	// String, Int32, DateTime, DataTable, String[], List<String>. It is what
	// Orchestrator says where that is no type of .NET.
	Type string
	// Required tells whether a job is refused without it.
	Required bool
	// HasDefault tells whether the process has a value of its own for it.
	HasDefault bool
}

// Inputs are the parameters that a job takes. A release without ReleaseArguments
// has none that are known; an error says that Orchestrator's text about them is
// none that this package can read.
func (a *ReleaseArguments) Inputs() ([]Argument, error) {
	if a == nil {
		return nil, nil
	}
	return parseArguments("Arguments.Input", a.Input)
}

// Outputs are the parameters that a job gives back, as Inputs tells of those it
// takes.
func (a *ReleaseArguments) Outputs() ([]Argument, error) {
	if a == nil {
		return nil, nil
	}
	return parseArguments("Arguments.Output", a.Output)
}

// parseArguments reads a list of parameters. Only their names must be there:
// what else is told of them differs between versions and kinds of packages.
func parseArguments(member, text string) ([]Argument, error) {
	trimmed := bytes.TrimSpace([]byte(text))
	if len(trimmed) == 0 || string(trimmed) == "null" {
		return nil, nil
	}
	var entries []struct {
		Name       string          `json:"name"`
		Type       json.RawMessage `json:"type"`
		Required   json.RawMessage `json:"required"`
		HasDefault json.RawMessage `json:"hasDefault"`
	}
	if err := json.Unmarshal(trimmed, &entries); err != nil {
		return nil, fmt.Errorf("%s is no list of parameters: %w", member, err)
	}
	arguments := make([]Argument, 0, len(entries))
	for _, e := range entries {
		if e.Name == "" {
			return nil, fmt.Errorf("%s has a parameter without a name", member)
		}
		var name string
		_ = json.Unmarshal(e.Type, &name) // absent, or no text: a type that nobody knows
		arguments = append(arguments, Argument{
			Name: e.Name, Type: shortType(name), Required: string(e.Required) == "true", HasDefault: string(e.HasDefault) == "true",
		})
	}
	return arguments, nil
}

// maxTypeDepth is more than people nest generic types, and keeps a hostile name
// from exhausting the stack.
const maxTypeDepth = 16

// shortType gives an assembly-qualified name of .NET in the form in which C#
// writes it, without namespaces: "System.Collections.Generic.List`1[[System.String,
// mscorlib, …]], mscorlib, …" is List<String>.
func shortType(full string) string {
	if !utf8.ValidString(full) {
		return full
	}
	r := typeReader{rest: full}
	short, err := r.read(0)
	if err != nil || short == "" || r.rest != "" && r.rest[0] != ',' { // what follows the comma is the assembly
		return full
	}
	return short
}

// typeReader reads a name from its beginning.
type typeReader struct{ rest string }

var errType = errors.New("not the name of a type")

func (r *typeReader) read(depth int) (string, error) {
	if depth > maxTypeDepth {
		return "", errType
	}
	end := strings.IndexAny(r.rest, ",[]")
	if end < 0 {
		end = len(r.rest)
	}
	short := strings.TrimSpace(r.rest[strings.LastIndexAny(r.rest[:end], ".+")+1 : end])
	r.rest = r.rest[end:]
	short, _, generic := strings.Cut(short, "`")
	if generic && r.take("[") {
		arguments, err := r.typeArguments(depth)
		if err != nil {
			return "", err
		}
		short += "<" + strings.Join(arguments, ", ") + ">"
	}
	suffix := r.rest
	for r.take("[") { // an array, with a comma for each further dimension
		r.rest = strings.TrimLeft(r.rest, ",")
		if !r.take("]") {
			return "", errType
		}
	}
	return short + strings.TrimSuffix(suffix, r.rest), nil
}

// typeArguments reads what stands between the brackets of a generic type, each
// with brackets of its own where its assembly is named too.
func (r *typeReader) typeArguments(depth int) ([]string, error) {
	var arguments []string
	for {
		qualified := r.take("[")
		argument, err := r.read(depth + 1)
		if err != nil {
			return nil, err
		}
		if qualified {
			end := strings.IndexAny(r.rest, "[]")
			if end < 0 || r.rest[end] != ']' {
				return nil, errType
			}
			r.rest = r.rest[end+1:]
		}
		arguments = append(arguments, argument)
		switch {
		case r.take("]"):
			return arguments, nil
		case !r.take(","):
			return nil, errType
		}
		r.rest = strings.TrimLeft(r.rest, " ")
	}
}

func (r *typeReader) take(token string) bool {
	rest, ok := strings.CutPrefix(r.rest, token)
	r.rest = rest
	return ok
}
