package wrapper

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// killTree sends a signal to every descendant of this process but strangers and
// what came of them. Descendants whose own parents have ended are children of
// this process, which is a subreaper or PID 1.
//
// Others reap most of them, so their PIDs can be recycled at any time: the signal
// goes through a pidfd, to a process that was seen to be a descendant with the
// descriptor open, pidfd_open(2).
//
// It returns whom it has reached.
func killTree(sig syscall.Signal, strangers map[int]process.Ticks) (map[int]process.Ticks, error) {
	all, err := descendants(os.Getpid(), strangers)
	for pid, start := range all {
		killExactly(pid, start, sig)
	}
	return all, err
}

// killExactly signals the process of that PID and start time, or nobody.
func killExactly(pid int, start process.Ticks, sig syscall.Signal) {
	h, err := process.Hold(pid)
	if err != nil {
		return // it has ended
	}
	defer h.Close()
	if h.Start == start {
		_ = h.Signal(sig)
	}
}

// descendants returns the PIDs and start times of all processes below ancestor,
// without strangers, zombies and what is below strangers. It looks twice: a
// process whose parent ends during the first look hangs in the air, and is this
// process's child in the second.
func descendants(ancestor int, strangers map[int]process.Ticks) (map[int]process.Ticks, error) {
	found := map[int]process.Ticks{}
	for range 2 {
		table, err := process.Table()
		if err != nil {
			return nil, err
		}
		for pid, p := range table {
			if !p.Dead() && below(pid, ancestor, table, strangers) {
				found[pid] = p.Start
			}
		}
	}
	return found, nil
}

// below reports that ancestor is one of pid's ancestors in the table, with no
// stranger on the way.
func below(pid, ancestor int, table map[int]process.Process, strangers map[int]process.Ticks) bool {
	for range len(table) { // a table read in several moments could have a circle
		p, ok := table[pid]
		start, known := strangers[pid]
		switch {
		case !ok, known && start == p.Start:
			return false
		case p.Parent == ancestor:
			return true
		}
		pid = p.Parent
	}
	return false
}

// findStrangers returns what this process had below it before it became pidleash,
// with the start times: "background-job & exec pidleash …" hands it over. All of
// it, because what has a parent now may fall to pidleash later.
func findStrangers() map[int]process.Ticks {
	if unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil) == unix.ECHILD {
		return map[int]process.Ticks{} // as nearly always; /proc need not be read
	}
	strangers, err := descendants(os.Getpid(), nil)
	if err != nil {
		return map[int]process.Ticks{} // without /proc nobody looks for descendants
	}
	return strangers
}
