package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
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
func livePID(content []byte, written time.Time) (pid int, reason string) {
	if blank(content) {
		return 0, "it is empty"
	}
	pid = parsePID(content)
	if pid == 0 {
		return 0, "it names no PID"
	}
	p, verdict, reason := namedProcess(pid, written)
	switch {
	case verdict == Stale || verdict == Recycled:
		return 0, reason
	case verdict == Running && isSelfOrAncestor(pid):
		return 0, fmt.Sprintf("PID %d (%s) is this start itself or what started it", pid, p.Comm)
	}
	return pid, "" // unknown, too: refuse rather than run twice
}

// namedProcess decides whether the process with a PID is the one that a file
// means: Running; else Stale, Recycled or Unreadable, and why.
//
// The number alone proves nothing: after a reboot, or in the next container,
// it belongs to somebody else. A process that started after the file was
// written cannot be the one that it names.
func namedProcess(pid int, written time.Time) (p process.Process, v Verdict, reason string) {
	p, err := process.Read(pid)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH):
		return p, Unreadable, err.Error()
	case exists(pid):
		// No /proc, or one that hides other users' processes (hidepid).
		return p, Unreadable, fmt.Sprintf("PID %d exists, and /proc does not tell of it", pid)
	default:
		return p, Stale, fmt.Sprintf("PID %d does not run", pid)
	}
	switch {
	case p.Dead():
		return p, Stale, fmt.Sprintf("PID %d (%s) has ended", pid, p.Comm)
	case !process.IsProcess(pid):
		return p, Recycled, fmt.Sprintf("PID %d (%s) is a thread", pid, p.Comm)
	case p.StartTime().After(written.Add(startTolerance)):
		if written.Before(bootTime()) {
			return p, Recycled, fmt.Sprintf("it is older than the boot: PID %d (%s) started after the file was written", pid, p.Comm)
		}
		return p, Recycled, fmt.Sprintf("PID %d (%s) started after the file was written", pid, p.Comm)
	}
	return p, Running, ""
}

// bootTime is when the machine, or this time namespace, began.
func bootTime() time.Time { return process.Process{}.StartTime() }

func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}
