package pidfile

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
	"pidleash/internal/sys"
)

// clock is what the machine tells of its boot: when it was by the wall clock of today, and by that of then; zero: it
// does not tell. They differ when the wall clock was set in between.
type clock struct{ now, then func() time.Time }

// wallClock is a variable for tests.
var wallClock = clock{now: process.BootTime, then: bootTimeThen}

// bootSlack is how long after its boot a machine may have made its first device nodes.
const bootSlack = 10 * time.Second

// step is how far the wall clock was set forward since the boot, as far as that can be seen; 0: it cannot.
func (c clock) step() time.Duration {
	then := c.then()
	if then.IsZero() {
		return 0
	}
	if step := c.now().Sub(then); step > startTolerance {
		return step
	}
	return 0
}

// bootTimeThen goes by the birth of device nodes that the kernel made at the boot. In a container /dev is a tmpfs of its
// own and tells nothing, but single nodes may be mounted there. A clock of before 2020 was not set yet.
func bootTimeThen() (first time.Time) {
	mounts, _ := sys.ReadFile("/proc/self/mountinfo", 1<<14)
	for line := range strings.Lines(string(mounts)) {
		// "24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw", proc_pid_mountinfo(5)
		f := strings.Fields(line)
		if !strings.Contains(line, " - devtmpfs ") || len(f) < 5 {
			continue
		}
		for _, node := range []string{"", "/null", "/console", "/zero"} {
			birth := birthOfNode(f[4]+node, f[2])
			if birth.Year() >= 2020 && (first.IsZero() || birth.Before(first)) {
				first = birth
			}
		}
	}
	return first
}

// birthOfNode is zero if that is no device node of this file system: another one may be mounted over it.
func birthOfNode(path, device string) time.Time {
	var st unix.Statx_t
	err := sys.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_TYPE, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 || st.Mode&unix.S_IFMT != unix.S_IFCHR ||
		device != fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor) {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}
