//go:build unix

package cli

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestLeaveNoCore(t *testing.T) { //nolint:paralleltest // the limit is the whole process's
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_CORE, &before); err != nil {
			t.Error(err)
		}
	})
	if before.Max == 0 {
		t.Skip("nothing here may leave a core file")
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: before.Max, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	leaveNoCore()
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &after); err != nil || after.Cur != 0 || after.Max != before.Max {
		t.Errorf("limit %d of %d, %v; want 0 of %d", after.Cur, after.Max, err, before.Max)
	}
}
