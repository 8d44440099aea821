package proving

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// canLimitFiles is whether another process's writes can be refused.
const canLimitFiles = true

// limitFiles lets a running process write nothing to any file, or lifts that
// again. What it writes to pipes and sockets passes.
func limitFiles(pid int, limited bool) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &now); err != nil {
		return fmt.Errorf("read the file size limit of process %d: %w", pid, err)
	}
	now.Cur = now.Max
	if limited {
		now.Cur = 0
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &now, nil); err != nil {
		return fmt.Errorf("set the file size limit of process %d: %w", pid, err)
	}
	return nil
}
