package bed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// IsPending reports a signal that a process has been sent and not had, proc(5).
func IsPending(pid int, sig syscall.Signal) bool { return isInMask(pid, "ShdPnd", sig) }

func isInMask(pid int, name string, sig syscall.Signal) bool {
	text, _ := os.ReadFile(ProcFile(pid, "status"))
	_, rest, _ := strings.Cut(string(text), "\n"+name+":")
	mask, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	return err == nil && bits&(1<<(sig-1)) != 0
}

// Catches reports that the program which a test has executed there has set a handler. Until execve the process
// has the name of who forked it, and its handlers.
func Catches(pid int, sig syscall.Signal) bool {
	name, _ := os.ReadFile(ProcFile(pid, "comm"))
	isForked := strings.HasPrefix(filepath.Base(Pidleash), strings.TrimSuffix(string(name), "\n")) // comm has 15 bytes
	return isInMask(pid, "SigCgt", sig) && !isForked && !strings.HasPrefix(string(name), "pidleash")
}

// ChildPIDs reads every thread's list: the thread that forked has the child.
func ChildPIDs(pid int) (children []int) {
	lists, _ := filepath.Glob(ProcFile(pid, "task/*/children"))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range bytes.FieldsSeq(text) {
			if child, err := strconv.Atoi(string(word)); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// Ended reports that a process has ended, whether or not somebody has waited for
// it.
func Ended(pid int) bool {
	state := ProcessState(pid)
	return state == "" || state == "Z" || state == "X"
}

// ProcFile is a path in a directory of /proc.
func ProcFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// ExpectDescriptors fails the test unless PROGRAM has the descriptors that the
// same program has when it is started without pidleash. Those are more than 0
// to 2 when the test's process was given more itself.
func ExpectDescriptors(t testing.TB, pid, plain int) {
	t.Helper()
	have, targets := DescriptorsOf(t, pid)
	want, _ := DescriptorsOf(t, plain)
	if have != want {
		t.Errorf("PID %d has the descriptors %q, want %s", pid, targets, want)
	}
}

// DescriptorsOf lists the numbers, and what they lead to.
func DescriptorsOf(t testing.TB, pid int) (numbers string, targets []string) {
	t.Helper()
	entries, err := os.ReadDir(ProcFile(pid, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		target, _ := os.Readlink(ProcFile(pid, "fd/") + e.Name())
		numbers, targets = numbers+" "+e.Name(), append(targets, e.Name()+" "+target)
	}
	return numbers, targets
}

// ProcessState is the letter of proc_pid_stat(5), or nothing.
func ProcessState(pid int) string {
	text, _ := os.ReadFile(ProcFile(pid, "stat"))
	if i := strings.LastIndex(string(text), ") "); i >= 0 {
		return string(text[i+2 : i+3])
	}
	return ""
}

// Descendants lists the children of pid and theirs.
func Descendants(pid int) (all []int) {
	for _, child := range ChildPIDs(pid) {
		all = append(append(all, child), Descendants(child)...)
	}
	return all
}

// Gone reports that no process has the PID, not even as a zombie.
func Gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// ParentOf is the PID of the parent.
func ParentOf(t testing.TB, pid int) (parent int) {
	t.Helper()
	stat := ReadFile(t, ProcFile(pid, "stat"))
	_, err := fmt.Sscanf(stat[strings.LastIndexByte(stat, ')')+4:], "%d", &parent)
	Must(t, err)
	return parent
}

// inodeIn is the inode as a line of proc_locks(5) has it.
func inodeIn(st os.FileInfo) string { return fmt.Sprintf(":%d ", st.Sys().(*syscall.Stat_t).Ino) }

// IsLockedBy reports that a descriptor of the process has the file's lock, proc_pid_fdinfo(5). It does not ask by
// locking: for a moment that would be a lock, too. Nor does it read /proc/locks: meanwhile the kernel lets nobody lock.
func IsLockedBy(t testing.TB, file string, pid int) bool {
	t.Helper()
	st, err := os.Stat(file)
	Must(t, err)
	fds, _ := os.ReadDir(ProcFile(pid, "fd")) // none: it has ended
	return slices.ContainsFunc(fds, func(fd os.DirEntry) bool {
		other, err := os.Stat(ProcFile(pid, "fd/"+fd.Name()))
		if err != nil || !os.SameFile(st, other) {
			return false
		}
		info, err := os.ReadFile(ProcFile(pid, "fdinfo/"+fd.Name()))
		return err == nil && bytes.Contains(info, []byte(" FLOCK "))
	})
}

// Switches is how often the process has gone to sleep or lost the processor.
func Switches(t testing.TB, pid int) (n int) {
	t.Helper()
	statuses, err := filepath.Glob(ProcFile(pid, "task/*/status"))
	Must(t, err)
	for _, status := range statuses {
		for line := range strings.Lines(ReadFile(t, status)) {
			var count int
			if _, text, ok := strings.Cut(line, "voluntary_ctxt_switches:\t"); ok {
				fmt.Sscan(text, &count)
				n += count
			}
		}
	}
	return n
}
