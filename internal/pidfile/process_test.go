package pidfile

import (
	"os"
	"strings"
	"testing"
	"time"
)

// stat has a line of /proc/PID/stat with the name, state, parent and start.
func stat(comm, state, ppid, start string) string {
	return "812 (" + comm + ") " + state + " " + ppid + " 812 812 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 " + start + " 9 10\n"
}

func TestParseStat(t *testing.T) {
	for _, comm := range []string{
		"nginx", "", " ", "(", ")", "()", ") Z 1 (", "a b", "((sd-pam))", ") S 1 2 3", "a\nb",
	} {
		p, err := parseStat([]byte(stat(comm, "S", "77", "12345")))
		want := process{comm: comm, state: 'S', ppid: 77, start: 123450 * time.Millisecond}
		if err != nil || p != want {
			t.Errorf("name %q: %+v, %v; want %+v", comm, p, err, want)
		}
	}
	for _, bad := range []string{
		"", "812", "812 nginx S 1", "812 )nginx( S 1",
		"812 (nginx) S 77", "812 (nginx", "812 nginx) S",
		stat("nginx", "S", "x", "12345"), stat("nginx", "S", "77", "x"),
	} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", bad, p)
		}
	}
}

func TestDead(t *testing.T) {
	for _, state := range "RSDTtIPWKZXx" {
		want := strings.ContainsRune("ZXx", state)
		if p := (process{state: byte(state)}); p.dead() != want {
			t.Errorf("state %c: dead %v, want %v", state, p.dead(), want)
		}
	}
}

// The reckoned start lies between the clock before and after the start, but for
// the tick by which the kernel rounds.
func TestStartTime(t *testing.T) {
	before := time.Now()
	pid := program(t)
	after := time.Now()
	p, err := readProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	const slack = 50 * time.Millisecond
	if s := p.startTime(); s.Before(before.Add(-slack)) || s.After(after.Add(slack)) {
		t.Errorf("started between %v and %v, reckoned %v", before, after, s)
	}
}

func TestIsSelfOrAncestor(t *testing.T) {
	for pid, want := range map[int]bool{os.Getpid(): true, os.Getppid(): true, program(t): false, deadPID(t): false} {
		if isSelfOrAncestor(pid) != want {
			t.Errorf("isSelfOrAncestor(%d) = %v; this is %d, child of %d", pid, !want, os.Getpid(), os.Getppid())
		}
	}
}

func TestNameOf(t *testing.T) {
	if name := nameOf(program(t)); name != " (cat)" {
		t.Errorf("nameOf(cat's PID) = %q", name)
	}
	if name := nameOf(deadPID(t)); name != "" {
		t.Errorf("nameOf(no process) = %q", name)
	}
}
