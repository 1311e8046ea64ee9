package launch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
)

func contextWith(stdout, stderr string) *plan.Context {
	return &plan.Context{Stdout: stdout, Stderr: stderr}
}

// claimIn is a claim of p.pid there.
func claimIn(t *testing.T, dir string) *pidfile.Claim {
	t.Helper()
	c, err := pidfile.New(dir+"/p.pid", false)
	must(t, err)
	return c
}

// The kernel tells in which order a file has been linked or moved and another one been opened: execve(2)
// opens the program.
func TestFileIsThereBeforeFirstInstruction(t *testing.T) {
	dir, programs := t.TempDir(), t.TempDir()
	cat, err := exec.LookPath("cat")
	must(t, err)
	write(t, programs+"/cat", read(t, cat), 0o755)
	program, err := Find(programs+"/cat", "")
	must(t, err)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	defer unix.Close(fd)
	moved, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO)
	must(t, err)
	opened, err := unix.InotifyAddWatch(fd, programs, unix.IN_OPEN)
	must(t, err)

	claim := claimIn(t, dir)
	pid, text := output(t, &Spec{Program: program, Args: []string{"cat", dir + "/p.pid"}, Claim: claim})
	file := claim.Published(pid)
	equal(t, "the program has read", text, pidText(pid))
	order := watched(t, fd)
	if len(order) < 2 || order[0] != moved || order[1] != opened {
		t.Errorf("got the order %v, want %d (the file is in place), then %d (the program is opened)", order, moved, opened)
	}
	_, err = file.Remove()
	must(t, err)
	equal(t, "left", names(t, dir), "")
}

// watched has the watches of all the events there are, in their order.
func watched(t *testing.T, fd int) (order []int) {
	t.Helper()
	buffer := make([]byte, 4096)
	n, err := unix.Read(fd, buffer)
	must(t, err)
	for rest := buffer[:n]; len(rest) > 0; {
		order = append(order, int(binary.NativeEndian.Uint32(rest)))
		rest = rest[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(rest[12:]):]
	}
	return order
}

// A successor is exchanged for the file there, which keeps the hidden name.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	file, err := pidfile.Publish(filepath.Join(dir, "p.pid"), os.Getpid())
	must(t, err)
	claim, err := file.NewExchange()
	must(t, err)
	pid, text := output(t, &Spec{Program: Shell(), Args: []string{"sh", "-c", "cat p.pid"}, Context: &plan.Context{Dir: dir}, Claim: claim})
	equal(t, "the program has read", text, pidText(pid))
	file.Exchanged(claim, pid)
	_, err = file.Remove()
	must(t, err)
	equal(t, "left", names(t, dir), "")
}

// Nobody's file is replaced, and what is there says which error it is.
func TestPublishFails(t *testing.T) {
	dir := t.TempDir()
	claim := claimIn(t, dir)
	write(t, dir+"/p.pid", "somebody's", 0o644)
	equal(t, "error", expectFailedStart(t, &Spec{Program: Shell(), Args: []string{"sh"}, Claim: claim}), pidfile.ErrLostRace)
	equal(t, "content", read(t, dir+"/p.pid"), "somebody's")
	equal(t, "left", names(t, dir), "p.pid")
	must(t, os.Remove(dir+"/p.pid"))

	file, err := pidfile.Publish(filepath.Join(dir, "p.pid"), os.Getpid())
	must(t, err)
	claim, err = file.NewExchange()
	must(t, err)
	must(t, os.Remove(dir+"/p.pid"))
	equal(t, "error", expectFailedStart(t, &Spec{Program: Shell(), Args: []string{"sh"}, Claim: claim}), pidfile.ErrRemoved)

	claim = claimIn(t, dir)
	claim.Path = dir + "/nothing/p.pid"
	equal(t, "error", expectFailedStart(t, &Spec{Program: Shell(), Args: []string{"sh"}, Claim: claim}), pidfile.ErrNotLinked)
	equal(t, "left", names(t, dir), "")
}

