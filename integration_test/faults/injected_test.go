package faults

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

var injectErrors = []syscall.Errno{
	unix.EINTR, unix.ENOSPC, unix.EROFS, unix.EDQUOT, unix.EMFILE, unix.ENFILE, unix.EAGAIN,
	unix.ENOMEM, unix.EIO, unix.EPERM, unix.ENOSYS,
}

var injectMarks atomic.Int64

func newMark() bed.Mark {
	return bed.Mark(fmt.Sprintf("LEASH_MARK=inject-%d-%d", os.Getpid(), injectMarks.Add(1)))
}

// needInjection says for which machine inject.c is, and compiles it.
func needInjection(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("inject.c knows the registers of amd64 only")
	}
	for _, m := range injectModes {
		m.inject, m.acts = bed.CompileC(t, "inject.c"), bed.CompileC(t, "acts.c")
	}
}

// injectRow is one of the matrix.
type injectRow struct {
	mode  *injectMode
	in    injection
	where string
	answer
}

// tryRows tries the rows, some at a time, and fills in the answers. It tries a wrong row once more, because a busy
// machine may have been the cause.
func tryRows(t *testing.T, rows []*injectRow) {
	next := make(chan *injectRow)
	var wait sync.WaitGroup
	for range 12 {
		wait.Go(func() {
			for r := range next {
				if r.answer = r.mode.attempt(r.in); r.fault != "" {
					r.answer = r.mode.attempt(r.in)
				}
				if r.fault != "" {
					t.Errorf("%s: call %d fails with %s, %s: %s\n%s, %s", r.mode.name, r.in.calls[0],
						unix.ErrnoName(r.in.errno), r.where, r.fault, r.code, r.text)
				}
			}
		})
	}
	for _, r := range rows {
		next <- r
	}
	close(next)
	wait.Wait()
}

// kind is a word for the answer.
func (r *injectRow) kind() string {
	switch {
	case r.fault != "":
		return "wrong"
	case r.hits == 0:
		return "not reached"
	case r.code != r.mode.usual:
		return "code " + r.code
	case r.text != "":
		return "a warning"
	}
	return "as always"
}

// message is what was said, without the remedy and the error's own words.
func (r *injectRow) message() string {
	text, _, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(r.text, "pidleash: ", "")), "; hint")
	return strings.ReplaceAll(strings.TrimSuffix(text, ": "+r.in.errno.Error()), "\n", ", then ")
}

// notAll are calls of which all cannot fail, see spared: Go's runtime ends with the first.
var notAll = []int{unix.SYS_EPOLL_PWAIT, unix.SYS_FCNTL}

// matrixOf is every place of every mode once, where an earlier mode has not made the same call at the same place, and all
// calls of each number in every mode. A call that is always interrupted is always made again: that row is left out.
func matrixOf(t *testing.T) (rows []*injectRow) {
	seen := map[string]bool{}
	for _, m := range injectModes {
		places, all := m.trace(t, 3), map[int]bool{}
		for _, s := range places {
			key := fmt.Sprint(s.number, s.at())
			for _, errno := range injectErrors {
				if !seen[key] {
					once := injection{[]int{s.number}, s.at(), errno}
					rows = append(rows, &injectRow{mode: m, in: once, where: s.chain()})
				}
				if errno != unix.EINTR && !all[s.number] && !slices.Contains(notAll, s.number) {
					rows = append(rows, &injectRow{mode: m, in: injection{[]int{s.number}, "", errno}, where: "always"})
				}
			}
			seen[key], all[s.number] = true, true
		}
		t.Logf("%s: %d places, %d calls", m.name, len(places), len(all))
	}
	return rows
}

var (
	onlyErrors = flag.String("errno", "", "TestInjectedErrors: only the rows of these errors, such as EINTR,EIO")
	onlyModes  = flag.String("mode", "", "TestInjectedErrors: only the rows of modes whose names this regular expression matches")
)

