package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// itemCommand holds the flags of enqueue item.
type itemCommand struct {
	submission
	content   string
	set       []string
	reference string
	priority  string
	due       string
	deferred  string
}

func newItemCommand() *cobra.Command {
	c := &itemCommand{}
	cmd := &cobra.Command{
		Use:   "item --queue QUEUE",
		Short: "Add one item to a queue",
		Long: `Adds one item to a queue. Its SpecificContent is a JSON object (--content), or
fields of text (--set), or both.

The request's key is printed; it is the handle by which watch finds the outcome.
Without --key one is made up, so handing the same content in twice makes two
items. The key serves as the item's Reference.`,
		Example: `  enqueue item --queue Invoices --key INV-42 --set Supplier="Supplier 12" --set Number=00042
  enqueue item --queue Invoices --key INV-42 --content '{"Amount":12.5}' --priority High --wait
  enqueue item --queue Invoices --content @content.json --until completed --wait --timeout 1h -o json`,
		Args: cobra.NoArgs,
		RunE: c.run,
	}
	fs := cmd.Flags()
	c.lane.addFlags(fs, "queue", "queue the item goes to")
	fs.StringVar(&c.content, "content", "", "SpecificContent as a JSON object; @FILE reads a file, - standard input")
	fs.StringArrayVar(&c.set, "set", nil, "one field of SpecificContent, as Name=Value; the value is text (may be repeated)")
	fs.StringVar(&c.reference, "reference", "", "the item's Reference (the key)")
	cli.ChoiceFlag(fs, &c.priority, "priority", "", "", []string{"High", "Normal", "Low"}, "the item's priority")
	fs.StringVar(&c.due, "due", "", "the item's deadline, as 2006-01-02T15:04:05Z")
	fs.StringVar(&c.deferred, "defer", "", "postpone the item until then, as 2006-01-02T15:04:05Z")
	c.addFlags(fs)
	_ = cmd.MarkFlagRequired("queue") // it exists
	return cmd
}

func (c *itemCommand) run(cmd *cobra.Command, _ []string) error {
	if err := checkKey(cmd, c.key); err != nil {
		return err
	}
	lane, err := c.lane.of(pipeline.KindItem)
	if err != nil {
		return err
	}
	for _, moment := range []struct{ flag, value string }{{"due", c.due}, {"defer", c.deferred}} {
		if _, err := parseTime(moment.flag, moment.value); err != nil {
			return err
		}
	}
	content, err := readObject(cmd, "content", c.content)
	if err != nil {
		return err
	}
	if err := refuseRequest("content", "item", content); err != nil {
		return err
	}
	if err := setFields(content, "set", c.set); err != nil {
		return err
	}
	item, err := json.Marshal(struct {
		Reference       string                     `json:",omitempty"`
		Priority        string                     `json:",omitempty"`
		DueDate         string                     `json:",omitempty"`
		DeferDate       string                     `json:",omitempty"`
		SpecificContent map[string]json.RawMessage `json:",omitempty"`
	}{c.reference, c.priority, c.due, c.deferred, content})
	if err != nil {
		return cli.Errorf(cli.ExitUsage, "--content: %w", err)
	}
	r, err := c.request(pipeline.Request{Item: item})
	if err != nil {
		return err
	}
	warnOfReference(cmd, c.reference, r.Key)
	return c.submission.run(cmd, lane, r)
}
