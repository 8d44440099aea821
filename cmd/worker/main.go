// Command worker carries requests from NATS JetStream out in UiPath
// Orchestrator, once each, and publishes what became of them.
//
//	worker demo        everything at once, in one process, with faults: see it work
//	worker dev         the service with NATS and a simulated Orchestrator built in
//	worker run         the service
//	worker discover    what tenants have, and the subjects that requests for it go to
//	worker login       a user's login, for worker run to go on with
//	worker doctor      what worker run needs, looked at, with what to change
//	worker simulator   a simulated Orchestrator alone
//	worker prove       the promise, tried with processes that are killed
//	worker permissions the NATS permissions of those who take part
//
// What it does and what it promises is told in package pipeline.
package main

import (
	"github.com/spf13/cobra"

	"waybill/cmd/internal/cli"
)

func main() {
	cli.Main(newRoot())
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "worker",
		Short: "Carry requests from NATS JetStream out in UiPath Orchestrator, once each",
		Long: `worker takes requests ("add this queue item", "start this job") from NATS
JetStream, calls UiPath Orchestrator, and publishes one outcome per request.

Each request key has at most one effect in Orchestrator and ends in exactly one
final outcome: through crashes, redelivery, repeated publishes, lost answers and
throttling. What cannot be known is reported as unknown, never guessed.

Exit codes: 0 all well; 1 unexpected; 2 usage or configuration; 3 finished with
rejects; 4 a server cannot be reached, try later; 5 credentials; 6 wait timed
out; 130 or 143 after a second signal, or when the drain time ran out.`,
	}
	root.AddCommand(newRunCommand(), newLoginCommand(), newDiscoverCommand(), newDoctorCommand(), newDevCommand(), newDemoCommand(), newSimulatorCommand(), newProveCommand(), newPermissionsCommand(), newNATSCommand())
	return root
}