// TestInjectedErrors is the whole, for make faults.
func TestInjectedErrors(t *testing.T) {
	if !bed.Long() {
		return // TestTellingErrors is the short form
	}
	needInjection(t)
	modes := regexp.MustCompile(*onlyModes)
	rows := slices.DeleteFunc(matrixOf(t), func(r *injectRow) bool {
		return *onlyErrors != "" && !slices.Contains(strings.Split(*onlyErrors, ","), unix.ErrnoName(r.in.errno)) ||
			!modes.MatchString(r.mode.name)
	})
	random := bed.Random(t)
	random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	tryRows(t, rows)
	kinds := map[string]int{}
	for _, r := range rows {
		kinds[r.kind()]++
	}
	t.Logf("%d rows: %v", len(rows), kinds)
}

// tellingErrors are rows of the matrix for the gate and for docs/faults.md.
var tellingErrors = []struct {
	mode  string
	name  string
	call  int
	where string // a function on the way to the one call; empty: every call
	errs  []syscall.Errno
}{
	{"foreground", "openat", unix.SYS_OPENAT, "", []syscall.Errno{unix.EROFS, unix.EMFILE}},
	{"foreground", "fchmod", unix.SYS_FCHMOD, "", []syscall.Errno{unix.EPERM}},
	{"foreground", "flock", unix.SYS_FLOCK, "", []syscall.Errno{unix.EAGAIN, unix.ENOSYS}},
	{"foreground", "flock", unix.SYS_FLOCK, "pidfile.lock", []syscall.Errno{unix.EINTR}},
	{"foreground", "write of the PID", unix.SYS_WRITE, "publishPID", []syscall.Errno{unix.ENOSPC, unix.EINTR}},
	{"foreground", "linkat", unix.SYS_LINKAT, "", []syscall.Errno{unix.EIO}},
	{"foreground", "clone of the launch", unix.SYS_CLONE, "launch.vfork", []syscall.Errno{unix.EAGAIN, unix.EINTR}},
	{"foreground", "execve", unix.SYS_EXECVE, "", []syscall.Errno{unix.ENOMEM}},
	{"foreground", "rt_sigprocmask of PROGRAM", unix.SYS_RT_SIGPROCMASK, "childPlan).run", []syscall.Errno{unix.ENOSYS}},
	{"foreground", "inotify_init1", unix.SYS_INOTIFY_INIT1, "", []syscall.Errno{unix.EMFILE}},
	{"foreground", "a look at the file", unix.SYS_STATX, "leash).look", []syscall.Errno{unix.EIO, unix.EINTR}},
	{"foreground", "kill", unix.SYS_KILL, "", []syscall.Errno{unix.EPERM}},
	{"foreground", "waitid", unix.SYS_WAITID, "", []syscall.Errno{unix.ENOSYS}},
	{"foreground", "wait4", unix.SYS_WAIT4, "", []syscall.Errno{unix.ENOSYS}},
	{"foreground", "epoll_ctl", unix.SYS_EPOLL_CTL, "", []syscall.Errno{unix.EPERM}},
	{"its own end", "renameat2", unix.SYS_RENAMEAT2, "", []syscall.Errno{unix.EROFS}},
	{"its own end", "unlinkat", unix.SYS_UNLINKAT, "", []syscall.Errno{unix.EROFS}},
	{"its own end", "a look before the removal", unix.SYS_NEWFSTATAT, "pidfile.takeAway", []syscall.Errno{unix.EIO}},
	{"-daemon", "socketpair", unix.SYS_SOCKETPAIR, "", []syscall.Errno{unix.EMFILE}},
	{"-daemon", "pidfd_open", unix.SYS_PIDFD_OPEN, "", []syscall.Errno{unix.EMFILE, unix.ENOSYS}},
	{"-daemon", "sendto", unix.SYS_SENDTO, "", []syscall.Errno{unix.ENOMEM}},
	{"-daemon", "ppoll", unix.SYS_PPOLL, "", []syscall.Errno{unix.EPERM}},
	{"-forking -follow", "unlinkat", unix.SYS_UNLINKAT, "", []syscall.Errno{unix.EROFS}},
	{"-user", "epoll_create1", unix.SYS_EPOLL_CREATE1, "", []syscall.Errno{unix.EMFILE}},
	{"-ready notify", "sendmsg", unix.SYS_SENDMSG, "", []syscall.Errno{unix.ENOMEM}},
	{"status", "openat of FILE", unix.SYS_OPENAT, "Inspector).Inspect", []syscall.Errno{unix.EIO}},
	{"stop", "renameat2", unix.SYS_RENAMEAT2, "", []syscall.Errno{unix.EROFS}},
}

