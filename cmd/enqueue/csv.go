package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"waybill/cmd/internal/cli"
	"waybill/cmd/internal/sheet"
	"waybill/pipeline"
)

// csvCommand holds the flags of enqueue csv.
type csvCommand struct {
	target    target
	lane      lane
	key       string
	contents  bool
	priority  string
	types     map[string]string
	timezone  string
	delimiter string
	until     string
	notAfter  string
	rejects   string
	dryRun    bool
	batch     int
	output    string
}

func newCSVCommand() *cobra.Command {
	c := &csvCommand{}
	cmd := &cobra.Command{
		Use:   "csv FILE|- --queue QUEUE",
		Short: "Add the rows of a CSV file to a queue, one item a row",
		Long: `Adds the rows of a CSV file to a queue, one item a row; - reads standard input.

The first row names the columns. As in Orchestrator's own CSV upload, the
columns Reference, Priority (High, Normal, Low or 3, 2, 1), Deadline and
Postpone (dates) are the item's, in any case; every other column becomes a
field of its SpecificContent, as text unless --types says otherwise, since
what looks like a number (00042) often is none. The file is UTF-8; commas,
semicolons or tabs separate the values.

A date has a zone (2026-12-31T17:30:00+01:00), or --timezone says which one is
meant by 2026-12-31 17:30.

Each row gets a key, and no key has more than one item made for it, however
often the file is imported: a second import of the same or a longer file adds
what is new. The key is the value in the column --key, or the row's Reference,
or, for rows without, a hash of the row's content and how many equal rows stand
before it. A key that stands in the file twice is a reject. The key serves as
Reference where a row has none.

Published means that NATS holds the request; what becomes of it is followed
with watch. Rows that are known already and came to nothing are counted, and the
exit code is 3.

Rows that cannot work are left out and written to a file of rejects, with the
reason; mend that file and import it.`,
		Example: `  enqueue csv examples/invoices.csv --queue Invoices
  enqueue csv export.csv --queue Invoices --key "Invoice Number" --timezone Europe/Vienna
  enqueue csv export.csv --queue Invoices --types Amount=number,Paid=boolean --dry-run
  mysql -B -e 'select ...' | enqueue csv - --queue Invoices --delimiter tab -o json`,
		Args: oneFile,
		RunE: c.run,
	}
	c.addFlags(cmd.Flags())
	_ = cmd.MarkFlagRequired("queue") // it exists
	cmd.MarkFlagsMutuallyExclusive("key", "content-keys")
	return cmd
}

func (c *csvCommand) addFlags(fs *pflag.FlagSet) {
	c.lane.addFlags(fs, "queue", "queue the items go to")
	fs.StringVar(&c.key, "key", "", "column whose values are the keys (the Reference, where a row has one)")
	fs.BoolVar(&c.contents, "content-keys", false, "make every key from the row's content, also where it has a Reference")
	cli.ChoiceFlag(fs, &c.priority, "priority", "", "", []string{"High", "Normal", "Low"}, "priority of rows that have none")
	fs.StringToStringVar(&c.types, "types", nil, "columns that are not text, such as Amount=number,Paid=boolean")
	fs.StringVar(&c.timezone, "timezone", "", "zone of dates without one, such as Europe/Vienna")
	fs.StringVar(&c.delimiter, "delimiter", "", "what separates values: comma, semicolon or tab (found from the header)")
	addUntilFlag(fs, &c.until)
	addNotAfterFlag(fs, &c.notAfter, "the requests")
	fs.StringVar(&c.rejects, "rejects", "", "file for rejected rows, made only if there are any (FILE.rejected.csv)")
	fs.BoolVar(&c.dryRun, "dry-run", false, "check every row, publish nothing; needs no NATS server")
	fs.IntVar(&c.batch, "batch", 1000, "rows published at a time, 1 to 10000")
	cli.OutputFlag(fs, &c.output, cli.FormatTable)
	c.target.addFlags(fs)
}

