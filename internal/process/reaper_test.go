package process

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reap is what a loop does: it waits until all of pids have ended, and returns how.
func reap(t *testing.T, r *Reaper, pids ...int) map[int]syscall.WaitStatus {
	t.Helper()
	statuses := map[int]syscall.WaitStatus{}
	for {
		missing := false
		for _, pid := range pids {
			_, known := statuses[pid]
			missing = missing || !known
		}
		if !missing {
			return statuses
		}
		expectClosed(t, "an end", r.C())
		for pid := r.Next(); pid != 0; pid = r.Next() {
			status, ok := r.Wait(pid)
			if !ok {
				t.Fatalf("there is nothing to tell of PID %d", pid)
			}
			statuses[pid] = status
		}
		r.Done()
	}
}

func TestReaperSeveral(t *testing.T) {
	if !alone(t) {
		return
	}
	r := NewReaper()
	if r.C() != nil {
		t.Error("it tells before it watches")
	}
	if !noChildren() {
		t.Error("there are children at the beginning")
	}
	for round := range 3 { // after each the watcher has seen ECHILD
		want := map[int]int{}
		var pids []int
		for code := range 30 {
			c := startChild(t, "exit "+strconv.Itoa(code+round))
			r.Watch()
			want[c.pid] = code + round
			pids = append(pids, c.pid)
		}
		if noChildren() {
			t.Error("there are no children after thirty launches")
		}
		for pid, status := range reap(t, r, pids...) {
			if code, known := want[pid]; !known || !status.Exited() || status.ExitStatus() != code {
				t.Errorf("PID %d: status %#x, want exit %d", pid, status, code)
			}
		}
		if !noChildren() || r.Next() != 0 {
			t.Error("there are children after the last")
		}
	}
}

// What was not waited for is told of again, and nothing is told of before Done.
func TestReaperTellsAgain(t *testing.T) {
	if !alone(t) {
		return
	}
	r := NewReaper()
	first, second := startChild(t, "exit 1"), startChild(t, "exit 2")
	awaitZombie(t, first.pid)
	awaitZombie(t, second.pid)
	r.Watch()
	expectClosed(t, "an end", r.C())
	expectOpen(t, "an end before Done", r.C())
	if pid := r.Next(); pid != first.pid && pid != second.pid {
		t.Errorf("PID %d is neither", pid)
	}
	r.Done()
	reap(t, r, first.pid, second.pid)
}

func TestReaperStopped(t *testing.T) {
	if !alone(t) {
		return
	}
	r := NewReaper()
	c := startChild(t, "read x; exit 4")
	r.Watch()
	if _, ok := r.Wait(c.pid); ok || r.Next() != 0 {
		t.Error("a child that lives is waited for")
	}
	h := Child(c.pid, c.pid)
	if err := h.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if status := reap(t, r, c.pid)[c.pid]; !status.Stopped() || status.StopSignal() != syscall.SIGSTOP {
		t.Errorf("status %#x, want stopped by SIGSTOP", status)
	}
	if h.Dead() || noChildren() {
		t.Error("a stopped child counts as dead")
	}
	if err := h.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.finish()
	if status := reap(t, r, c.pid)[c.pid]; status.ExitStatus() != 4 {
		t.Errorf("status %#x, want exit 4", status)
	}
}

func TestReaperOrphan(t *testing.T) {
	if !alone(t) {
		return
	}
	r := NewReaper()
	c := startChild(t, "exec 3<&0; (read x <&3; exit 4) & echo $!; exit 3")
	r.Watch()
	orphan := c.number()
	if status := reap(t, r, c.pid)[c.pid]; status.ExitStatus() != 3 {
		t.Errorf("the parent has ended with %#x, want exit 3", status)
	}
	if noChildren() {
		t.Error("the orphan is nobody's child")
	}
	c.finish()
	if status := reap(t, r, orphan)[orphan]; status.ExitStatus() != 4 {
		t.Errorf("the orphan has ended with %#x, want exit 4", status)
	}
	if !noChildren() {
		t.Error("there are children after the orphan")
	}
}

// A process that was sent into the PID namespace falls to its PID 1, although that
// has had no children. This test fails if WatchOrphans is Watch.
func TestReaperFirstProcess(t *testing.T) {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if os.Getenv("PROCESS_TEST_ALONE") == "" {
		if unix.Geteuid() != 0 {
			t.Skip("needs root, for a PID namespace")
		}
		firstProcess(t, attr)
		return
	}
	r := NewReaper()
	r.WatchOrphans()
	r.WatchOrphans()
	time.Sleep(50 * time.Millisecond) // so that the watcher has seen ECHILD
	os.Stdout.WriteString("ready\n")
	expectClosed(t, "the orphan's end", r.C())
	pid := r.Next()
	if status, ok := r.Wait(pid); !ok || status.ExitStatus() != 6 {
		t.Errorf("PID %d, status %#x, %v; want exit 6", pid, status, ok)
	}
	r.Done()
}

func firstProcess(t *testing.T, attr *syscall.SysProcAttr) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "PROCESS_TEST_ALONE="+t.Name())
	cmd.SysProcAttr = attr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no PID namespace: %v", err)
	}
	defer cmd.Wait()
	out := make([]byte, 4096)
	if n, err := stdout.Read(out); err != nil || string(out[:n]) != "ready\n" {
		t.Fatalf("PID 1 says %q, %v", out[:n], err)
	}
	sent := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: its children are to be in the namespace
		sent <- sendInto(cmd.Process.Pid)
	}()
	if err := <-sent; err != nil {
		t.Error(err)
		_ = cmd.Process.Kill()
	}
	n, _ := stdout.Read(out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("PID 1: %v\n%s", err, out[:n])
	}
}

// sendInto runs a command whose child outlives it.
func sendInto(pid int) error {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWPID); err != nil {
		return err
	}
	return exec.Command("/bin/sh", "-c", "(sleep 0.05; exit 6) & exit 0").Run()
}
