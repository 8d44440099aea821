package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/internal/shell"
)

// maxTextBytes bounds what is read for a flag; requests are smaller.
const maxTextBytes = 4 << 20

// readObject gives the JSON object that a flag holds: as text, as @FILE, or as
// - for standard input. An empty flag is an empty object.
func readObject(cmd *cobra.Command, flag, value string) (map[string]json.RawMessage, error) {
	text, err := readText(cmd, value)
	if err != nil {
		return nil, err
	}
	if value == "" {
		return map[string]json.RawMessage{}, nil
	}
	return parseObject(flag, text)
}

// parseObject reads one JSON object; a name that stands twice is refused, as
// two readers could see two values.
func parseObject(flag string, text []byte) (map[string]json.RawMessage, error) {
	wrong := func(err error) error {
		return cli.Errorf(cli.ExitUsage, "--%s: it must be one JSON object, such as {\"Amount\":12.5}: %w", flag, err)
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		return nil, wrong(err)
	}
	if whole == nil {
		return nil, wrong(errors.New("it is null"))
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil {
		return nil, wrong(err)
	}
	seen := make(map[string]bool, len(whole))
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, wrong(err)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, wrong(err)
		}
		text := fmt.Sprint(name)
		if seen[text] {
			return nil, cli.Errorf(cli.ExitUsage, "--%s: the name %q stands twice; send it once", flag, text)
		}
		seen[text] = true
	}
	return whole, nil
}

// refuseRequest refuses a whole request where only a part of it belongs: it
// would be carried out as content that nobody meant.
func refuseRequest(flag, kind string, object map[string]json.RawMessage) error {
	_, hasKey := object["key"]
	if _, hasKind := object[kind]; !hasKind || !hasKey {
		return nil
	}
	part := map[string]string{"item": "item.SpecificContent", "job": "job.InputArguments"}[kind]
	return cli.Errorf(cli.ExitUsage, "--%s: this is a whole request, with key and %s; give what its member %s holds, and the key as --key", flag, kind, part)
}

// readText gives the value of a flag that is text itself, @FILE, or - for
// standard input.
func readText(cmd *cobra.Command, value string) ([]byte, error) {
	name, isFile := strings.CutPrefix(value, "@")
	if value == "-" {
		name, isFile = "-", true
	}
	if !isFile {
		return []byte(value), nil
	}
	in, err := openInput(cmd, name)
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // was only read
	text, err := io.ReadAll(io.LimitReader(in, maxTextBytes))
	if err != nil {
		return nil, cli.Errorf(cli.ExitUsage, "%s: %w", name, err)
	}
	return text, nil
}

// setFields adds Name=Value pairs, whose values are text, to an object.
func setFields(object map[string]json.RawMessage, flag string, pairs []string) error {
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return cli.Errorf(cli.ExitUsage, "--%s %q: write it as Name=Value", flag, pair)
		}
		if _, ok := object[name]; ok {
			return cli.Errorf(cli.ExitUsage, "--%s %q: %s has a value already; give it once", flag, pair, name)
		}
		text, err := json.Marshal(value)
		if err != nil {
			return cli.Errorf(cli.ExitUsage, "--%s %q: %w", flag, pair, err)
		}
		object[name] = text
	}
	return nil
}

// warnOfReference says what a Reference that is not the key costs.
func warnOfReference(cmd *cobra.Command, reference, key string) {
	if reference != "" && reference != key {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "warning: the Reference is not the key: where an answer of Orchestrator's is lost, the item cannot be told from somebody else's and its outcome will be unknown; with --key %s in place of --reference this cannot happen\n", shell.Quote(reference))
	}
}
