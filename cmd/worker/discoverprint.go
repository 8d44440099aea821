package main

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"waybill/cmd/internal/cli"
)

// printFound prints what was found, in the form asked for.
func printFound(w io.Writer, format string, s settings, found []tenantFound) error {
	switch format {
	case formatYAML:
		return printYAML(w, s, found)
	case cli.FormatTable:
		for i, t := range found {
			if err := printTenant(w, t, i > 0); err != nil {
				return err
			}
		}
		return nil
	}
	return cli.PrintAll(w, format, nil, records(found)) //nolint:wrapcheck // says that it is the output
}

func records[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, record := range list {
			if !yield(record, nil) {
				return
			}
		}
	}
}

// inPath is a record with the path of its folder.
type inPath[T any] struct {
	path   string
	record T
}

// all gathers the records of all folders.
func all[T any](folders []folderFound, of func(folderFound) []T) []inPath[T] {
	var gathered []inPath[T]
	for _, f := range folders {
		for _, record := range of(f) {
			gathered = append(gathered, inPath[T]{f.Path, record})
		}
	}
	return gathered
}

// printTenant prints a table for each kind of thing there is.
func printTenant(w io.Writer, t tenantFound, further bool) error {
	p := printer{w: w}
	if further {
		p.text("\n")
	}
	p.text("Tenant " + plain(t.Tenant) + "  " + plain(t.URL) + "\n")
	section(&p, accountColumns, t.Accounts)
	section(&p, folderColumns, t.Folders)
	section(&p, processColumns, all(t.Folders, func(f folderFound) []processFound { return f.Processes }))
	if slices.ContainsFunc(t.Folders, folderFound.requiresInputs) {
		p.text("* must be given\n")
	}
	section(&p, queueColumns, all(t.Folders, func(f folderFound) []queueFound { return f.Queues }))
	section(&p, robotColumns, all(t.Folders, func(f folderFound) []robotFound { return f.Robots }))
	section(&p, machineColumns, all(t.Folders, func(f folderFound) []machineFound { return f.Machines }))
	if notes := notesOf(t); len(notes) > 0 {
		p.text("\nNotes:\n")
		for _, note := range notes {
			p.text("  " + plain(note) + "\n")
		}
	}
	return p.err
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) text(text string) {
	if p.err != nil {
		return
	}
	if _, err := io.WriteString(p.w, text); err != nil {
		p.err = fmt.Errorf("write output: %w", err)
	}
}

// section prints a table as wide as its records need, if there are any.
func section[T any](p *printer, columns []cli.Column[T], list []T) {
	if len(list) == 0 || p.err != nil {
		return
	}
	fitted := slices.Clone(columns)
	for i, c := range columns {
		fitted[i].Value = func(record T) string {
			if text := plain(c.Value(record)); text != "" {
				return text
			}
			return "-"
		}
		for _, record := range list {
			fitted[i].Width = max(fitted[i].Width, utf8.RuneCountInString(fitted[i].Value(record)))
		}
	}
	p.text("\n")
	if p.err == nil {
		p.err = cli.PrintAll(p.w, cli.FormatTable, fitted, records(list))
	}
}

// notesOf gives each note once, with the folders it is about.
func notesOf(t tenantFound) []string {
	notes := slices.Clone(t.Notes)
	var texts []string
	folders := make(map[string][]string)
	for _, f := range t.Folders {
		for _, text := range f.Notes {
			if folders[text] == nil {
				texts = append(texts, text)
			}
			folders[text] = append(folders[text], f.Path)
		}
	}
	for _, text := range texts {
		where := strings.Join(folders[text], ", ")
		if len(folders[text]) == len(t.Folders) && len(t.Folders) > 1 {
			where = "every folder"
		}
		notes = append(notes, where+": "+text)
	}
	return notes
}
