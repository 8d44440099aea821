//go:build unix

package cli

import "golang.org/x/sys/unix"

// leaveNoCore has the system keep no image of the process's memory, which has
// secrets in it, should it crash. Where the limit cannot be set it stays as
// whoever runs the program has it.
func leaveNoCore() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_CORE, &limit) == nil {
		limit.Cur = 0
		_ = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
}
