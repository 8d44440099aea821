package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

// files are the mutations: what each breaks, the package and the tests that find
// it, and by source file what stands there and, below a line of dashes, what is
// planted instead.
//
//go:embed mutations/*.txtar
var files embed.FS

// mutation is one breach of the protocol, in the source.
type mutation struct {
	name, what   string
	pkg, tests   string // that find it: a package and an expression for its tests
	replacements []replacement
}

// replacement is one place in a source file, whose path starts at the module.
type replacement struct {
	file    string
	was, is []byte
}

// between separates what stands in the source from what is planted.
const between = "\n----\n"

// mutations reads all of them.
func mutations() ([]mutation, error) {
	entries, err := files.ReadDir("mutations")
	if err != nil {
		return nil, fmt.Errorf("read the mutations: %w", err)
	}
	var all []mutation
	for _, entry := range entries {
		data, err := files.ReadFile("mutations/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read the mutations: %w", err)
		}
		m, err := parse(strings.TrimSuffix(entry.Name(), ".txtar"), data)
		if err != nil {
			return nil, fmt.Errorf("mutation %s: %w", entry.Name(), err)
		}
		all = append(all, m)
	}
	return all, nil
}

func parse(name string, data []byte) (mutation, error) {
	archive := txtar.Parse(data)
	what, found, _ := strings.Cut(string(archive.Comment), "\n")
	m := mutation{name: name, what: what}
	if _, err := fmt.Sscanf(found, "found by: %s %s", &m.pkg, &m.tests); err != nil {
		return m, fmt.Errorf("its second line must be found by: PACKAGE TESTS: %w", err)
	}
	for _, file := range archive.Files {
		was, is, ok := bytes.Cut(file.Data, []byte(between))
		if !ok {
			return m, errors.New("a line of four dashes must stand between what is there and what is planted")
		}
		m.replacements = append(m.replacements, replacement{file.Name, was, bytes.TrimSuffix(is, []byte("\n"))})
	}
	return m, nil
}

// plant writes the mutated source into a folder and gives the path of the
// overlay that has the go command take it.
func (m mutation) plant(dir string) (overlay string, err error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output() //nolint:noctx // it is over at once
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	module := strings.TrimSpace(string(out))
	replace := make(map[string]string)
	for i, r := range m.replacements {
		path := filepath.Join(module, filepath.FromSlash(r.file))
		source, err := os.ReadFile(path) //nolint:gosec // G304: the mutation names it
		if err != nil {
			return "", fmt.Errorf("mutation %s: %w", m.name, err)
		}
		if n := bytes.Count(source, r.was); n != 1 {
			return "", fmt.Errorf("mutation %s: what it replaces stands %d times in %s, it must be once: the source has changed", m.name, n, r.file)
		}
		planted := filepath.Join(dir, fmt.Sprintf("%d-%s", i, filepath.Base(path)))
		if err := os.WriteFile(planted, bytes.Replace(source, r.was, r.is, 1), 0o600); err != nil { //nolint:gosec // G703: below the folder given
			return "", fmt.Errorf("mutation %s: %w", m.name, err)
		}
		replace[path] = planted
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("mutation %s: %w", m.name, err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		return "", fmt.Errorf("mutation %s: %w", m.name, err)
	}
	return overlay, nil
}