// Where a file without a name is not to be had, one with a hidden name is moved into place, and replaces nobody's either.
func TestPublishReplacesNobody(t *testing.T) {
	dir := t.TempDir()
	claim := claimIn(t, dir)
	hidden := dir + "/.hidden"
	if claim.Unnamed {
		must(t, unix.Linkat(unix.AT_FDCWD, claim.Temp, unix.AT_FDCWD, hidden, unix.AT_SYMLINK_FOLLOW))
		claim.Temp, claim.Unnamed = hidden, false
	}
	write(t, dir+"/p.pid", "somebody's", 0o644)
	equal(t, "error", expectFailedStart(t, &Spec{Program: Shell(), Args: []string{"sh"}, Claim: claim}), pidfile.ErrLostRace)
	equal(t, "content", read(t, dir+"/p.pid"), "somebody's")
	equal(t, "left", names(t, dir), "p.pid")
}

// expectFailedStart retracts the claim, looks for what is left, and returns the error.
func expectFailedStart(t *testing.T, s *Spec) error {
	t.Helper()
	before, tookBack := openDescriptors(t), 0
	claim := s.Claim
	s.OnFailure = func(pid int) {
		if err := unix.Kill(pid, 0); err != nil {
			t.Errorf("PID %d may be another process's: %v", pid, err)
		}
		tookBack = pid
		if claim == nil {
			return
		}
		before -= 2
		if !claim.Visible() {
			claim.Abandon()
		} else if _, err := claim.Published(pid).Remove(); err != nil {
			t.Error(err)
		}
	}
	pid, err := startLocked(s)
	equal(t, "PID taken back", tookBack, pid)
	if pid == 0 {
		t.Error("there was no child")
	}
	equal(t, "descriptors", openDescriptors(t), before)
	if !noChildren() {
		t.Error("a child is left")
	}
	return err
}

