// Package cli is what the commands worker and enqueue have in common, so that
// whoever knows one knows the other.
//
// A command's main hands its root to [Main], which runs it under a context
// that ends with the first Ctrl-C or SIGTERM, prints an error as one line and
// ends the process with a code that a script can tell apart: see [Code]. What
// a command finds out about its flags or its surroundings it returns as an
// [Error] that carries such a code; any other error counts as unexpected.
//
// [NATS], [Logging] and [OutputFlag] add the flags every command has. Standard
// output is for data alone, in the form the user chose ([PrintOne],
// [PrintAll]); everything else goes to standard error.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Main runs the root command with the process's arguments and ends the
// process, of which no core file is left should it crash. The first SIGINT or SIGTERM cancels the command's context, the
// second ends the process at once.
func Main(root *cobra.Command) {
	leaveNoCore()
	os.Exit(Run(root, os.Args[1:]))
}

// Run is Main without the end: it gives the exit code.
func Run(root *cobra.Command, args []string) int {
	ctx, stop := notifyContext(context.Background())
	defer stop()

	started := false
	noteStart(root, &started)
	completeChoices(root)
	root.Version = version()
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(flagError)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && !started {
		err = usageError(err)
	}
	if err != nil {
		report(root.ErrOrStderr(), root.Name(), err)
	}
	return exitCode(ctx, err)
}

// noteStart has every command note that its own code runs: what goes wrong
// before that is a mistake on the command line.
func noteStart(cmd *cobra.Command, started *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		noteStart(sub, started)
	}
}

// report prints an error as one line, for a person and for a log.
func report(w io.Writer, name string, err error) {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	_, _ = fmt.Fprintf(w, "%s: %s\n", name, text)
}

// usageError gives cobra's complaint on one line and with the code for usage.
func usageError(err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	text, names, suggested := strings.Cut(err.Error(), "\n\nDid you mean this?\n")
	if suggested {
		text += ": did you mean " + strings.Join(strings.Fields(names), " or ") + "?"
	}
	return Errorf(ExitUsage, "%s", text)
}

// flagError adds the nearest name to pflag's complaint about an unknown flag.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || len(unknown.GetSpecifiedName()) < 2 {
		return Errorf(ExitUsage, "%w (%s --help lists the flags)", err, cmd.CommandPath())
	}
	flags := &cobra.Command{SuggestionsMinimumDistance: 2} // cobra finds near names among commands only
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		flags.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	near := flags.SuggestionsFor(unknown.GetSpecifiedName())
	if len(near) == 0 {
		return Errorf(ExitUsage, "%w (%s --help lists the flags)", err, cmd.CommandPath())
	}
	return Errorf(ExitUsage, "%w: did you mean --%s?", err, strings.Join(near, " or --"))
}

// SignalError is why a context from Main ended: the signal that was received.
type SignalError struct {
	Signal syscall.Signal
}

// Error names the signal.
func (e *SignalError) Error() string { return e.Signal.String() + " received" }

// notifyContext gives a context that ends with the first signal, with a
// *SignalError as its cause; the second signal ends the process.
func notifyContext(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := true
		for s := range signals {
			received := &SignalError{Signal: syscall.SIGTERM}
			if s == os.Interrupt {
				received.Signal = syscall.SIGINT
			}
			if !first {
				os.Exit(int(received.code()))
			}
			first = false
			cancel(received)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
