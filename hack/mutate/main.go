// Command mutate breaks waybill on purpose, to show that what looks for breaches
// finds them: it plants one of its mutations in a copy of the source and prints
// the path of an overlay, by which the go command builds with that copy.
//
//	go run ./hack/mutate                 # lists the mutations
//	GOFLAGS=-overlay=$(go run ./hack/mutate doubt-is-failure) go run ./cmd/worker prove --for 60s
//
// The programs that are built without it have no trace of it. Its tests plant
// every mutation and want the tests that it names to fail.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
}

func run(args []string) error {
	all, err := mutations()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		for _, m := range all {
			fmt.Printf("%-20s %s\n", m.name, m.what)
		}
		return nil
	}
	for _, m := range all {
		if m.name != args[0] {
			continue
		}
		dir, err := os.MkdirTemp("", "waybill-"+m.name+"-")
		if err != nil {
			return fmt.Errorf("make a folder for the overlay: %w", err)
		}
		overlay, err := m.plant(dir)
		if err != nil {
			return err
		}
		fmt.Println(overlay)
		return nil
	}
	return fmt.Errorf("there is no mutation %q; without arguments mutate lists them", args[0])
}