// What the kernel refuses is a message with its remedy, and nothing is left.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/good", "#!/bin/sh\n", 0o755)
	write(t, dir+"/lost", "#!/no/such -x\n", 0o755)
	write(t, dir+"/deaf", "#!"+dir+"/plain\n", 0o755)
	write(t, dir+"/plain", "x", 0o644)
	write(t, dir+"/busy", "#!/bin/sh\n", 0o755)
	busy, err := os.OpenFile(dir+"/busy", os.O_WRONLY, 0)
	must(t, err)
	defer busy.Close()
	nobody := &plan.User{Name: "nobody", UID: 65534, GID: 65534}
	tooLow := -2000

	for _, c := range []struct {
		name    string
		program string
		spec    Spec
		root    bool
		want    fault.Error
	}{
		{name: "interpreter missing", program: "lost", want: fault.Error{Object: "DIR/lost", Problem: "its interpreter /no/such is missing", Err: unix.ENOENT, Hint: "install it", Code: 126}},
		{name: "interpreter not executable", program: "deaf", want: fault.Error{Object: "DIR/deaf", Problem: "cannot be executed", Err: unix.EACCES, Hint: "its file system may be mounted noexec, or its interpreter may not be executable", Code: 126}},
		{name: "the same, as another user", program: "deaf", root: true, spec: Spec{Context: &plan.Context{User: nobody}}, want: fault.Error{Object: "DIR/deaf", Problem: "cannot be executed", Err: unix.EACCES, Hint: "user nobody may not execute it or enter its directory, or its file system is mounted noexec", Code: 126}},
		{name: "open for writing", program: "busy", want: fault.Error{Object: "DIR/busy", Problem: "cannot be executed", Err: unix.ETXTBSY, Hint: "somebody has it open for writing", Code: 126}},
		{name: "too long", program: "good", spec: Spec{Env: []string{"X=" + strings.Repeat("x", 1<<20)}}, want: fault.Error{Object: "DIR/good", Problem: "cannot be executed", Err: unix.E2BIG, Hint: "fewer or shorter arguments and environment variables", Code: 126}},
		{name: "no directory", program: "good", spec: Spec{Context: &plan.Context{Dir: "DIR/nothing"}}, want: fault.Error{Object: "directory DIR/nothing", Problem: "cannot be entered", Err: unix.ENOENT}},
		{name: "no directory for the user", program: "good", root: true, spec: Spec{Context: &plan.Context{Dir: "DIR/nothing", User: nobody}}, want: fault.Error{Object: "directory DIR/nothing", Problem: "cannot be entered", Err: unix.EACCES, Hint: "user nobody must be able to enter it"}},
		{name: "no directory as found", program: "good", root: true, spec: Spec{Context: &plan.Context{Dir: "DIR/nothing", DirAsFound: true, User: nobody}}, want: fault.Error{Object: "directory DIR/nothing", Problem: "cannot be entered", Err: unix.ENOENT}},
		{name: "OOM score", program: "good", spec: Spec{Context: &plan.Context{OOMScoreAdj: &tooLow}}, want: fault.Error{Object: "oom-score-adj -2000", Problem: "cannot be set", Err: unix.EINVAL, Hint: "below the present value it needs CAP_SYS_RESOURCE, which root may lack in a container"}},
		{name: "descriptor", program: "good", spec: Spec{Inherit: []Descriptor{{999, 5}}}, want: fault.Error{Object: "DIR/good", Problem: "cannot get descriptor 5", Err: unix.EBADF}},
		{name: "descriptor that stays", program: "good", spec: Spec{Inherit: []Descriptor{{999, 999}}}, want: fault.Error{Object: "DIR/good", Problem: "cannot get descriptor 999", Err: unix.EBADF}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root {
				needRoot(t)
			}
			must(t, os.Chmod(dir, 0o700)) // nobody may not enter it
			if c.spec.Context != nil {
				c.spec.Context.Dir = strings.ReplaceAll(c.spec.Context.Dir, "DIR", dir)
			}
			c.want.Object = strings.ReplaceAll(c.want.Object, "DIR", dir)
			program, err := Find(dir+"/"+c.program, "")
			must(t, err)
			run := t.TempDir()
			c.spec.Program, c.spec.Args, c.spec.Claim = program, []string{c.program}, claimIn(t, run)
			expectFault(t, expectFailedStart(t, &c.spec), c.want)
			equal(t, "left", names(t, run), "")
		})
	}
}

// This binary is found without /proc only by its caller: the message is about /proc.
func TestSelfFails(t *testing.T) {
	err := Self().execError(selfFile, unix.ENOENT, nil)
	expectFault(t, err, fault.Error{Object: "pidleash", Problem: "cannot be started from /proc/self/exe", Err: unix.ENOENT, Hint: "mount /proc"})
}

// As execvp(3) does with what the kernel does not recognise, and with what may not be executed.
func TestCandidates(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/p", "#!/no/such\n", 0o755)
	write(t, dir+"/b/p", "#!"+dir+"/b/x\n", 0o755)
	write(t, dir+"/b/x", "x", 0o644)
	write(t, dir+"/c/p", "echo $0 $*\n", 0o755)
	t.Setenv("PATH", dir+"/a:"+dir+"/b:"+dir+"/c")
	program, err := Find("p", "")
	must(t, err)
	_, text := output(t, &Spec{Program: program, Args: []string{"p", "x", "y z"}})
	equal(t, "output", text, dir+"/c/p x y z")

	for path, want := range map[string]string{"a:b": "b", "b:a": "b", "a": "a"} {
		first, second, _ := strings.Cut(path, ":")
		t.Setenv("PATH", dir+"/"+first+":"+dir+"/"+second)
		program, err := Find("p", "")
		must(t, err)
		if _, err := startLocked(&Spec{Program: program, Args: []string{"p"}}); err == nil || !strings.HasPrefix(err.Error(), dir+"/"+want+"/p: ") {
			t.Errorf("PATH %s: got %v, want it to be about %s", path, err, want)
		}
	}
}

