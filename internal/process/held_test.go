package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needsExitStatus skips on a kernel before Linux 6.15.
func needsExitStatus(t *testing.T) {
	t.Helper()
	c := startChild(t, "exit 7")
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	wait(t, c.pid)
	if status, known, _ := exitStatus(fd); !known || status.ExitStatus() != 7 {
		t.Skip("the kernel does not tell how a process has ended")
	}
}

func TestHeldByPidfd(t *testing.T) {
	needsExitStatus(t)
	g := startGrandchild(t)
	h := g.hold()
	if h.PID != g.pid || h.Group != g.pid || h.Start == 0 {
		t.Errorf("PID %d, group %d, start %d; want %d, %d", h.PID, h.Group, h.Start, g.pid, g.pid)
	}
	if h.Dead() || h.Wait(time.Now().Add(time.Millisecond)) {
		t.Error("it is dead while it lives")
	}
	if status, known := h.Status(); known {
		t.Errorf("while it lives its status is %#x", status)
	}
	if first, second := h.Ended(), h.Ended(); first != second {
		t.Error("two channels for one end")
	}
	expectOpen(t, "the end", h.Ended())
	g.run("exit 3")
	expectClosed(t, "the end", h.Ended())
	if !h.Dead() || !h.Wait(time.Time{}) {
		t.Error("it lives after its end")
	}
	if err := h.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a process that was not waited for refuses a signal: %v", err)
	}
	reaped := h.Reaped(time.Hour)
	expectOpen(t, "the wait of the parent", reaped)
	if status, known := h.Status(); !known || status.ExitStatus() != 3 {
		t.Errorf("before its parent has waited for it its status is %#x, %v; want exit 3", status, known)
	}
	g.reap()
	expectClosed(t, "the wait of the parent", reaped)
	if status, known := h.Status(); !known || status.ExitStatus() != 3 {
		t.Errorf("status %#x, %v; want exit 3", status, known)
	}
	if err := h.Signal(0); err != unix.ESRCH || !h.Dead() {
		t.Errorf("signal: %v, dead: %v; want %v, true", err, h.Dead(), unix.ESRCH)
	}
}

func TestReapedAfterTheWait(t *testing.T) {
	needsExitStatus(t)
	g := startGrandchild(t)
	h := g.hold()
	if err := h.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.reap()
	if got := g.answer(); got != "waited" {
		t.Fatalf("the parent says %q", got)
	}
	expectClosed(t, "the wait of the parent", h.Reaped(time.Hour))
	if status, known := h.Status(); !known || status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, %v; want a death by SIGKILL", status, known)
	}
	expectClosed(t, "the end", h.Ended())
}

// Who asks in the moment of the wait is not told that there is no status. One question
// to the kernel instead of two fails in 5 of 100 rounds.
func TestStatusBesideTheWait(t *testing.T) {
	needsExitStatus(t)
	for range 150 {
		c := startChild(t, "exit 5")
		h, err := Hold(c.pid)
		if err != nil {
			t.Fatal(err)
		}
		awaitZombie(t, c.pid)
		asked, told := make(chan struct{}), make(chan bool)
		go func() {
			_, known, err := exitStatus(h.fd)
			close(asked)
			for err == nil && !known {
				_, known, err = exitStatus(h.fd)
			}
			told <- known
		}()
		<-asked
		wait(t, c.pid)
		if !<-told {
			t.Fatal("there is a status, and the kernel is said to have none")
		}
		h.Close()
		c.finish()
	}
}

// The kernel shows the exit status 0 to a process that may not trace the one that has ended.
func TestStatusOfAStranger(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs another user")
	}
	g := startGrandchild(t)
	h := g.hold()
	g.run("exit 3")
	expectClosed(t, "the end", h.Ended())
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this function
		const nobody = 65534
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody) // of this thread alone
		status, known := h.Status()
		if errno != 0 || known {
			t.Errorf("status %#x, which this thread may not see; setresuid: %v", status, errno)
		}
		close(done)
	}()
	<-done
	if status, known := h.Status(); !known || status.ExitStatus() != 3 {
		t.Errorf("status %#x, %v; want exit 3", status, known)
	}
}

func TestReapedLimit(t *testing.T) {
	g := startGrandchild(t)
	h := g.hold()
	g.run("exit 3")
	expectClosed(t, "the end", h.Ended())
	const limit = 50 * time.Millisecond
	begin := time.Now()
	expectClosed(t, "the limit", h.Reaped(limit))
	if took := time.Since(begin); took < limit {
		t.Errorf("the limit of %v was over after %v", limit, took)
	}
}

// Thirty waits of the limit that there was for one would take longer.
func TestStatusDoesNotWait(t *testing.T) {
	g := startGrandchild(t)
	h := g.hold()
	g.run("exit 3")
	expectClosed(t, "the end", h.Ended())
	begin := time.Now()
	for range 30 {
		h.Status()
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("Status has waited: %v", took)
	}
}

// The number of a descriptor that is still waited on must not be another file's.
func TestCloseWhileWaiting(t *testing.T) {
	g := startGrandchild(t)
	h, err := Hold(g.pid)
	if err != nil {
		t.Fatal(err)
	}
	ended, reaped := h.Ended(), h.Reaped(time.Hour)
	h.Close()
	if !isPidfd(h.fd) {
		t.Fatal("the pidfd was closed while two wait on it")
	}
	g.run("exit 0")
	expectClosed(t, "the end", ended)
	if !isPidfd(h.fd) {
		t.Fatal("the pidfd was closed while one waits on it")
	}
	g.reap()
	expectClosed(t, "the wait of the parent", reaped)
	if isPidfd(h.fd) {
		t.Error("the pidfd was never closed")
	}
}

