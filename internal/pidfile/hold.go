package pidfile

import (
	"errors"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
	"pidleash/internal/safeopen"
)

// Hold is a PID file and the processes that it stands for, whose place no other process can take.
type Hold struct {
	Report
	Program *process.Held // nil unless the file is Running
	Holder  *process.Held // the pidleash in charge, which may outlive Program; nil: there is none, or it cannot be held

	pins []int // descriptors of the inodes, so that no other file can get their numbers; the last is of the locked one
}

// takeTries is how often Take looks at a file that changes meanwhile.
const takeTries = 100

// Take inspects the file and holds the processes that it stands for. It fails only by its verdict. The caller
// closes it.
func Take(path string) *Hold {
	for range takeTries {
		inspected := Inspect(path)
		h := &Hold{Report: inspected}
		err := h.hold()
		// The descriptors are open: if the file says the same now, it is about these processes.
		if err == nil && inspected.sameAs(Inspect(path)) {
			return h
		}
		h.Close()
		if err == errNoPidfd {
			return &Hold{Report: h.as(Unreadable, err.Error())}
		}
	}
	return &Hold{Report: Report{Path: path}.as(Unreadable, "it keeps changing")}
}

// sameAs compares all that does not depend on clocks and names.
func (r Report) sameAs(other Report) bool {
	return r.Verdict == other.Verdict && r.PID == other.PID && r.start == other.start &&
		r.Held == other.Held && r.Holder == other.Holder && r.id == other.id && r.locked == other.locked
}

func (h *Hold) hold() (err error) {
	err = h.pin(h.Path, h.id)
	if err == nil && h.locked != h.id {
		err = h.pin(lockPath(h.Path), h.locked)
	}
	if err == nil && h.Verdict == Running {
		h.Program, err = holdProcess(h.PID)
		if err == nil && h.Program.Start != h.start {
			err = unix.ESRCH
		}
	}
	if err == nil && h.Report.Holder != 0 {
		h.Holder, err = holdProcess(h.Report.Holder)
	}
	if h.Held && err == errNoPidfd { // the lock is enough to stop it
		h.Report, err = h.as(Unreadable, err.Error()), nil
	}
	return err
}

var errNoPidfd = errors.New("to hold a process needs pidfd_open(2), Linux 5.3")

// holdProcess fails with errNoPidfd on a kernel without the call, or in a sandbox that forbids it.
func holdProcess(pid int) (*process.Held, error) {
	h, err := process.Hold(pid)
	if process.IsRefused(err) {
		err = errNoPidfd
	}
	return h, err
}

// pin keeps the inode that was inspected; none: nothing. A file that may not be read is not locked either.
func (h *Hold) pin(path string, inspected identity) error {
	if inspected == (identity{}) {
		return nil
	}
	fd, err := safeopen.Open(path, unix.O_RDONLY, 0)
	if err == unix.EACCES {
		fd, err = safeopen.Open(path, unix.O_PATH, 0)
	}
	if err != nil {
		return err
	}
	h.pins = append(h.pins, fd)
	if id, err := identityOfFD(fd); err != nil || id != inspected {
		return unix.ESTALE
	}
	return nil
}

// Released reports that the lock which was inspected is held no more, by whoever may speak for the file.
func (h *Hold) Released() bool {
	return !h.Held || !lockOf(h.pins[len(h.pins)-1], h.locked, h.owner).held
}

// Close lets go of the processes.
func (h *Hold) Close() {
	h.Program.Close()
	h.Holder.Close()
	for _, fd := range h.pins {
		unix.Close(fd)
	}
	h.pins = nil
}

// Remove removes the file if it is still the one that was inspected.
func (h *Hold) Remove() error {
	return removalError(h.Path, "cannot be removed", takeAway(h.Path, h.id))
}