// The variables that are about the program name it, whoever they named before.
func TestOwnPIDVariables(t *testing.T) {
	self, other := os.Getpid(), 1<<22+1
	for _, c := range []struct {
		name      string
		env, want string // SELF, OTHER and PROGRAM are PIDs
	}{
		{"this process's", "LISTEN_PID=SELF LISTEN_PIDFDID=7 LISTEN_FDS=1 WATCHDOG_PID=SELF SYSTEMD_EXEC_PID=SELF MY_PID=SELF",
			"LISTEN_PID=PROGRAM LISTEN_FDS=1 WATCHDOG_PID=PROGRAM SYSTEMD_EXEC_PID=PROGRAM MY_PID=SELF"},
		{"this process's in part", "LISTEN_PID=SELF LISTEN_PIDFDID=7 WATCHDOG_PID=SELF SYSTEMD_EXEC_PID=OTHER",
			"LISTEN_PID=PROGRAM WATCHDOG_PID=PROGRAM SYSTEMD_EXEC_PID=OTHER"},
		{"somebody else's", "LISTEN_PID=OTHER LISTEN_PIDFDID=7 WATCHDOG_PID=0", "LISTEN_PID=OTHER LISTEN_PIDFDID=7 WATCHDOG_PID=0"},
		{"twice", "LISTEN_PID=OTHER LISTEN_PID=SELF LISTEN_PIDFDID=7 LISTEN_PID=SELF", "LISTEN_PID=OTHER LISTEN_PID=PROGRAM LISTEN_PID=PROGRAM"},
		{"none", "A= =B C", "A= =B C"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.NewReplacer("SELF", pidText(self), "OTHER", pidText(other))
			s := &Spec{Program: &Program{Name: "cat", candidates: []string{"/bin/cat"}}, Args: []string{"cat", "/proc/self/environ"}}
			s.Env = strings.Fields(text.Replace(c.env))
			pid, got := output(t, s)
			want := strings.ReplaceAll(text.Replace(c.want), "PROGRAM", pidText(pid))
			equal(t, "environment", strings.TrimSpace(strings.ReplaceAll(got, "\x00", " ")), want)
		})
	}
}

// What of the context the kernel tells.
func TestContext(t *testing.T) {
	needRoot(t)
	dir, umask, nice, oom := t.TempDir(), uint32(0o137), 7, 321
	s := shellSpec("umask; nice; cat /proc/self/oom_score_adj; id -u; id -g; id -G; pwd -P")
	s.Context = &plan.Context{Dir: dir, Umask: &umask, Nice: &nice, OOMScoreAdj: &oom, User: &plan.User{Name: "x", UID: 12345, GID: 12346, Groups: []uint32{12346, 12347}}}
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	_, text := output(t, s)
	equal(t, "context", text, "0137\n7\n321\n12345\n12346\n12346 12347\n"+dir)
}

func TestSignals(t *testing.T) {
	s := shellSpec("")
	s.Program, s.Args = &Program{Name: "cat", candidates: []string{"/bin/cat"}}, []string{"cat", "/proc/self/status"}
	s.Ignored, s.Blocked = 1<<(syscall.SIGHUP-1)|1<<(33-1)|1<<(64-1), 1<<(syscall.SIGUSR1-1)
	_, text := output(t, s)
	equal(t, "ignored", field(text, "SigIgn"), "8000000100000001")
	equal(t, "blocked", field(text, "SigBlk"), "0000000000000200")
	equal(t, "caught", field(text, "SigCgt"), "0000000000000000")
	s.Ignored, s.Blocked = 0, 0
	_, text = output(t, s)
	equal(t, "ignored", field(text, "SigIgn"), "0000000000000000")
	equal(t, "blocked", field(text, "SigBlk"), "0000000000000000")
}

func TestGroup(t *testing.T) {
	s := shellSpec("cut -d' ' -f5,6 /proc/$$/stat")
	pid, text := output(t, s)
	session, err := unix.Getsid(0)
	must(t, err)
	equal(t, "group and session", text, pidText(pid)+" "+pidText(session))
	s.SameGroup = true
	_, text = output(t, s)
	equal(t, "group and session", text, pidText(unix.Getpgrp())+" "+pidText(session))
}

