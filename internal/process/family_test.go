package process

import (
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func expectPIDs(t *testing.T, what string, got map[int]Ticks, want ...int) {
	t.Helper()
	slices.Sort(want)
	if pids := slices.Sorted(maps.Keys(got)); !slices.Equal(pids, want) {
		t.Errorf("%s: %v, want %v", what, pids, want)
	}
}

func expectFamily(t *testing.T, f *Family, want ...int) {
	t.Helper()
	got, err := f.Descendants()
	if err != nil {
		t.Fatal(err)
	}
	expectPIDs(t, "descendants", got, want...)
}

func expectLeft(t *testing.T, f *Family, wantNone bool, want ...int) map[int]Ticks {
	t.Helper()
	left, none := f.Left()
	for wantNone && !none && len(left) == 0 { // it has to last
		time.Sleep(time.Millisecond)
		left, none = f.Left()
	}
	if none != wantNone {
		t.Errorf("none is left: %v, want %v", none, wantNone)
	}
	expectPIDs(t, "left", left, want...)
	return left
}

// twoProcesses is a line for a shell that tells the PID of its child; both end with
// its standard input.
const twoProcesses = "exec 3<&0; (read x <&3) & echo $!; read x"

func TestFamily(t *testing.T) {
	if !alone(t) {
		return
	}
	f := NewFamily(os.Getpid())
	expectLeft(t, f, true)
	c := startChild(t, "exec 3<&0; setsid sh -c '"+`echo $$; exec cat <&3 >/dev/null`+"' & read x")
	far := c.number()
	expectFamily(t, f, c.pid, far)
	expectLeft(t, f, false, c.pid, far)
	below, err := DescendantsOf(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	expectPIDs(t, "below the child", below, far)
	// The orphan of another session is of the family, and the zombie is not.
	if err := unix.Kill(c.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitZombie(t, c.pid)
	expectLeft(t, f, false, far)
	wait(t, c.pid)
	expectLeft(t, f, false, far)
	if err := f.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	awaitZombie(t, far)
	// Nobody is there to be killed, but somebody to be waited for.
	expectLeft(t, f, false)
	if status := wait(t, far); status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, want a death by SIGKILL", status)
	}
	expectLeft(t, f, true)
}

func TestEarlierChildren(t *testing.T) {
	if !alone(t) {
		return
	}
	earlier := startChild(t, "exec 3<&0; (read x <&3; (read y <&3) & echo $!; wait) & echo $!; wait")
	grandchild := earlier.number()
	f := NewFamily(os.Getpid())
	start := func(pid int) Ticks {
		p, err := Read(pid)
		if err != nil {
			t.Fatal(err)
		}
		return p.Start
	}
	if !has(f.excluded, earlier.pid, start(earlier.pid)) || !has(f.excluded, grandchild, start(grandchild)) {
		t.Error("earlier children are not excluded")
	}
	if has(f.excluded, earlier.pid, start(earlier.pid)+1) {
		t.Error("a process that has got the PID of an earlier child is excluded")
	}
	expectLeft(t, f, true)
	// What an earlier child starts later is not of the family, either.
	if _, err := earlier.stdin.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	earlier.number()
	expectLeft(t, f, true)
	c := startChild(t, twoProcesses)
	other := c.number()
	expectLeft(t, f, false, c.pid, other)
	if err := f.Kill(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	wait(t, c.pid)
	wait(t, other)
	expectLeft(t, f, true)
	if p, err := Read(earlier.pid); err != nil || p.Dead() {
		t.Errorf("the earlier child was stopped, too: %+v, %v", p, err)
	}
	// Once no earlier child lives it is the kernel's to say.
	earlier.finish()
	wait(t, earlier.pid)
	last := startChild(t, "exit 0")
	awaitZombie(t, last.pid)
	expectLeft(t, f, false)
	wait(t, last.pid)
	expectLeft(t, f, true)
}

func TestExclude(t *testing.T) {
	if !alone(t) {
		return
	}
	f := NewFamily(os.Getpid())
	own := startChild(t, twoProcesses)
	other := own.number()
	expectFamily(t, f, own.pid, other)
	f.Exclude(own.pid)
	expectFamily(t, f)
	expectLeft(t, f, true)
	f.Exclude(1<<22 + 1) // nobody
	own.finish()
	wait(t, own.pid)
}

// Whoever was being forked during a signal gets it at the next look, and everybody gets it once.
func TestNewcomers(t *testing.T) {
	if !alone(t) {
		return
	}
	f := NewFamily(os.Getpid())
	first := startChild(t, "trap '' TERM; echo 1; read x; exit 1")
	first.number()
	expectLeft(t, f, false, first.pid)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGCONT} {
		if err := f.Kill(sig); err != nil {
			t.Error(err)
		}
	}
	second := startChild(t, "read x")
	if err := syscall.Kill(second.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	both := expectLeft(t, f, false, first.pid, second.pid)
	expectPIDs(t, "newcomers at another look", f.newcomers(both))
	if status := wait(t, second.pid); status.Signal() != syscall.SIGTERM {
		t.Errorf("status %#x, want a death by SIGTERM", status)
	}
	f.Restarted()
	third := startChild(t, "read x; exit 3")
	expectLeft(t, f, false, first.pid, third.pid)
	for c, want := range map[*child]int{first: 1, third: 3} {
		c.finish()
		if status := wait(t, c.pid); status.ExitStatus() != want {
			t.Errorf("PID %d: status %#x, want exit code %d", c.pid, status, want)
		}
	}
}

func TestKillExactly(t *testing.T) {
	c := startChild(t, "read x; exit 3")
	p, err := Read(c.pid)
	if err != nil {
		t.Fatal(err)
	}
	KillExactly(c.pid, p.Start+1, syscall.SIGKILL)
	KillExactly(c.pid, p.Start, 0)
	c.finish()
	if status := wait(t, c.pid); status.ExitStatus() != 3 {
		t.Errorf("status %#x: the signal was another process's", status)
	}
	c = startChild(t, "read x; exit 3")
	if p, err = Read(c.pid); err != nil {
		t.Fatal(err)
	}
	KillExactly(c.pid, p.Start, syscall.SIGKILL)
	if status := wait(t, c.pid); status.Signal() != syscall.SIGKILL {
		t.Errorf("status %#x, want a death by SIGKILL", status)
	}
}

func TestHasOthers(t *testing.T) {
	if !alone(t) {
		return
	}
	c := startChild(t, twoProcesses)
	c.number()
	if HasOthers(c.pid) {
		t.Error("the child's group has others")
	}
	// The process that has started this one is in its group, too.
	if !HasOthers(unix.Getpgrp()) {
		t.Errorf("group %d of PID %d has no others", unix.Getpgrp(), os.Getppid())
	}
	g := startGrandchild(t)
	if HasOthers(g.pid) {
		t.Error("the group of a child's child has others")
	}
	c.finish()
	wait(t, c.pid)
}