func TestCloseAtOnce(t *testing.T) {
	h, err := Hold(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	if isPidfd(h.fd) {
		t.Error("the pidfd was not closed")
	}
}

func isPidfd(fd int) bool {
	name, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return strings.Contains(name, "pidfd")
}

func TestHoldNobody(t *testing.T) {
	const beyond = 1<<22 + 1 // the limit of PIDs, proc_sys_kernel(5)
	if h, err := Hold(beyond); err != unix.ESRCH {
		t.Errorf("Hold: %v, %v; want %v", h, err, unix.ESRCH)
	}
	if h, err := Adopt(beyond); err != unix.ESRCH {
		t.Errorf("Adopt: %v, %v; want %v", h, err, unix.ESRCH)
	}
}

func TestNilHeld(t *testing.T) {
	var h *Held
	if h.Ended() != nil || !h.Wait(time.Time{}) {
		t.Error("nil has not ended")
	}
	h.Close()
}

func TestHeldChild(t *testing.T) {
	c := startChild(t, "read x; exit 3")
	h := Child(c.pid, c.pid)
	if h.Dead() || h.Wait(time.Now().Add(time.Millisecond)) || h.Ended() != nil {
		t.Error("it is dead while it lives, or somebody but the Reaper tells")
	}
	if held, err := Hold(c.pid); err != nil || !held.Same(h) {
		t.Errorf("by a pidfd it is another process: %+v, %v", held, err)
	} else {
		held.Close()
	}
	c.finish()
	awaitZombie(t, c.pid)
	if !h.Dead() || !h.Wait(time.Time{}) {
		t.Error("it lives after its end")
	}
	if err := h.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("a child that was not waited for refuses a signal: %v", err)
	}
	expectClosed(t, "that there is no status", h.Reaped(time.Hour))
	if status, known := h.Status(); known {
		t.Errorf("status %#x, but it is only for Reaper.Wait", status)
	}
	h.Close()
	if status := wait(t, c.pid); status.ExitStatus() != 3 {
		t.Errorf("status %#x, want exit 3", status)
	}
	if err := h.Signal(0); err != unix.ESRCH || !h.Dead() {
		t.Errorf("after the wait: %v, dead: %v; want %v, true", err, h.Dead(), unix.ESRCH)
	}
}

func TestSignalToChild(t *testing.T) {
	c := startChild(t, "read x; exit 3")
	if err := Child(c.pid, c.pid).Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if status := wait(t, c.pid); status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, want a death by SIGKILL", status)
	}
}

// The PID of a child that was waited for is another process's some day.
func TestChildOfAnother(t *testing.T) {
	g := startGrandchild(t)
	h := Child(g.pid, g.pid)
	if err := h.Signal(syscall.SIGKILL); err != unix.ESRCH || !h.Dead() {
		t.Errorf("signal: %v, dead: %v; want %v, true", err, h.Dead(), unix.ESRCH)
	}
	if held := g.hold(); held.Wait(time.Now().Add(20 * time.Millisecond)) {
		t.Error("the signal has reached a process that is not a child")
	}
}

func TestAdopt(t *testing.T) {
	c := startChild(t, "read x")
	g := startGrandchild(t)
	for pid, isChild := range map[int]bool{c.pid: true, g.pid: false} {
		h, err := Adopt(pid)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Ended() == nil; got != isChild || h.PID != pid || h.Group != pid || h.Start == 0 {
			t.Errorf("PID %d: child: %v, want %v; %+v", pid, got, isChild, h)
		}
		h.Close()
	}
	c.finish()
	wait(t, c.pid)
}

// The group outlives the process, and others have their own.
func TestMembers(t *testing.T) {
	g := startGrandchild(t)
	h := g.hold()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	// The first stays in the group, the second has a session of its own.
	g.run("exec 5>/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(in.Fd())))
	g.run("(echo $(exec sh -c 'echo $PPID') >&5; exec 5>&-; exec sleep 600) &")
	g.run("setsid sh -c 'echo $$ >&5; exec 5>&-; exec sleep 600' &")
	pids := map[int]bool{}
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() {
			t.Fatal("too few processes")
		}
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
		group, err := unix.Getpgid(pid)
		if err != nil {
			t.Fatal(err)
		}
		pids[pid] = group == g.pid
	}
	check := func(want int) {
		t.Helper()
		members, err := h.Members()
		if err != nil || len(members) != want {
			t.Errorf("members %v, %v; want %d", members, err, want)
		}
		for pid, belongs := range pids {
			if _, found := members[pid]; found != belongs {
				t.Errorf("PID %d is a member: %v, want %v", pid, found, belongs)
			}
		}
	}
	check(2)
	g.run("exit 0")
	expectClosed(t, "the end", h.Ended())
	check(1)
	h.Session++ // as if both numbers were another group's
	for pid := range pids {
		pids[pid] = false
	}
	check(0)
	h.Session--
	h.Group = 0
	check(0)
}

// ForgetGroup keeps the group while its process or any other member lives.
func TestForgetGroup(t *testing.T) {
	cmd := exec.Command("sh", "-c", `sleep 1000 & echo $!`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := Hold(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.Group = h.PID
	var member int
	if _, err := fmt.Fscan(out, &member); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if h.ForgetGroup() {
		t.Error("forgotten, and a member lives")
	}
	if err := syscall.Kill(member, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !h.ForgetGroup(); time.Sleep(time.Millisecond) { // who reaps it is not this process
		if time.Now().After(end) {
			t.Fatal("not forgotten, and nobody is left")
		}
	}
	if members, err := h.Members(); len(members) > 0 || err != nil {
		t.Errorf("%v, %v", members, err)
	}
}