// The program is in a session that it does not lead, and has only what it is to have.
func TestDetached(t *testing.T) {
	must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	loose, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD, 100) // without close-on-exec
	must(t, err)
	s := shellSpec("{ cut -d' ' -f5,6 /proc/$$/stat; ls /proc/$$/fd; } >&7")
	s.Detached, s.Inherit, s.CloseFrom = true, []Descriptor{{int(w.Fd()), 7}}, 8
	pid, err := startLocked(s)
	w.Close()
	unix.Close(loose)
	must(t, err)
	var buffer bytes.Buffer
	buffer.ReadFrom(r)
	wait(t, pid)
	lines := strings.Fields(buffer.String())
	if len(lines) < 2 || lines[0] != pidText(pid) || lines[1] == pidText(pid) || lines[1] == pidText(os.Getpid()) {
		t.Errorf("group, session, descriptors: got %q, want the group %d in another session", lines, pid)
	}
	for _, fd := range lines[2:] {
		if n, err := strconv.Atoi(fd); err != nil || n >= 8 && n != 10 { // 10: the shell's own
			t.Errorf("descriptor %s is open", fd)
		}
	}
	if !noChildren() {
		t.Error("a child is left")
	}
}

// A detached child is nobody's here, so its failure comes through the shared memory only.
func TestDetachedFails(t *testing.T) {
	s := shellSpec("")
	s.Detached, s.Context = true, &plan.Context{Dir: "/nowhere"}
	_, err := startLocked(s)
	expectFault(t, err, fault.Error{Object: "directory /nowhere", Problem: "cannot be entered", Err: unix.ENOENT})
}

// Package syscall raises the limit of open files, and the program must not see that.
func TestNofile(t *testing.T) {
	for _, become := range []bool{false, true} {
		o := order{Become: become, Program: "/bin/sh", Args: []string{"sh", "-c", "ulimit -Sn"}}
		cmd := helper(t, o)
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `ulimit -Sn 345; exec "$0"`, "/proc/" + pidText(os.Getpid()) + "/exe"}
		out, err := cmd.CombinedOutput()
		must(t, err)
		equal(t, "soft limit", strings.TrimSpace(string(out)), "345")
	}
}

// The program dies with who started it, after a change of user, too.
func TestDeathSignal(t *testing.T) {
	users := []*plan.User{nil}
	if os.Geteuid() == 0 {
		users = append(users, &plan.User{Name: "nobody", UID: 65534, GID: 65534})
	}
	for _, user := range users {
		r, w, err := os.Pipe()
		must(t, err)
		in, keep, err := os.Pipe()
		must(t, err)
		cmd := helper(t, order{
			Program: "/bin/cat", Args: []string{"cat"}, Context: &plan.Context{User: user},
			DeathSignal: syscall.SIGKILL, Inherit: []Descriptor{{3, 5}},
		})
		cmd.ExtraFiles, cmd.Stdin = []*os.File{w}, in
		must(t, cmd.Start())
		w.Close()
		in.Close()
		must(t, cmd.Wait())
		// Its end comes when the program is gone.
		must(t, r.SetReadDeadline(time.Now().Add(20*time.Second)))
		if _, err := r.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the program lives on: %v", err)
		}
		keep.Close()
		r.Close()
	}
}

// No signal comes from a parent that has ended before it was asked for: the child looks who its parent is then.
func TestDeathSignalComesTooLate(t *testing.T) {
	p, err := newChildPlan(&Spec{Program: Shell(), Args: []string{"sh", "-c", "exit 3"}, DeathSignal: syscall.SIGKILL})
	must(t, err)
	defer p.free()
	for _, c := range []struct {
		parent uintptr
		code   int
	}{{p.parent, 3}, {p.parent + 1, 127}} {
		p.parent = c.parent
		syscall.ForkLock.Lock()
		pid, errno := p.fork()
		syscall.ForkLock.Unlock()
		runtime.KeepAlive(p)
		if errno != 0 {
			t.Fatal(errno)
		}
		var status syscall.WaitStatus
		_, err := unix.Wait4(pid, (*unix.WaitStatus)(&status), 0, nil)
		must(t, err)
		equal(t, "code", status.ExitStatus(), c.code)
	}
}

