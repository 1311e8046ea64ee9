package process

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary the parent of a process that is not the test's child.
func TestMain(m *testing.M) {
	if os.Getenv("PROCESS_TEST_PARENT") != "" {
		parent()
	}
	os.Exit(m.Run())
}

// parent starts a shell in a session of its own, which reads its commands from
// descriptor 3, and tells its PID. It waits for the shell when it is told to.
func parent() {
	shell := exec.Command("/bin/sh")
	shell.Stdin = os.NewFile(3, "commands")
	shell.Env = []string{"PATH=/usr/bin:/bin"}
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := shell.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(shell.Process.Pid)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
		_ = shell.Wait()
		fmt.Println("waited")
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// grandchild is a shell whose parent waits for it when the test says so.
type grandchild struct {
	t        *testing.T
	pid      int
	commands *os.File // the shell's
	orders   io.WriteCloser
	answers  *bufio.Reader
}

// startGrandchild returns a shell that ends with the test.
func startGrandchild(t *testing.T) *grandchild {
	t.Helper()
	read, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "PROCESS_TEST_PARENT=1")
	cmd.ExtraFiles = []*os.File{read}
	cmd.Stderr = os.Stderr
	orders, err1 := cmd.StdinPipe()
	answers, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read.Close()
	g := &grandchild{t: t, commands: commands, orders: orders, answers: bufio.NewReader(answers)}
	t.Cleanup(func() {
		commands.Close()
		orders.Close()
		cmd.Wait()
	})
	if g.pid, err = strconv.Atoi(g.answer()); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *grandchild) answer() string {
	g.t.Helper()
	line, err := g.answers.ReadString('\n')
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// run has the shell run a line.
func (g *grandchild) run(line string) {
	g.t.Helper()
	if _, err := io.WriteString(g.commands, line+"\n"); err != nil {
		g.t.Fatal(err)
	}
}

// reap has its parent wait for it.
func (g *grandchild) reap() {
	g.t.Helper()
	if _, err := io.WriteString(g.orders, "\n"); err != nil {
		g.t.Fatal(err)
	}
}

func (g *grandchild) hold() *Held {
	g.t.Helper()
	h, err := Hold(g.pid)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(h.Close)
	return h
}

// alone reports that this is a process of its own for the test, without any children;
// otherwise it runs the test there. A subreaper gets its orphans.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv("PROCESS_TEST_ALONE") == t.Name() {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "PROCESS_TEST_ALONE="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// child is a child of this process that runs a line of shell and reads commands, in a
// process group of its own.
type child struct {
	t     *testing.T
	pid   int
	stdin *os.File
	out   *bufio.Reader
}

func startChild(t *testing.T, line string) *child {
	t.Helper()
	stdin, writeIn, err1 := os.Pipe()
	readOut, stdout, err2 := os.Pipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", line}, &os.ProcAttr{
		Env:   []string{"PATH=/usr/bin:/bin"},
		Files: []*os.File{stdin, stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	pid := p.Pid
	_ = p.Release() // whoever waits, it is not os.Process
	stdin.Close()
	stdout.Close()
	t.Cleanup(func() {
		writeIn.Close()
		readOut.Close()
	})
	return &child{t: t, pid: pid, stdin: writeIn, out: bufio.NewReader(readOut)}
}

// number reads one that the child writes.
func (c *child) number() int {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// finish ends what reads the child's standard input.
func (c *child) finish() { c.stdin.Close() }

// wait waits for a child, which must end.
func wait(t *testing.T, pid int) syscall.WaitStatus {
	t.Helper()
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		switch err {
		case nil:
			return status
		case syscall.EINTR:
		default:
			t.Fatalf("PID %d: %v", pid, err)
		}
	}
}

// awaitZombie returns when the child has ended, and does not wait for it.
func awaitZombie(t *testing.T, pid int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		switch err {
		case nil:
			return
		case unix.EINTR:
		default:
			t.Fatalf("PID %d: %v", pid, err)
		}
	}
}

// patience is for what is to happen at once.
const patience = 20 * time.Second

func expectClosed(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s is not reported", what)
	}
}

func expectOpen(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Fatalf("%s is reported", what)
	case <-time.After(20 * time.Millisecond):
	}
}
