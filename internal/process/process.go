// Package process reads what the kernel tells of processes in /proc.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Ticks is a time since boot, as CLOCK_BOOTTIME counts, in hundredths of a second:
// USER_HZ is 100 on every architecture that Go supports (sysconf(3) would read
// the same constant from the auxiliary vector).
type Ticks int64

// Process is what /proc/PID/stat tells of a process; see proc_pid_stat(5).
type Process struct {
	Comm   string // the name, of anybody's choice
	State  byte
	Parent int
	Start  Ticks
	// Threads are those that have not ended; the first counts until it is waited for.
	Threads int
}

// Read tells of one process. The error is fs.ErrNotExist or ESRCH when there is
// none of that PID, or when /proc is not mounted.
func Read(pid int) (Process, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{}, err
	}
	return parse(stat)
}

// IsForeign reports a /proc that is of another PID namespace than this process: what
// it tells of a PID is about another process.
func IsForeign() bool {
	self, err := os.Readlink("/proc/self")
	if err != nil { // not of this process's, nor of one around it; or not mounted
		_, err = Read(1)
		return err == nil
	}
	return self != strconv.Itoa(os.Getpid())
}

// IsProcess reports that pid is a process: /proc also answers to the numbers of
// threads, proc(5), and a PID file of an earlier container may name one of ours.
func IsProcess(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && bytes.Contains(status, []byte("\nTgid:\t"+strconv.Itoa(pid)+"\n"))
}

// Table tells of all processes that can be seen. Those that end meanwhile may
// be missing.
func Table() (map[int]Process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	table := map[int]Process{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := Read(pid); err == nil {
			table[pid] = p
		}
	}
	if len(table) == 0 {
		return nil, errors.New("/proc is not mounted")
	}
	return table, nil
}

// Children lists the PIDs of a process's children, zombies too.
func Children(parent int) ([]int, error) {
	dir := "/proc/" + strconv.Itoa(parent) + "/task/"
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, task := range tasks {
		// Each thread has its own, proc_pid_task(5).
		list, err := os.ReadFile(dir + task.Name() + "/children")
		if errors.Is(err, fs.ErrNotExist) {
			return childrenInTable(parent) // the kernel may be without the file
		}
		for _, word := range bytes.Fields(list) {
			if pid, err := strconv.Atoi(string(word)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

func childrenInTable(parent int) ([]int, error) {
	table, err := Table()
	var pids []int
	for pid, p := range table {
		if p.Parent == parent {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

func parse(stat []byte) (Process, error) {
	// The name is in parentheses and may hold spaces and parentheses itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return Process{}, errors.New("no name in parentheses")
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 20 {
		return Process{}, fmt.Errorf("%d fields after the name, 20 are needed", len(fields))
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return Process{}, err
	}
	threads, err := strconv.Atoi(string(fields[17]))
	if err != nil {
		return Process{}, err
	}
	start, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return Process{}, err
	}
	return Process{Comm: string(stat[open+1 : end]), State: fields[0][0], Parent: parent, Start: Ticks(start), Threads: threads}, nil
}

// Dead reports a process that has ended, whether or not it was waited for. State is
// that of the first thread, which may end before the others, pthread_exit(3).
func (p Process) Dead() bool {
	return p.State == 'Z' && p.Threads <= 1 || p.State == 'X' || p.State == 'x'
}

// StartTime is the wall-clock time at which the process started. It is
// reckoned from CLOCK_REALTIME and CLOCK_BOOTTIME, which a container sees in
// its own time namespace just as starttime; /proc/uptime and btime are not
// always of that namespace, and btime is rounded to a second.
func (p Process) StartTime() time.Time {
	var real, boot unix.Timespec
	// Neither call fails for a clock that exists.
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &real)
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	return time.Unix(0, real.Nano()-boot.Nano()).Add(time.Duration(p.Start) * (time.Second / 100))
}
