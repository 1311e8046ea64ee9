package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// startTolerance is how much later than the file's last change a process may have started that the file
// names. Clocks of file systems tick coarsely, and a second instance is worse than a refused start.
const startTolerance = time.Second

// livePID returns the PID of the running program that a file names, or 0 and why the file is stale. written
// is the time of the file's last change, own is as in New.
func livePID(content []byte, written time.Time, own []int) (pid int, reason string) {
	pid = parsePID(content)
	switch {
	case blank(content):
		return 0, "it is empty"
	case pid == 0:
		return 0, "it names no PID"
	}
	p, verdict, reason := namedProcess(pid, written)
	switch {
	case verdict == Stale || verdict == Recycled:
		return 0, reason
	case verdict == Running && isOwn(pid, own):
		return 0, fmt.Sprintf("PID %d (%s) is this start itself or what started it", pid, p.Comm)
	}
	return pid, "" // unknown, too: refuse rather than run twice
}

// isOwn reports that pid is this process, one of own, or one that these descend from. It cannot be the
// program of an earlier start: in a container the same small numbers come back.
func isOwn(pid int, own []int) bool {
	return slices.ContainsFunc(append([]int{os.Getpid()}, own...), func(p int) bool {
		return p == pid || process.IsBelow(p, pid)
	})
}

// namedProcess decides whether the process with a PID is the one that a file means: Running; else Stale,
// Recycled or Unreadable, and why. The number alone proves nothing: after a reboot, or in the next container,
// it belongs to somebody else. A process that started after the file was written cannot be the one.
func namedProcess(pid int, written time.Time) (p process.Process, v Verdict, reason string) {
	p, err := process.Read(pid)
	if err != nil {
		switch {
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH):
			return p, Unreadable, err.Error()
		case exists(pid):
			// No /proc, or one that hides other users' processes (hidepid).
			return p, Unreadable, fmt.Sprintf("PID %d exists, but not in /proc", pid)
		}
		return p, Stale, fmt.Sprintf("PID %d does not run", pid)
	}
	name := fmt.Sprintf("PID %d (%s)", pid, p.Comm)
	switch {
	case p.Dead():
		return p, Stale, name + " has ended"
	case !process.IsProcess(pid):
		return p, Recycled, name + " is a thread"
	case p.StartTime().After(written.Add(startTolerance)):
		reason = name + " started after the file was written"
		if written.Before(process.Process{}.StartTime()) { // when this machine, or time namespace, began
			reason = "it is older than the boot: " + reason
		}
		return p, Recycled, reason
	}
	return p, Running, ""
}

func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}
