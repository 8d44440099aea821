//go:build !unix

package cli

// leaveNoCore: there are no core files.
func leaveNoCore() {}
