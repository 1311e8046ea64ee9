package pidfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// process is what /proc/PID/stat tells of a process; see proc_pid_stat(5).
type process struct {
	comm  string
	state byte
	ppid  int
	start time.Duration // since boot, as CLOCK_BOOTTIME counts
}

// clockTick is the unit of starttime: USER_HZ, 100 on every architecture that
// Go supports (sysconf(3) would read the same constant from the auxiliary
// vector).
const clockTick = time.Second / 100

func readProcess(pid int) (process, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(stat)
}

func parseStat(stat []byte) (process, error) {
	// The name is in parentheses and may hold spaces and parentheses itself.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return process{}, errors.New("no name in parentheses")
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) < 20 {
		return process{}, fmt.Errorf("%d fields after the name, 20 are needed", len(fields))
	}
	ppid, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return process{}, err
	}
	ticks, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return process{}, err
	}
	return process{
		comm:  string(stat[open+1 : end]),
		state: fields[0][0],
		ppid:  ppid,
		start: time.Duration(ticks) * clockTick,
	}, nil
}

// leadsThreads reports that pid is a process: /proc also answers to the numbers of
// threads, proc(5), and a PID file of an earlier container may name one of ours.
func leadsThreads(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	return err == nil && bytes.Contains(status, []byte("\nTgid:\t"+strconv.Itoa(pid)+"\n"))
}

// dead reports a process that has ended, whether or not it was waited for.
func (p process) dead() bool { return p.state == 'Z' || p.state == 'X' || p.state == 'x' }

// startTime is the wall-clock time at which the process started. It is
// reckoned from CLOCK_REALTIME and CLOCK_BOOTTIME, which a container sees in
// its own time namespace just as starttime; /proc/uptime and btime are not
// always of that namespace, and btime is rounded to a second.
func (p process) startTime() time.Time {
	var real, boot unix.Timespec
	// Neither call fails for a clock that exists.
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &real)
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	return time.Unix(0, real.Nano()-boot.Nano()).Add(p.start)
}

// isSelfOrAncestor reports that pid is this process or one that it descends
// from. Such a process cannot be the program of an earlier start: in a
// container the same small numbers come back.
func isSelfOrAncestor(pid int) bool {
	for p := os.Getpid(); p > 0; {
		if p == pid {
			return true
		}
		proc, err := readProcess(p)
		if err != nil {
			return false
		}
		p = proc.ppid
	}
	return false
}

// nameOf returns " (comm)" for messages, or nothing when the process is gone.
func nameOf(pid int) string {
	proc, err := readProcess(pid)
	if err != nil {
		return ""
	}
	return " (" + proc.comm + ")"
}