// Become keeps the PID, so what names it stays, and does everything that Start does in a child.
func TestBecome(t *testing.T) {
	dir := t.TempDir()
	umask := uint32(0o137)
	cmd := helper(t, order{
		Become: true, Program: "sh", Args: []string{"sh", "-c", "echo $$; umask; pwd -P; echo $LISTEN_PID $WATCHDOG_PID $LISTEN_PIDFDID; echo error >&2"},
		Env:     []string{"PATH=/usr/bin:/bin", "LISTEN_PID=SELF", "WATCHDOG_PID=77", "LISTEN_PIDFDID=1"},
		Context: &plan.Context{Dir: dir, Umask: &umask, Stdout: dir + "/out", Stderr: dir + "/err"},
	})
	text, err := cmd.CombinedOutput()
	must(t, err)
	equal(t, "outside of its files", string(text), "")
	pid := pidText(cmd.Process.Pid)
	equal(t, "error", read(t, dir+"/err"), "error\n")
	equal(t, "output", read(t, dir+"/out"), pid+"\n0137\n"+dir+"\n"+pid+" 77 1\n")
}

// As another user: the threads beside must not matter.
func TestBecomeUser(t *testing.T) {
	needRoot(t)
	cmd := helper(t, order{Become: true, Program: "sh", Args: []string{"sh", "-c", "id -u; id -g; id -G"},
		Env: []string{"PATH=/usr/bin:/bin"}, Context: &plan.Context{User: &plan.User{Name: "x", UID: 12345, GID: 12346, Groups: []uint32{12347}}}})
	text, err := cmd.CombinedOutput()
	must(t, err)
	equal(t, "identity", string(text), "12345\n12346\n12346 12347\n")
}

// A script without "#!" is for the shell here, too.
func TestBecomeScript(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/p", "echo $0 $*\n", 0o755)
	text, err := helper(t, order{Become: true, Program: dir + "/p", Args: []string{"p", "x"}}).CombinedOutput()
	must(t, err)
	equal(t, "output", string(text), dir+"/p x\n")
}

// The message comes out where standard error was, not in the program's file.
func TestBecomeFails(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/p", "#!/no/such\n", 0o755)
	for _, c := range []struct {
		context plan.Context
		want    string
	}{
		{plan.Context{Stderr: dir + "/err"}, dir + "/p: its interpreter /no/such is missing: no such file or directory|install it|126\n"},
		{plan.Context{Stderr: dir + "/err", Dir: "/nowhere"}, "directory /nowhere: cannot be entered: no such file or directory||125\n"},
	} {
		text, err := helper(t, order{Become: true, Program: dir + "/p", Args: []string{"p"}, Context: &c.context}).CombinedOutput()
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Errorf("got %v, want an exit code", err)
		}
		equal(t, "message", string(text), c.want)
		equal(t, "the program's file", read(t, dir+"/err"), "")
	}
}

// The mask is one thread's, and what makes threads meanwhile must not change it, nor fail. (Of
// golang.org/issue/19546 nothing is to be seen on Linux 6.18, with or without protection.)
func TestBecomeWhileThreadsAreMade(t *testing.T) {
	for range 20 {
		text, err := helper(t, order{
			Become: true, Program: "/bin/cat", Args: []string{"cat", "/proc/self/status"}, Threads: true,
			Ignored: 1 << (syscall.SIGHUP - 1), Blocked: 1 << (syscall.SIGUSR1 - 1),
		}).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		equal(t, "ignored", field(string(text), "SigIgn"), "0000000000000001")
		equal(t, "blocked", field(string(text), "SigBlk"), "0000000000000200")
	}
}
