package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value   *string
	allowed []string
}

// ChoiceFlag adds a flag that takes one of the allowed words, in any case, and
// is stored as it stands in allowed. The help lists them.
func ChoiceFlag(fs *pflag.FlagSet, into *string, name, shorthand, value string, allowed []string, usage string) {
	*into = value
	fs.VarP(&choice{value: into, allowed: allowed}, name, shorthand, usage)
}

// String gives the chosen word.
func (c *choice) String() string { return *c.value }

// Type stands in the help for the flag's value.
func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

// Set takes one of the allowed words.
func (c *choice) Set(s string) error {
	i := slices.IndexFunc(c.allowed, func(a string) bool { return strings.EqualFold(a, s) })
	if i < 0 {
		return fmt.Errorf("use %s", strings.Join(c.allowed, ", "))
	}
	*c.value = c.allowed[i]
	return nil
}

// completeChoices has the shell offer the words of every such flag.
func completeChoices(cmd *cobra.Command) {
	offer := func(f *pflag.Flag) {
		if c, ok := f.Value.(*choice); ok {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(c.allowed, cobra.ShellCompDirectiveNoFileComp)) // it exists
		}
	}
	cmd.Flags().VisitAll(offer)
	cmd.PersistentFlags().VisitAll(offer)
	for _, sub := range cmd.Commands() {
		completeChoices(sub)
	}
}
