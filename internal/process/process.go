// Package process knows what /proc tells of processes (Read, Table), holds one (Held), finds those that came of the
// program (Family) and those to wait for (Reaper).
//
// /proc is no snapshot: a process is missing in it whose parent ends meanwhile. That nobody is left is believed from
// waitid(2) or a pidfd, and a PID that was read is checked again when it is held.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// Ticks is a time since boot, as CLOCK_BOOTTIME counts, in hundredths of a second: USER_HZ wherever Go runs.
type Ticks int64

// SinceBoot is the same as a duration.
func (t Ticks) SinceBoot() time.Duration { return time.Duration(t) * (time.Second / 100) }

// Process is what /proc/PID/stat tells of a process; see proc_pid_stat(5).
type Process struct {
	Comm    string // the name, of anybody's choice
	State   byte
	Parent  int
	Group   int
	Session int
	Start   Ticks
	Threads int                // those that have not ended; the first counts until it is waited for
	Forked  bool               // it executes what its parent did: there was no execve(2) since the fork
	Status  syscall.WaitStatus // how it has ended; 0: it lives, or this process may not trace it
}

// Read tells of one process. The error is fs.ErrNotExist or ESRCH when there is none of that PID, or when /proc is
// not mounted, and another one when it is that of another PID namespace.
func Read(pid int) (Process, error) {
	if IsForeign() {
		return Process{}, errForeign
	}
	return readStat(pid)
}

func readStat(pid int) (Process, error) {
	stat, err := sys.ReadFile("/proc/"+strconv.Itoa(pid)+"/stat", 2048) // 52 numbers of at most 20 digits, and the name
	if err != nil {
		return Process{}, err
	}
	return parse(stat)
}

// IsForeign reports a /proc of another PID namespace: what it tells of a PID is about another process.
func IsForeign() bool {
	self, err := os.Readlink("/proc/self")
	if err != nil { // of a namespace that this process is not in; or not mounted
		_, err = readStat(1)
		return err == nil
	}
	return self != strconv.Itoa(os.Getpid())
}

// errForeign refuses a /proc whose PIDs stand for other processes here: pidleash could signal the wrong ones.
var errForeign = errors.New("/proc is that of another PID namespace")

// IsProcess reports that pid is a process. /proc also answers to the numbers of threads, proc(5), and a PID file of
// an earlier container may name one.
func IsProcess(pid int) bool {
	tgid, _ := status(pid, "Tgid")
	return tgid == strconv.Itoa(pid)
}

// status is a line of proc_pid_status(5), with the errors of Read.
func status(pid int, name string) (string, error) {
	text, err := sys.ReadFile("/proc/"+strconv.Itoa(pid)+"/status", 4096)
	_, line, _ := strings.Cut(string(text), "\n"+name+":\t")
	line, _, _ = strings.Cut(line, "\n")
	return line, err
}

// ImageOf is the path of the binary that a process executes, even if the file was removed or replaced since; empty:
// this process may not see it.
func ImageOf(pid int) string {
	path, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	return strings.TrimSuffix(path, " (deleted)")
}

// Arguments are a process's, each with a NUL behind it, proc_pid_cmdline(5), cut at 4,096 bytes; empty: they are
// hidden.
func Arguments(pid int) []byte {
	text, _ := sys.ReadFile("/proc/"+strconv.Itoa(pid)+"/cmdline", 4096)
	return text
}

// Owner is whose a process is: the users that may signal it have one of these as their own, kill(2).
type Owner struct{ Real, Saved uint32 }

// OwnerOf has the errors of Read.
func OwnerOf(pid int) (o Owner, err error) {
	line, err := status(pid, "Uid")
	if err == nil {
		var effective uint32
		_, err = fmt.Sscan(line, &o.Real, &effective, &o.Saved)
	}
	return o, err
}

// MayBeSignaledBy reports that the user needs no privilege for it.
func (o Owner) MayBeSignaledBy(user uint32) bool { return user == o.Real || user == o.Saved }

// Table tells of all processes that can be seen, by PID. Those that end meanwhile may be missing.
func Table() (map[int]Process, error) {
	if IsForeign() {
		return nil, errForeign
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	table := map[int]Process{}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, err := readStat(pid); err == nil {
				table[pid] = p
			}
		}
	}
	if len(table) == 0 {
		return nil, errors.New("/proc is not mounted")
	}
	return table, nil
}

// Children lists the PIDs of a process's children, zombies too.
func Children(parent int) (pids []int, err error) {
	if IsForeign() {
		return nil, errForeign
	}
	dir := "/proc/" + strconv.Itoa(parent) + "/task/"
	tasks, err := os.ReadDir(dir)
	for _, task := range tasks {
		// Each thread has its own, proc_pid_task(5); a kernel may be without it.
		list, err := sys.ReadFile(dir+task.Name()+"/children", 1024)
		if errors.Is(err, fs.ErrNotExist) {
			table, err := Table()
			maps.DeleteFunc(table, func(_ int, p Process) bool { return p.Parent != parent })
			return slices.Collect(maps.Keys(table)), err
		}
		for word := range bytes.FieldsSeq(list) {
			pid, _ := strconv.Atoi(string(word))
			pids = append(pids, pid)
		}
	}
	return pids, err
}

func parse(stat []byte) (p Process, err error) {
	// The name is in parentheses and may hold spaces and parentheses itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if open < 0 || end < open || len(fields) < 20 {
		return p, fmt.Errorf("not a line of proc_pid_stat(5): %q", string(stat))
	}
	number := func(i int) int64 { // an int of 32 bits has no room for the ticks of 249 days, nor for all flags
		n, wrong := strconv.ParseInt(string(fields[i]), 10, 64)
		err = errors.Join(err, wrong)
		return n
	}
	p = Process{Comm: string(stat[open+1 : end]), State: fields[0][0], Threads: int(number(17)), Start: Ticks(number(19))}
	p.Parent, p.Group, p.Session = int(number(1)), int(number(2)), int(number(3))
	const forkNoExec = 0x40 // PF_FORKNOEXEC in include/linux/sched.h
	p.Forked = number(6)&forkNoExec != 0
	if len(fields) > 49 { // the last one, since Linux 3.5
		p.Status = syscall.WaitStatus(number(49))
	}
	return p, err
}

// Dead reports a process that has ended, whether or not it was waited for. The field State is that of the first
// thread, which may end before the others: pthread_exit(3).
func (p Process) Dead() bool {
	return p.State == 'Z' && p.Threads <= 1 || p.State == 'X' || p.State == 'x'
}

// lives reports that the process of that PID and start has not ended.
func lives(pid int, start Ticks) bool {
	p, err := Read(pid)
	return err == nil && p.Start == start && !p.Dead()
}

// BootTime is when CLOCK_BOOTTIME was zero, by the wall clock as it is set now. That clock is of this time namespace,
// as are the start times of processes; /proc/uptime and btime may not be, and btime is rounded to a second.
func BootTime() time.Time {
	var real, boot unix.Timespec
	_ = sys.Again(func() error { return unix.ClockGettime(unix.CLOCK_REALTIME, &real) })
	_ = sys.Again(func() error { return unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) })
	return time.Unix(0, real.Nano()-boot.Nano())
}