func (c *csvCommand) run(cmd *cobra.Command, args []string) error {
	if err := checkKey(cmd, c.key); err != nil {
		return err
	}
	opts, err := c.options()
	if err != nil {
		return err
	}
	rejectsPath, err := c.rejectsPath(args[0])
	if err != nil {
		return err
	}
	file, err := openInput(cmd, args[0])
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // was only read
	table, err := sheet.Open(cmd.Context(), file, opts)
	if err != nil {
		return explainFile(args[0], err)
	}
	imp := &importer{
		sheet:    table,
		lane:     opts.Lane,
		batch:    c.batch,
		rejects:  &rejects{path: rejectsPath, sheet: table},
		progress: newProgress(cmd.ErrOrStderr(), 2*table.Size()),
		result:   importResult{File: args[0], Lane: opts.Lane.String(), DryRun: c.dryRun},
	}
	err = c.importFile(cmd, imp)
	return errors.Join(err, table.Close())
}

// oneFile says what to name where nothing or too much is.
func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cli.Errorf(cli.ExitUsage, "name the FILE, or - for standard input: there are %d arguments", len(args))
	}
	return nil
}

// importFile runs the import and says how it went.
func (c *csvCommand) importFile(cmd *cobra.Command, imp *importer) error {
	if c.dryRun {
		return c.runImport(cmd.Context(), cmd, imp)
	}
	return c.target.within(cmd, c.batch, func(ctx context.Context, s *session) error {
		imp.publisher = s.publisher
		return c.runImport(ctx, cmd, imp)
	})
}

func (c *csvCommand) runImport(ctx context.Context, cmd *cobra.Command, imp *importer) error {
	err := imp.run(ctx)
	if imp.started {
		if err := imp.result.print(cmd, c.output); err != nil {
			return err
		}
	}
	return explainFile(imp.result.File, err)
}

func (c *csvCommand) options() (sheet.Options, error) {
	opts := sheet.Options{Key: c.key, ContentKeys: c.contents, Priority: c.priority, Until: pipeline.Until(c.until), Types: map[string]sheet.Type{}}
	if c.batch < 1 || c.batch > 10_000 {
		return opts, cli.Errorf(cli.ExitUsage, "--batch %d: use 1 to 10000", c.batch)
	}
	var err error
	if opts.Lane, err = c.lane.of(pipeline.KindItem); err != nil {
		return opts, err
	}
	if opts.NotAfter, err = parseTime("not-after", c.notAfter); err != nil {
		return opts, err
	}
	if opts.Delimiter, err = parseDelimiter(c.delimiter); err != nil {
		return opts, err
	}
	if c.timezone != "" {
		if opts.Location, err = time.LoadLocation(c.timezone); err != nil {
			return opts, cli.Errorf(cli.ExitUsage, "--timezone %q: use a name such as Europe/Vienna or UTC: %w", c.timezone, err)
		}
	}
	for name, kind := range c.types {
		switch t := sheet.Type(kind); t {
		case sheet.Text, sheet.Number, sheet.Boolean:
			opts.Types[name] = t
		default:
			return opts, cli.Errorf(cli.ExitUsage, "--types %s=%s: use text, number or boolean", name, kind)
		}
	}
	return opts, nil
}

func parseDelimiter(s string) (rune, error) {
	switch s {
	case "":
		return 0, nil
	case "comma", ",":
		return ',', nil
	case "semicolon", ";":
		return ';', nil
	case "tab", "\t", `\t`:
		return '\t', nil
	}
	return 0, cli.Errorf(cli.ExitUsage, "--delimiter %q: use comma, semicolon or tab", s)
}

// rejectsPath is where rejected rows go; never the file they come from.
func (c *csvCommand) rejectsPath(file string) (string, error) {
	switch {
	case c.rejects == "" && file == "-":
		return "rejected.csv", nil
	case c.rejects == "":
		return file + ".rejected.csv", nil
	}
	if filepath.Clean(c.rejects) == filepath.Clean(file) {
		return "", cli.Errorf(cli.ExitUsage, "--rejects %s is the file to import; name another", c.rejects)
	}
	return c.rejects, nil
}

// openInput opens the named file, or standard input for -.
func openInput(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	f, err := os.Open(name) //nolint:gosec // G304: the user's own choice
	if err != nil {
		return nil, cli.Errorf(cli.ExitUsage, "%w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.Join(cli.Errorf(cli.ExitUsage, "%s: it is a folder; name a file in it", name), f.Close())
	}
	return f, nil
}

// explainFile puts the file's name and an exit code to an error.
func explainFile(name string, err error) error {
	if broken, ok := errors.AsType[*sheet.FormatError](err); ok {
		return cli.Errorf(cli.ExitUsage, "%s: %w", name, broken)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", name, err)
	}
	return explain(err)
}
