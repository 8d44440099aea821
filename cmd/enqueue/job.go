package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
	"waybill/pipeline"
)

// jobCommand holds the flags of enqueue job.
type jobCommand struct {
	submission
	args      string
	arg       []string
	reference string
	priority  string
}

func newJobCommand() *cobra.Command {
	c := &jobCommand{}
	cmd := &cobra.Command{
		Use:   "job --process PROCESS",
		Short: "Start one job of a process",
		Long: `Starts one job of a process. Its input arguments are a JSON object (--args), or
single arguments of text (--arg), or both.

The request's key is printed; it is the handle by which watch finds the outcome.
Without --key one is made up, so running the command twice starts two jobs.`,
		Example: `  enqueue job --process Import_Invoices --key run-2026-11-22 --arg in_Date=2026-11-22
  enqueue job --process Import_Invoices --args '{"in_Count":5}' --until completed --wait --timeout 1h
  enqueue job --process Import_Invoices --folder Finance/Invoices --args @arguments.json -o json`,
		Args: cobra.NoArgs,
		RunE: c.run,
	}
	fs := cmd.Flags()
	c.lane.addFlags(fs, "process", "process to start, by its name in the folder")
	fs.StringVar(&c.args, "args", "", "input arguments as a JSON object; @FILE reads a file, - standard input")
	fs.StringArrayVar(&c.arg, "arg", nil, "one input argument, as Name=Value; the value is text (may be repeated)")
	fs.StringVar(&c.reference, "reference", "", "the job's Reference (the key)")
	cli.ChoiceFlag(fs, &c.priority, "priority", "", "", []string{"High", "Normal", "Low"}, "the job's priority")
	c.addFlags(fs)
	_ = cmd.MarkFlagRequired("process") // it exists
	return cmd
}

func (c *jobCommand) run(cmd *cobra.Command, _ []string) error {
	if err := checkKey(cmd, c.key); err != nil {
		return err
	}
	lane, err := c.lane.of(pipeline.KindJob)
	if err != nil {
		return err
	}
	arguments, err := readObject(cmd, "args", c.args)
	if err != nil {
		return err
	}
	if err := refuseRequest("args", "job", arguments); err != nil {
		return err
	}
	if err := setFields(arguments, "arg", c.arg); err != nil {
		return err
	}
	job, err := json.Marshal(struct {
		Reference      string                     `json:",omitempty"`
		JobPriority    string                     `json:",omitempty"`
		InputArguments map[string]json.RawMessage `json:",omitempty"`
	}{c.reference, c.priority, arguments})
	if err != nil {
		return cli.Errorf(cli.ExitUsage, "--args: %w", err)
	}
	r, err := c.request(pipeline.Request{Job: job})
	if err != nil {
		return err
	}
	return c.submission.run(cmd, lane, r)
}
