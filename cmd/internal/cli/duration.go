package cli

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// duration is a flag that takes a time.Duration.
type duration time.Duration

// DurationFlag adds a flag that takes a duration, and shows what one looks
// like to whoever writes something else.
func DurationFlag(fs *pflag.FlagSet, into *time.Duration, name string, value time.Duration, usage string) {
	*into = value
	fs.Var((*duration)(into), name, usage)
}

// String gives the duration as Go writes it.
func (d *duration) String() string { return time.Duration(*d).String() }

// Type stands in the help for the flag's value.
func (d *duration) Type() string { return "duration" }

// Set takes a duration with its unit.
func (d *duration) Set(s string) error {
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("use a number with its unit, such as 90s, 10m or 720h")
	}
	*d = duration(parsed)
	return nil
}
