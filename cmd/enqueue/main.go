// Enqueue hands requests for queue items and jobs to the workers.
//
// It puts them on the NATS subject of their queue or process, as any NATS
// client may, checks them first, and says what became of them. Each request
// has a key; handing the same request in again under the same key does no
// harm, so whatever was interrupted is simply run again.
package main

import (
	"cmp"
	"os"
	"time"
	_ "time/tzdata"

	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
)

func main() { cli.Main(newRoot()) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "enqueue",
		Short: "Hand requests for queue items and jobs to the workers",
		Long: `Enqueue publishes requests for UiPath Orchestrator: queue items from a CSV
file, single items, single jobs. A worker carries each of them out once and
publishes what became of it; watch follows that.

A request is known by its key. Handing the same request in again under the
same key does nothing twice, so after an interruption run the command again.

Exit codes: 0 all well, 1 unexpected, 2 usage or configuration, 3 finished
with rejects, 4 unreachable: try later, 5 credentials, 6 the wait timed out,
130 and 143 after a signal.`,
	}
	root.AddCommand(newCSVCommand(), newItemCommand(), newJobCommand(), newWatchCommand())
	return root
}

// environment gives a variable's value, or what stands in for it.
func environment(name, otherwise string) string {
	return cmp.Or(os.Getenv(name), otherwise)
}

// checkKey refuses a --key that is given and empty: whoever gives one does not
// want another.
func checkKey(cmd *cobra.Command, key string) error {
	if key == "" && cmd.Flags().Changed("key") {
		return cli.Errorf(cli.ExitUsage, "--key is empty: is a variable unset?")
	}
	return nil
}

// parseTime reads a flag that holds a moment.
func parseTime(flag, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, cli.Errorf(cli.ExitUsage, "--%s %q: write it as 2006-01-02T15:04:05Z or with an offset such as +02:00", flag, value)
	}
	return t, nil
}
