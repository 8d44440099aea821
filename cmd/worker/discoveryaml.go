package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
)

// printYAML prints the tenants that were found as waybill.yaml has them, so that
// worker run can load it. Secrets are named by their files or not at all: what
// holds them in the settings has no member in YAML.
func printYAML(w io.Writer, s settings, found []tenantFound) error {
	p := printer{w: w}
	if s.Prefix != "" {
		p.yaml("", struct {
			Prefix string `yaml:"prefix"`
		}{s.Prefix})
	}
	if len(found) > 0 {
		p.text("tenants:\n")
	}
	for _, t := range found {
		i := slices.IndexFunc(s.Tenants, func(known tenant) bool { return known.Name == t.Tenant })
		known := s.Tenants[i].withSecretFiles()
		known.Folder = t.defaultFolder(known.Folder)
		p.yaml("  ", []tenant{known})
		p.comment("    # ", t.comments(known))
	}
	return p.err
}

// yaml prints a value, without what is empty, with an indent.
func (p *printer) yaml(indent string, value any) {
	text, err := yaml.MarshalWithOptions(value, yaml.OmitEmpty(), yaml.OmitZero())
	if err != nil {
		p.err = cmp.Or(p.err, fmt.Errorf("encode output: %w", err))
		return
	}
	for line := range strings.Lines(string(text)) {
		p.text(indent + line)
	}
}

func (p *printer) comment(indent string, lines []string) {
	for _, line := range lines {
		p.text(strings.TrimRight(indent+plain(line), " ") + "\n")
	}
}

// plain keeps text from others on its line: in a comment of YAML, what follows a
// line break would count.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
}

// withSecretFiles names the files that the environment's secrets were read from.
func (t tenant) withSecretFiles() tenant {
	for kind, file := range t.secretFiles() {
		if t.secrets[kind] != "" {
			*file = cmp.Or(*file, os.Getenv(secretVariables[kind]+"_FILE"))
		}
	}
	return t
}

// defaultFolder is the one that is set, by its key where it was found, since
// that stays when it is renamed; or the only one there is.
func (t tenantFound) defaultFolder(set folder) folder {
	for _, f := range t.Folders {
		is := strings.EqualFold(f.Path, set.Path) || strings.EqualFold(f.Key, set.Key) && f.Key != "" || f.ID == set.ID
		if !is && (set != (folder{}) || len(t.Folders) > 1) {
			continue
		}
		if f.Key == "" {
			return folder{Path: f.Path}
		}
		return folder{Key: f.Key}
	}
	return set
}

// comments are for whoever edits the file: what is there, and where requests for
// it are published.
func (t tenantFound) comments(known tenant) []string {
	var lines []string
	files := known.secretFiles()
	for _, kind := range known.secrets.kinds() {
		if *files[kind] == "" {
			lines = append(lines, secretFileNames[kind]+": …   or "+secretVariables[kind]+" in the environment, as now")
		}
	}
	if known.Folder == (folder{}) {
		lines = append(lines, "folder: {key: …}   what - means in subjects: one of the folders below")
	}
	for _, f := range t.Folders {
		if known.Folder.Key != "" && f.Key == known.Folder.Key {
			lines = append(lines, "- in subjects means the folder "+f.Path)
		}
	}
	if queues := t.queueNames(); len(queues) > 0 && len(known.ItemIDs) == 0 {
		lines = append(lines, "itemIds: ["+strings.Join(queues, ", ")+"]   those whose outcomes need the items' ids; they are added one by one")
	}
	for _, f := range t.Folders {
		lines = append(lines, "", fmt.Sprintf("folder %s, key %s, id %d", f.Path, cmp.Or(f.Key, "none"), f.ID))
		for _, q := range f.Queues {
			lines = append(lines, fmt.Sprintf("  queue %s (references: %s, retries: %s)", q.Name, q.references(), q.retries()), "    "+q.Subject)
		}
		for _, pr := range f.Processes {
			lines = append(lines, fmt.Sprintf("  process %s (%s)", pr.Name, cmp.Or(parameters(pr.Inputs), "no parameters known")), "    "+pr.Subject)
		}
	}
	for _, note := range notesOf(t) {
		lines = append(lines, "note: "+note)
	}
	return lines
}

// queueNames are the queues' names, each once, as YAML writes them.
func (t tenantFound) queueNames() []string {
	var names []string
	for _, f := range t.Folders {
		for _, q := range f.Queues {
			text, err := yaml.MarshalWithOptions(q.Name, yaml.JSON())
			if name := strings.TrimSpace(string(text)); err == nil && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
