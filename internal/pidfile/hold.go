package pidfile

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// Hold is a PID file and the processes that it stands for, whose place no other process can take.
type Hold struct {
	Report
	Program *process.Held // nil unless the file is Running
	Holder  *process.Held // the pidleash in charge, which may outlive Program; nil: there is none

	pins []int // descriptors of the inodes, so that no other file can get their numbers
}

// takeTries is how often Take looks at a file that changes meanwhile.
const takeTries = 100

// Take inspects the file and holds the processes that it stands for. It fails only by its verdict. The caller
// closes it.
func Take(path string) *Hold {
	for range takeTries {
		h := &Hold{Report: Inspect(path)}
		err := h.hold()
		// The descriptors are open: if the file says the same now, it is about these processes.
		if err == nil && h.sameAs(Inspect(path)) {
			return h
		}
		h.Close()
		if process.IsRefused(err) {
			return &Hold{Report: h.Report.as(Unreadable, "to hold a process needs pidfd_open(2), Linux 5.3")}
		}
	}
	return &Hold{Report: Report{Path: path}.as(Unreadable, "it keeps changing")}
}

// sameAs compares all that does not depend on clocks and names.
func (r Report) sameAs(other Report) bool {
	return r.Verdict == other.Verdict && r.PID == other.PID && r.start == other.start &&
		r.Holder == other.Holder && r.id == other.id && r.locked == other.locked
}

func (h *Hold) hold() (err error) {
	err = h.pin(h.Path, h.id)
	if err == nil && h.locked != h.id {
		err = h.pin(lockPath(h.Path), h.locked)
	}
	if err == nil && h.Verdict == Running {
		h.Program, err = process.Hold(h.PID)
		if err == nil && h.Program.Start != h.start {
			err = unix.ESRCH
		}
	}
	if err == nil && h.Report.Holder != 0 {
		h.Holder, err = process.Hold(h.Report.Holder)
	}
	return err
}

// pin keeps the inode that was inspected; none: nothing. O_PATH needs no right to the file, and has no effect
// on a device.
func (h *Hold) pin(path string, inspected identity) error {
	if inspected == (identity{}) {
		return nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.pins = append(h.pins, fd)
	if id, err := identityOfFD(fd); err != nil || id != inspected {
		return unix.ESTALE
	}
	return nil
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

// Remove removes the file if it is still the one that was inspected, with the errors of unlinkat(2).
func (h *Hold) Remove() error {
	// In a directory that cannot be exchanged for another one in between.
	dir, name := filepath.Split(h.Path)
	at, err := unix.Open(dir+".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // gone, with the file
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || identityOf(&st) != h.id {
		return nil
	}
	if err := unix.Unlinkat(at, name, 0); err != unix.ENOENT {
		return err
	}
	return nil
}
