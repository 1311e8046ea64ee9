package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// startTolerance is how much later than the file's last change a process may
// have started and still count as the one that the file names. Clocks of file
// systems tick coarsely, and a second instance is worse than a refused start.
const startTolerance = time.Second

// livePID decides whether a PID file names a program that is running. It
// returns the program's PID, or 0 and the reason why the file is stale. written
// is the time of the file's last change.
//
// The number alone proves nothing: after a reboot, or in the next container,
// it belongs to somebody else. A process that started after the file was
// written cannot be the one that it names.
func livePID(content []byte, written time.Time) (pid int, reason string) {
	if blank(content) {
		return 0, "it is empty"
	}
	pid = parsePID(content)
	if pid == 0 {
		return 0, "it names no PID"
	}
	proc, err := process.Read(pid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if !procMounted() && exists(pid) {
			return pid, ""
		}
		return 0, fmt.Sprintf("PID %d does not run", pid)
	case errors.Is(err, unix.ESRCH):
		return 0, fmt.Sprintf("PID %d does not run", pid)
	case err != nil:
		return pid, "" // unknown: refuse rather than run twice
	case proc.Dead():
		return 0, fmt.Sprintf("PID %d (%s) has ended", pid, proc.Comm)
	case !process.IsProcess(pid):
		return 0, fmt.Sprintf("PID %d (%s) is a thread", pid, proc.Comm)
	case isSelfOrAncestor(pid):
		return 0, fmt.Sprintf("PID %d (%s) is this start itself or what started it", pid, proc.Comm)
	case proc.StartTime().After(written.Add(startTolerance)):
		return 0, fmt.Sprintf("PID %d (%s) started after the file was written", pid, proc.Comm)
	}
	return pid, ""
}

// procMounted tells a missing process from a missing /proc.
func procMounted() bool {
	_, err := os.Stat("/proc/self")
	return err == nil
}

func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}
