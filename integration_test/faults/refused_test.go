package faults

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// refusals are calls that a sandbox may refuse. A call with an error message is needed in that mode; without the others
// pidleash takes another way.
var refusals = []struct {
	name             string
	call             string // the number, and ARG:MASK
	foreground, back string // what refuses the start there; empty: it works
}{
	{"pidfd_open", fmt.Sprint(unix.SYS_PIDFD_OPEN), "", `needs pidfd_open\(2\), Linux 5.3: .*; hint: `},
	{"pidfd_send_signal", fmt.Sprint(unix.SYS_PIDFD_SEND_SIGNAL), "",
		`needs pidfd_send_signal\(2\), Linux 5.1: .*; hint: `},
	{"renameat2", fmt.Sprint(unix.SYS_RENAMEAT2), "", ""},
	{"renameat2 with flags", fmt.Sprintf("%d:4:7", unix.SYS_RENAMEAT2), "", ""},
	{"inotify_init1", fmt.Sprint(unix.SYS_INOTIFY_INIT1), "", ""},
	{"inotify_add_watch", fmt.Sprint(unix.SYS_INOTIFY_ADD_WATCH), "", ""},
	{"signalfd4", fmt.Sprint(unix.SYS_SIGNALFD4), "", ""},
	{"statx", fmt.Sprint(unix.SYS_STATX), "", ""},
	{"openat2", fmt.Sprint(unix.SYS_OPENAT2), "", ""},
	{"close_range", fmt.Sprint(unix.SYS_CLOSE_RANGE), "", ""},
	{"timerfd_create", fmt.Sprint(unix.SYS_TIMERFD_CREATE), "", ""},
	{"epoll_create1", fmt.Sprint(unix.SYS_EPOLL_CREATE1),
		`epoll_create1\(2\): .*; hint: `, `epoll_create1\(2\): .*; hint: `},
	{"prctl for a subreaper", fmt.Sprintf("%d:0:32", unix.SYS_PRCTL),
		`prctl\(2\): .*; hint: `, `prctl\(2\): .*; hint: `},
	{"eventfd2", fmt.Sprint(unix.SYS_EVENTFD2), `eventfd2\(2\): .*; hint: `, `eventfd2\(2\): .*; hint: `},
}

// TestRefusedCalls has the kernel refuse one call in every mode: the leash holds, or nothing has happened.
func TestRefusedCalls(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.ENOSYS, syscall.EPERM, syscall.EACCES} {
		for _, c := range refusals {
			for _, m := range []bed.StartMode{
				{Name: "foreground"}, {Name: "restart", Options: []string{"-restart", "always", "-restart-delay", "0"}},
				{Name: "daemon", Options: []string{"-daemon"}},
			} {
				line := c.foreground
				if m.Name == "daemon" {
					line = c.back
				}
				t.Run(fmt.Sprintf("%s %v %s", c.name, errno, m.Name), func(t *testing.T) { refuse(t, c.call, errno, m, line) })
			}
		}
	}
}

// TestRefusedCallsPage: docs/faults.md is made from the table, so that it cannot be wrong.
func TestRefusedCallsPage(t *testing.T) {
	want := `A sandbox refuses a system call with EPERM or EACCES, an old kernel with ENOSYS. Where there is another way pidleash
takes it; where there is none, the start is refused with code 125 before anything happens: no PROGRAM, no file. In the
test that made this page the built binary meets each of these errors in each mode.

| the call | in the foreground, with and without -restart | with -daemon |
|---|---|---|
`
	for _, c := range refusals {
		want += fmt.Sprintf("| %s | %s | %s |\n", c.name, inPage(c.foreground), inPage(c.back))
	}
	want += "\nThe table and its test are in integration_test/faults/refused_test.go.\n"
	expectSection(t, "When a call is refused", want)
}

// inPage is what a pattern of a message stands for.
func inPage(pattern string) string {
	if pattern == "" {
		return "works"
	}
	text, _, _ := strings.Cut(strings.ReplaceAll(pattern, "\\", ""), ": .*")
	return "125: " + text
}

func refuse(t *testing.T, call string, errno syscall.Errno, m bed.StartMode, line string) {
	a := bed.NewAttempt(t)
	a.How.Before = []string{bed.CompileC(t, "refuse.c"), strconv.Itoa(int(errno)), call}
	a.Options = []string{"-settle", "0", "-stop", "TERM/5s/KILL"}
	// Its child is stopped, too: "mixed" is the default.
	a.Shell(`sleep 600 & touch "$0/runs"; wait`)
	r := a.Start(t, m)
	if line != "" {
		bed.Conclusion{Code: 125, Line: line}.Expect(t, r)
		if !bed.IsGone(a.Other + "/runs") {
			t.Error("PROGRAM was started")
		}
		a.Mark.ExpectNobody(t)
		bed.ExpectEmptyDir(t, a.Dir)
		return
	}
	bed.Await(t, "PROGRAM runs", func() bool { return !bed.IsGone(a.Other + "/runs") })
	if m.Name == "restart" {
		bed.Must(t, syscall.Unlink(a.Other+"/runs"))
		bed.Must(t, syscall.Kill(bed.PIDIn(t, a.PIDFile), syscall.SIGKILL))
		bed.Await(t, "PROGRAM runs again", func() bool { return !bed.IsGone(a.Other + "/runs") })
	}
	bed.RemoveFile(t, a.PIDFile)
	if m.Name != "restart" { // there the first one's child is left alone
		a.Mark.ExpectNobody(t)
	} else {
		r.ExpectSignal(t, syscall.SIGTERM)
	}
	bed.ExpectEmptyDir(t, a.Dir)
}