// TestTellingErrors makes the section of docs/faults.md.
func TestTellingErrors(t *testing.T) {
	needInjection(t)
	var rows []*injectRow
	var names []string
	places := map[string][]site{}
	for _, e := range tellingErrors {
		m := injectModes[slices.IndexFunc(injectModes, func(m *injectMode) bool { return m.name == e.mode })]
		if places[e.mode] == nil {
			places[e.mode] = m.trace(t, 1)
		}
		at := ""
		if e.where != "" {
			i := slices.IndexFunc(places[e.mode], func(s site) bool {
				return s.number == e.call && strings.Contains(strings.Join(s.frames, " "), e.where)
			})
			if i < 0 {
				if e.errs != nil {
					t.Errorf("%s: no %s by %s", e.mode, e.name, e.where)
				}
				continue
			}
			at = places[e.mode][i].at()
		}
		for _, errno := range e.errs {
			in := injection{[]int{e.call}, at, errno}
			rows = append(rows, &injectRow{mode: m, in: in, where: cmp.Or(e.where, "always")})
			names = append(names, e.name)
		}
	}
	tryRows(t, rows)
	for range 10 { // the file may have been removed before it was watched
		tryRows(t, slices.DeleteFunc(slices.Clone(rows), func(r *injectRow) bool { return r.hits > 0 || t.Failed() }))
	}
	want := `Any system call may fail, once or from then on. No start is left half done: it is refused with one line and a code of
docs/exit-codes.md, or it goes on. A call that a signal interrupts is made again. These are telling rows of a matrix:
every call of every mode and command, at each place where it is made, with each of eleven errors, once and always.

| the call | how often | fails with | in | code | message | left over |
|---|---|---|---|---|---|---|
`
	for i, r := range rows {
		often := "once"
		if r.in.at == "" {
			often = "always"
		}
		if r.hits == 0 {
			t.Errorf("%s: no %s was seen", r.mode.name, names[i])
		}
		want += fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n",
			names[i], often, unix.ErrnoName(r.in.errno), r.mode.name, r.code, r.message(), r.left)
	}
	want += "\n\"signal 15\" is the end of a PROGRAM that was stopped as usual.\n" + describeMatrix()
	expectSection(t, "When a call fails", want+"\nThe tests are in integration_test/faults/injected_test.go; `make faults` runs the whole matrix.\n")
}

// describeMatrix says what the whole is, and what is left out.
func describeMatrix() string {
	var modes []string
	for _, m := range injectModes {
		modes = append(modes, m.name)
	}
	text := "\n" + inLines("The modes and commands are "+strings.Join(modes, ", ")+`. "Once" is tried for each place that a call comes `+
		`from, which is all functions on the way to it, in the first mode that has the place. "Always" is tried for each call `+
		`in every mode, but for EINTR: a call that is always interrupted is always made again.`)
	text += `
Left alone are these calls, where Go's runtime makes them for itself. Where pidleash makes the same call, it fails.

| the call | what for |
|---|---|
`
	var once []string
	for _, c := range spared {
		text += fmt.Sprintf("| %s | %s |\n", c.name, c.why)
		if slices.Contains(notAll, c.number) {
			once = append(once, c.name)
		}
	}
	return text + "\n" + inLines(strings.Join(once, " and ")+" are tried once only, as the runtime would end. Calls without errors in their man pages, such as "+
		"getpid, are left out.")
}
