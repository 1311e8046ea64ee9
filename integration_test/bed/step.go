package bed

import (
	"fmt"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// AfterStep runs pidleash in a time namespace in which the wall clock seems to have been set forward by step since the
// boot: the birth of device nodes tells when that was, and the namespace has a boot time of its own. 0: by nothing.
func AfterStep(t testing.TB, step time.Duration) How {
	t.Helper()
	NeedRoot(t)
	var null unix.Statx_t
	Must(t, unix.Statx(unix.AT_FDCWD, "/dev/null", 0, unix.STATX_BTIME, &null))
	var real, boot unix.Timespec
	Must(t, unix.ClockGettime(unix.CLOCK_REALTIME, &real))
	Must(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot))
	now := time.Duration(real.Nano()-boot.Nano()) - time.Duration(null.Btime.Sec)*time.Second
	before := []string{"unshare", "--time", fmt.Sprintf("--boottime=%.0f", (now - step).Seconds()), "--fork", "--kill-child"}
	if null.Mask&unix.STATX_BTIME == 0 || exec.Command(before[0], append(before[1:], "true")...).Run() != nil {
		Missing(t, "no time namespaces here, or no birth times of device nodes")
	}
	return How{Before: before}
}
