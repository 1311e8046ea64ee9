package process

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// stat has a line of /proc/PID/stat with the name, state, parent and start.
func stat(comm, state, ppid, start string) string {
	return "812 (" + comm + ") " + state + " " + ppid + " 812 812 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 " + start + " 9 10\n"
}

func TestParse(t *testing.T) {
	for _, comm := range []string{
		"nginx", "", " ", "(", ")", "()", ") Z 1 (", "a b", "((sd-pam))", ") S 1 2 3", "a\nb",
	} {
		p, err := parse([]byte(stat(comm, "S", "77", "3000012345"))) // after 347 days
		want := Process{Comm: comm, State: 'S', Parent: 77, Group: 812, Session: 812, Start: 3000012345, Threads: 1}
		if err != nil || p != want {
			t.Errorf("name %q: %+v, %v; want %+v", comm, p, err, want)
		}
	}
	for _, bad := range []string{
		"", "812", "812 nginx S 1", "812 )nginx( S 1",
		"812 (nginx) S 77", "812 (nginx", "812 nginx) S",
		stat("nginx", "S", "x", "12345"), stat("nginx", "S", "77", "x"),
	} {
		if p, err := parse([]byte(bad)); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", bad, p)
		}
	}
}

func TestDead(t *testing.T) {
	for _, state := range "RSDTtIPWKZXx" {
		want := strings.ContainsRune("ZXx", state)
		if p := (Process{State: byte(state)}); p.Dead() != want {
			t.Errorf("state %c: dead %v, want %v", state, p.Dead(), want)
		}
	}
	if (Process{State: 'Z', Threads: 2}).Dead() {
		t.Error("dead, although only its first thread has ended")
	}
}

// The reckoned start lies between the clock before and after the start, but for
// the tick by which the kernel rounds.
func TestStartTime(t *testing.T) {
	before := time.Now()
	cat := exec.Command("cat")
	stdin, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cat.Wait() })
	after := time.Now()
	p, err := Read(cat.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	const slack = 50 * time.Millisecond
	if s := BootTime().Add(p.Start.SinceBoot()); s.Before(before.Add(-slack)) || s.After(after.Add(slack)) {
		t.Errorf("started between %v and %v, reckoned %v", before, after, s)
	}
}

func TestTable(t *testing.T) {
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	if p := table[os.Getpid()]; p.Parent != os.Getppid() {
		t.Errorf("this process's parent is %d in the table, %d in truth", p.Parent, os.Getppid())
	}
}

// A thread answers in /proc as a process does.
func TestIsProcess(t *testing.T) {
	if !IsProcess(os.Getpid()) {
		t.Error("this process is none")
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, %v; two were expected", len(threads), err)
	}
	for _, thread := range threads {
		tid, _ := strconv.Atoi(thread.Name())
		if want := tid == os.Getpid(); IsProcess(tid) != want {
			t.Errorf("thread %d is a process: %v", tid, !want)
		}
	}
}
