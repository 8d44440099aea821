//go:build unix && !linux

package proving

import (
	"os/exec"
	"syscall"
)

// dieWithUs keeps from the program what a terminal sends to all of us. Only a
// test run that is itself killed leaves programs behind.
func dieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
