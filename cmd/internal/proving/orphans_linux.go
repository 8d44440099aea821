package proving

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel kill the program when the thread that starts it
// ends, so that a test run which is itself killed leaves nothing behind; and
// keeps from it what a terminal sends to all of us, since who strikes waits for
// programs to come back that would have ended.
func dieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
