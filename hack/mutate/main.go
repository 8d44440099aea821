// Command mutate breaks waybill on purpose, to show that what looks for breaches
// finds them: it plants one of its mutations in a copy of the source and prints
// the path of an overlay, by which the go command builds with that copy.
//
//	go run ./hack/mutate                 # lists the mutations
//	GOFLAGS=-overlay=$(go run ./hack/mutate doubt-is-failure) go run ./cmd/worker prove --for 60s
//
// Where it fails it prints a path as well, of which there is no file: the go
// command that is given it fails too, where without one it would run the program
// unbroken, and show nothing.
//
// The programs that are built without it have no trace of it. Its tests plant
// every mutation and want the tests that it names to fail.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
}

func run(args []string, stdout io.Writer) error {
	all, err := mutations()
	if err == nil && len(args) == 0 {
		for _, m := range all {
			fmt.Fprintf(stdout, "%-20s %s\n", m.name, m.what)
		}
		return nil
	}
	overlay := nowhere
	if err == nil {
		overlay, err = overlayOf(all, args[0])
	}
	fmt.Fprintln(stdout, overlay)
	return err
}

// nowhere is the path that stands for an overlay there is not; the go command's
// error names it.
const nowhere = "no-overlay-as-mutate-has-failed.json"

// overlayOf plants one of the mutations; where it cannot, the overlay is nowhere.
func overlayOf(all []mutation, name string) (overlay string, err error) {
	for _, m := range all {
		if m.name != name {
			continue
		}
		dir, err := os.MkdirTemp("", "waybill-"+m.name+"-")
		if err != nil {
			return nowhere, fmt.Errorf("make a folder for the overlay: %w", err)
		}
		if overlay, err = m.plant(dir); err != nil {
			return nowhere, errors.Join(err, os.RemoveAll(dir))
		}
		return overlay, nil
	}
	return nowhere, fmt.Errorf("there is no mutation %q; without arguments mutate lists them", name)
}
