package pidfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
	"pidleash/internal/sys"
)

// startTolerance is how much later than the file's last change a process may have started that the file
// names. Clocks of file systems tick coarsely, and a second instance is worse than a refused start.
const startTolerance = time.Second

// Own is what a start says of itself, one thing in each: a process that is its own, or a file of its program. A PID
// file that names such a process, or one that it descends from, is stale. Of a process which may be another one than
// the file means the program decides, see New.
type Own struct {
	PID     int
	Program string
}

// livePID returns the PID of the running program that a file names, or 0 and why the file is stale. written
// is the time of the file's last change, own is as in New.
func livePID(content []byte, written time.Time, own []Own) (pid int, reason string) {
	pid = parsePID(content)
	switch {
	case blank(content):
		return 0, "it is empty"
	case pid == 0:
		return 0, "it names no PID"
	}
	_, verdict, reason := namedProcess(pid, written)
	switch {
	case verdict == Stale || verdict == Recycled:
		return 0, reason
	case isOwn(pid, own):
		return 0, fmt.Sprintf("PID %d%s is this start itself or what started it", pid, nameOf(pid))
	case verdict == Unsure && !mayBeProgram(pid, own):
		return 0, reason + ", and is another program"
	}
	return pid, "" // unknown, too: refuse rather than run twice
}

// isOwn reports that pid is this process, one of own, or one that these descend from. It cannot be the
// program of an earlier start: in a container the same small numbers come back.
func isOwn(pid int, own []Own) bool {
	return slices.ContainsFunc(append([]Own{{PID: os.Getpid()}}, own...), func(o Own) bool {
		return o.PID == pid || process.IsBelow(o.PID, pid)
	})
}

// mayBeProgram reports that a process executes a file of own, or that own names none.
func mayBeProgram(pid int, own []Own) bool {
	unknown := true
	for _, o := range own {
		if o.Program != "" {
			if unknown = false; executes(pid, o.Program) {
				return true
			}
		}
	}
	return unknown
}

// executes reports that a process executes a file, or that its interpreter does. The binary may have been replaced.
func executes(pid int, file string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	if real, err := filepath.EvalSymlinks(file); err == nil && real == process.ImageOf(pid) {
		return true
	}
	paths := []string{dir + "/exe"}
	for _, word := range strings.SplitN(string(process.Arguments(pid)), "\x00", 4) { // execve(2): the interpreter, its argument, the script
		if word != "" && !filepath.IsAbs(word) {
			word = dir + "/cwd/" + word
		}
		paths = append(paths, word)
	}
	program, err := os.Stat(file)
	return err == nil && slices.ContainsFunc(paths[:min(len(paths), 4)], func(path string) bool {
		st, err := os.Stat(path)
		return err == nil && os.SameFile(st, program)
	})
}

// namedProcess decides whether the process with a PID is the one that a file means: Running; else Stale,
// Recycled, Unsure or Unreadable, and why. The number alone proves nothing: after a reboot, or in the next container,
// it belongs to somebody else. A process that started after the file was written cannot be the one. When it started is
// reckoned by the wall clock of today, and the file has the time of then: a step of the clock in between, at whatever
// time and in how many pieces, makes a difference of at most its size.
func namedProcess(pid int, written time.Time) (p process.Process, v Verdict, reason string) {
	if !exists(pid) { // one call, where /proc takes three
		return p, Stale, fmt.Sprintf("PID %d does not run", pid)
	}
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
	case startTime(p).After(written.Add(startTolerance)):
		reason = name + " started after the file was written"
		step := wallClock.step()
		if step > 0 && !startTime(p).Add(-step-bootSlack).After(written) {
			return p, Unsure, fmt.Sprintf("%s, or the clock was set: it is %v ahead since the boot", reason, step.Round(time.Second))
		}
		if written.Before(wallClock.now()) { // when this machine, or time namespace, began
			reason = "it is older than the boot: " + reason
		}
		return p, Recycled, reason
	}
	return p, Running, ""
}

// startTime is when a process started, by the wall clock of today.
func startTime(p process.Process) time.Time { return wallClock.now().Add(p.Start.SinceBoot()) }

func exists(pid int) bool {
	err := sys.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}
