package pidfile

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

func TestLivePID(t *testing.T) {
	setClock(t, 0)
	now := time.Now()
	running, dead := program(t), zombie(t)
	p, err := process.Read(running)
	if err != nil {
		t.Fatal(err)
	}
	started := process.BootTime().Add(p.Start.SinceBoot())
	thread := otherThread(t)
	for _, c := range []struct {
		name    string
		content []byte
		written time.Time
		pid     int
		reason  string
	}{
		{"running", line(running), now.Add(time.Second), running, ""},
		{"running, no line end", line(running)[:len(line(running))-1], now.Add(time.Second), running, ""},
		{"running for long", line(running), started.Add(time.Hour), running, ""},
		{"written at its start", line(running), started, running, ""},
		{"within the tolerance", line(running), started.Add(-startTolerance + 200*time.Millisecond), running, ""},
		{"beyond the tolerance", line(running), started.Add(-startTolerance - 200*time.Millisecond), 0, "started after the file was written"},
		{"recycled", line(running), started.Add(-time.Hour), 0, "started after the file was written"},
		{"zombie", line(dead), now.Add(time.Second), 0, "has ended"},
		{"a thread", line(thread), now.Add(time.Second), 0, "is a thread"},
		{"dead", line(deadPID(t)), now, 0, "does not run"},
		{"this process", line(os.Getpid()), now.Add(time.Hour), 0, "is this start itself or what started it"},
		{"its parent", line(os.Getppid()), now.Add(time.Hour), 0, "is this start itself or what started it"},
		{"empty", nil, now, 0, "is empty"},
		{"zeros", make([]byte, 8), now, 0, "is empty"},
		{"no number", []byte("nginx\n"), now, 0, "names no PID"},
		{"negative", []byte("-1\n"), now, 0, "names no PID"},
	} {
		pid, reason := livePID(c.content, c.written, nil)
		if pid != c.pid || !strings.Contains(reason, c.reason) || (reason == "") != (c.reason == "") {
			t.Errorf("%s: %d, %q; want %d, %q", c.name, pid, reason, c.pid, c.reason)
		}
	}
}

// otherThread returns the number of a thread that lives until the test ends, and is no process.
func otherThread(t *testing.T) int {
	t.Helper()
	tids, end := make(chan int), make(chan struct{})
	t.Cleanup(func() { close(end) })
	for {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			tids <- unix.Gettid()
			<-end
		}()
		if tid := <-tids; tid != os.Getpid() { // the first thread has the number of the process
			return tid
		}
	}
}

// The tolerance may only ever refuse a start, and a container that restarts
// within it is told apart by the lock and the process itself.
func TestStartTolerance(t *testing.T) {
	if startTolerance != time.Second {
		t.Errorf("the documentation says 1s, not %v", startTolerance)
	}
}

func TestIsOwn(t *testing.T) {
	caller, stranger := program(t), program(t)
	for pid, want := range map[int]bool{os.Getpid(): true, os.Getppid(): true, caller: true, stranger: false, deadPID(t): false} {
		if isOwn(pid, []Own{{PID: deadPID(t) + 1}, {PID: caller}}) != want {
			t.Errorf("isOwn(%d) = %v; this is %d, child of %d, its caller %d", pid, !want, os.Getpid(), os.Getppid(), caller)
		}
	}
}

// The caller of a process in the background is not its parent, nor is the caller's.
func TestOwnCountsWithItsAncestors(t *testing.T) {
	cmd := exec.Command("sh", "-c", "exec 3<&0; cat <&3 & echo $!; wait") // the caller is cat
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	var caller int
	if _, err := fmt.Fscan(stdout, &caller); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{caller, cmd.Process.Pid} {
		path := in(t, "p.pid")
		write(t, path, line(pid))
		_, err := New(path, false) // control: it is a running program
		wantHeld(t, err, path, pid, 0)
		_, err = Reserve(path)
		wantHeld(t, err, path, pid, 0)
		c, err := New(path, false, Own{PID: caller})
		must(t, err)
		if !strings.Contains(c.StaleReason, "this start itself or what started it") {
			t.Errorf("reason %q", c.StaleReason)
		}
		c.Abandon()
		l, err := Reserve(path, Own{PID: caller})
		must(t, err)
		must(t, l.Clear())
		write(t, path, line(pid)) // as long as the claim lasts
		must(t, l.Clear())
		must(t, RemoveStale(path, Own{PID: caller}))
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the file: %v", err)
		}
		l.Release()
	}
}
