package signals

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"pidleash/internal/atstart"
)

// playCollect tells of what it has received.
func playCollect(string) {
	s := Catch()
	fmt.Println("ready")
	for got := range s.C() {
		r := s.Read(got)
		fmt.Println(int(r.Signal), r.ToGroup)
	}
}

func TestEverySignalArrives(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		c := start(t, binary, "collect")
		c.expect("ready")
		for sig := syscall.Signal(1); sig <= 64; sig++ {
			switch {
			case Forwarded(sig):
				c.send(sig)
				c.expect(fmt.Sprint(int(sig), " false"))
			case sig != syscall.SIGKILL && sig != syscall.SIGSTOP:
				c.send(sig) // that it neither ends the child nor arrives, the next one shows
			}
		}
	})
}

// Go ends the process by itself at one of these that nobody has asked for yet, and it is late at times: long after
// somebody has asked. So none of its threads may ever take one.
func TestBlockedInEveryThread(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		if !hasEntry(t) {
			return // Go unblocks them
		}
		c := start(t, binary, "collect")
		c.expect("ready")
		tasks, err := os.ReadDir(fmt.Sprint("/proc/", c.cmd.Process.Pid, "/task"))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			var blocked atstart.SignalSet
			_, _ = fmt.Sscanf(string(statusLine(fmt.Sprint(c.cmd.Process.Pid, "/task/", task.Name()), "SigBlk")), "%x", &blocked)
			for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM} {
				if !has(blocked, sig) {
					t.Errorf("thread %s does not block %v", task.Name(), sig)
				}
			}
		}
	})
}

func TestEqualSignalsMerge(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		c := start(t, binary, "collect")
		c.expect("ready")
		c.send(syscall.SIGSTOP)
		if _, err := unix.Wait4(c.cmd.Process.Pid, nil, unix.WUNTRACED, nil); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			c.send(syscall.SIGUSR1)
		}
		c.send(syscall.SIGCONT)
		usr1 := 0
		for line := ""; line != "12 false"; {
			if line = c.line(); line == "10 false" {
				if usr1++; usr1 == 1 {
					c.send(syscall.SIGUSR2)
				}
			}
		}
		if usr1 > 2 {
			t.Errorf("%d USR1 arrived, the kernel makes one of them", usr1)
		}
	})
}

func TestSignalsIgnoredAtStart(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		kept := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}
		var ignored atstart.SignalSet
		for _, sig := range kept {
			ignored |= setOf(sig)
		}
		c := start(t, binary, "collect", uint64(ignored), 0)
		c.expect("ready")
		for _, sig := range kept {
			c.send(sig)
		}
		c.send(syscall.SIGTERM)
		c.expect("15 false")
	})
}

// At ^C and at a new window size the kernel sends a signal to the whole group. os/signal does not tell who has sent one.
func TestToGroup(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		c := prepare(t, binary, "collect")
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer master.Close()
		c.cmd.Stderr = slave
		c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
		c.start()
		slave.Close()
		c.expect("ready")
		c.send(syscall.SIGINT)
		c.expect("2 false")
		if _, err := master.Write([]byte{3}); err != nil {
			t.Fatal(err)
		}
		c.expect(fmt.Sprint("2 ", hasEntry(t)))
		c.send(syscall.SIGINT)
		c.expect("2 false")
		if err := pty.Setsize(master, &pty.Winsize{Rows: 9, Cols: 9}); err != nil {
			t.Fatal(err)
		}
		c.expect(fmt.Sprint("28 ", hasEntry(t)))
		c.send(syscall.SIGTERM)
		c.expect("15 false")
	})
}

// playFull reads nothing until it is told, then up to TERM.
func playFull(string) {
	s := Catch()
	fmt.Println("ready")
	told()
	others := 0
	for got := range s.C() {
		switch s.Read(got).Signal {
		case syscall.SIGTERM:
			fmt.Println("TERM")
		case 40:
			if others++; others == 300 {
				fmt.Println("all")
			}
		}
	}
}

// 300 queued signals leave room for TERM, and none of them is lost on the way.
func TestRoomForTerm(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		if !hasEntry(t) {
			return // os/signal merges equal signals, of the queued ones, too: nothing can be full
		}
		c := start(t, binary, "full")
		c.expect("ready")
		for range 300 {
			c.send(40)
		}
		for !signalQueueStands(c.cmd.Process.Pid) {
			time.Sleep(time.Millisecond)
		}
		c.send(syscall.SIGTERM)
		c.tell()
		lost := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
		defer lost.Stop()
		// The kernel has TERM until there is room, and gives it out before real-time signals.
		if first, second := c.line(), c.line(); first == second {
			t.Errorf("the child says %q twice", first)
		}
	})
}

// signalQueueStands reports that the reader has stopped reading.
func signalQueueStands(pid int) bool {
	before := statusLine(pid, "SigQ")
	time.Sleep(20 * time.Millisecond)
	return bytes.Equal(before, statusLine(pid, "SigQ"))
}

func statusLine(pid any, name string) []byte {
	status, _ := os.ReadFile(fmt.Sprint("/proc/", pid, "/status"))
	_, line, _ := bytes.Cut(status, []byte("\n"+name+":"))
	line, _, _ = bytes.Cut(line, []byte("\n"))
	return bytes.TrimSpace(line)
}

// collecting is a source that nothing collects for.
func collecting(signals ...os.Signal) *Source {
	s := &Source{c: make(chan os.Signal, capacity), room: make(chan struct{}, capacity)}
	for _, sig := range signals {
		if _, ok := sig.(collected); ok {
			s.room <- struct{}{}
		}
		s.c <- sig
	}
	return s
}

func TestLate(t *testing.T) {
	isTerm := func(sig syscall.Signal) bool { return sig == syscall.SIGTERM }
	s := collecting(syscall.SIGUSR1, collected{Received{syscall.SIGCONT, true}}, syscall.SIGTERM)
	if got := s.Late(time.Hour, isTerm); got != syscall.SIGTERM {
		t.Errorf("late is %d, want TERM", got)
	}
	if len(s.room) != 0 {
		t.Error("what was read still takes room")
	}
	if got := collecting(syscall.SIGUSR1).Late(time.Millisecond, isTerm); got != 0 {
		t.Errorf("late is %d, want none", got)
	}
}

// playStop stops itself, or its group, by TSTP while another one is pending.
func playStop(arg string) {
	s := Catch()
	runtime.LockOSThread()
	if arg == "pending" { // for this thread, as for the others with our entry code
		setMask(unix.SIG_BLOCK, setOf(syscall.SIGTSTP))
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), syscall.SIGTSTP)
	}
	pid := os.Getpid()
	if arg == "group" {
		pid = 0
	}
	s.StopSelf(syscall.SIGTSTP, pid)
	_ = unix.Kill(os.Getpid(), syscall.SIGUSR1)
	for got := range s.C() {
		switch sig := s.Read(got).Signal; sig {
		case syscall.SIGUSR1:
			fmt.Println("continued")
			return
		default:
			fmt.Println(int(sig))
		}
	}
}

func TestStopSelf(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		for _, arg := range []string{"", "group", "pending"} {
			c := start(t, binary, "stop "+arg)
			var status syscall.WaitStatus
			if _, err := syscall.Wait4(c.cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil {
				t.Fatal(err)
			}
			if !status.Stopped() || status.StopSignal() != syscall.SIGTSTP {
				t.Fatalf("%q: status %#x, want a stop by TSTP", arg, status)
			}
			c.send(syscall.SIGCONT)
			line := c.line()
			if line == "18" && !hasEntry(t) { // the handler gets CONT first
				line = c.line()
			}
			if line != "continued" {
				t.Errorf("%q: the child says %q", arg, line)
			}
			if status := c.end(); !status.Exited() {
				t.Errorf("%q: status %#x, stopped once more?", arg, status)
			}
		}
	})
}

func TestDie(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		for sig := syscall.Signal(1); sig <= 64; sig++ {
			if !has(harmless, sig) {
				start(t, binary, fmt.Sprint("die ", int(sig))).diesBy(sig)
			}
		}
	})
}

func playDefault(string) {
	Default()
	fmt.Println("ready")
	for told() {
		fmt.Println("here")
	}
}

func TestDefault(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR2, syscall.SIGSYS, 40, 64} {
			ignored := setOf(syscall.SIGINT)
			if hasEntry(t) { // Go has forgotten these
				ignored |= setOf(syscall.SIGUSR1) | setOf(syscall.SIGQUIT)&^setOf(sig)
			}
			c := start(t, binary, "default", uint64(ignored), 0)
			c.expect("ready")
			for ignoredSig := syscall.Signal(1); ignoredSig <= 64; ignoredSig++ {
				if ignored.Has(int(ignoredSig)) {
					c.send(ignoredSig)
				}
			}
			c.tell()
			c.expect("here")
			c.send(sig)
			c.diesBy(sig)
		}
	})
}

func playOutlive(string) {
	Catch()
	Outlive()
	fmt.Println("ready")
	for told() {
		fmt.Println("here")
	}
}

func TestOutlive(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		c := start(t, binary, "outlive")
		c.expect("ready")
		for sig := syscall.Signal(1); sig <= 64; sig++ {
			if !has(harmless, sig) && sig != syscall.SIGKILL && !has(faults, sig) && Forwarded(sig) {
				c.send(sig)
			}
		}
		c.tell()
		c.expect("here")
	})
}

func playProgram(string) {
	s := Catch()
	fmt.Println(s.Program(nil))
	fmt.Println(s.Program([]syscall.Signal{syscall.SIGUSR2}))
	fmt.Println(s.Program([]syscall.Signal{}))
}

func TestProgram(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		ignored := setOf(syscall.SIGINT) | setOf(syscall.SIGTSTP)
		blocked := setOf(syscall.SIGUSR1) | setOf(40)
		if hasEntry(t) {
			ignored |= setOf(syscall.SIGPIPE) | setOf(syscall.SIGQUIT) | setOf(64)
			blocked |= setOf(syscall.SIGTERM)
		}
		c := start(t, binary, "program", uint64(ignored), uint64(blocked))
		c.expect(fmt.Sprint(ignored, blocked))
		c.expect(fmt.Sprint(setOf(syscall.SIGUSR2), blocked))
		c.expect(fmt.Sprint(0, blocked))
	})
}

var releases = flag.Int("releases", 60, "processes that are sent a signal around Release")

// playRelease becomes another program; "staying": not before it is told to.
func playRelease(arg string) {
	s := Catch()
	fmt.Println("ready")
	if sig := s.Release(); sig != 0 {
		os.Exit(100 + int(sig))
	}
	if arg == "staying" {
		told()
	}
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		panic(err)
	}
	panic(syscall.Exec(sleep, []string{"sleep", "100"}, nil))
}

// Whenever a signal comes, it ends the process or is reported: TERM always, the others
// when they are being collected. Those that would write a core are not sent around
// execve(2), where the kernel can lose them.
func TestReleaseLosesNothing(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		for role, signals := range map[string][]syscall.Signal{
			"release":            {syscall.SIGTERM},
			"release collecting": {syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, 40},
			"release staying":    {syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGTERM, syscall.SIGXCPU},
		} {
			t.Run(role, func(t *testing.T) {
				ends := map[string]int{}
				for i := range *releases {
					ends[releaseAndSend(t, binary, role, signals[i%len(signals)])]++
				}
				t.Log(ends)
			})
		}
	})
}

func releaseAndSend(t *testing.T, binary, role string, sig syscall.Signal) string {
	c := start(t, binary, role)
	c.expect("ready")
	moment := time.Duration(rand.IntN(2000)) * time.Microsecond
	for begun := time.Now(); time.Since(begun) < moment; {
	}
	c.send(sig)
	lost := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer lost.Stop()
	status := c.end()
	switch {
	case status.Signaled() && status.Signal() == sig:
		return "died"
	case status.Exited() && status.ExitStatus() == 100+int(sig):
		return "reported"
	}
	t.Fatalf("%s: signal %d after %v: status %#x", role, sig, moment, status)
	return ""
}

// playSettle tells what it is like after Release.
func playSettle(string) {
	s := Catch()
	fmt.Println("ready")
	told()
	fmt.Println(int(s.Release()))
	fmt.Println(string(statusLine("thread-self", "SigBlk")))
	fmt.Println(string(statusLine("self", "SigIgn")))
	fmt.Println(string(statusLine("self", "SigCgt")))
	fmt.Println(string(statusLine("self", "ShdPnd")))
	told()
}

// awaitTaken returns when the kernel has handed out every signal.
func (c *child) awaitTaken() {
	for strings.Trim(string(statusLine(c.cmd.Process.Pid, "ShdPnd")), "0") != "" {
		time.Sleep(time.Millisecond)
	}
}

func (c *child) set() (set atstart.SignalSet) {
	c.t.Helper()
	if _, err := fmt.Sscanf(c.line(), "%x", &set); err != nil {
		c.t.Fatal(err)
	}
	return set
}

func TestRelease(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		ignored, blocked := setOf(syscall.SIGINT), setOf(syscall.SIGUSR2)|setOf(41)
		if hasEntry(t) {
			ignored |= setOf(syscall.SIGUSR1) | setOf(syscall.SIGQUIT)
		}
		c := start(t, binary, "settle", uint64(ignored), uint64(blocked))
		c.expect("ready")
		// Collected, ignored or blocked at start, and one that would not have ended it.
		for _, sig := range []syscall.Signal{syscall.SIGUSR2, 41, syscall.SIGWINCH} {
			c.send(sig)
		}
		if hasEntry(t) {
			c.send(syscall.SIGUSR1)
			c.send(syscall.SIGQUIT)
		}
		c.awaitTaken()
		c.send(syscall.SIGINT) // nobody takes it: what is blocked waits, also when it is ignored
		c.tell()
		c.expect("0")
		if got := c.set(); got != blocked {
			t.Errorf("blocked are %x, want %x", got, blocked)
		}
		// PIPE may be ignored or caught, as Go has it.
		if got := c.set() &^ setOf(syscall.SIGPIPE); got != ignored {
			t.Errorf("ignored are %x, want %x", got, ignored)
		}
		own := setOf(syscall.SIGPIPE) | setOf(syscall.SIGCHLD) | setOf(syscall.SIGURG)
		for sig := syscall.Signal(1); sig <= 64; sig++ {
			if has(faults, sig) {
				own |= setOf(sig)
			}
		}
		if got := c.set(); got&^own != 0 {
			t.Errorf("caught are %x, want none but %x", got, own)
		}
		if got := c.set(); got != blocked {
			t.Errorf("%x wait for the program, want %x", got, blocked)
		}
		c.send(syscall.SIGTERM)
		c.diesBy(syscall.SIGTERM)
	})
}

// What has been collected before Release is reported, whichever way it came.
func TestReleaseReports(t *testing.T) {
	binaries(t, func(t *testing.T, binary string) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGUSR1, 64} {
			c := start(t, binary, "settle")
			c.expect("ready")
			c.send(sig)
			c.awaitTaken()
			c.tell()
			line, err := c.lines.ReadString('\n')
			if err != nil && errors.Is(err, os.ErrClosed) || strings.TrimSpace(line) != fmt.Sprint(int(sig)) {
				t.Errorf("signal %d: the child says %q, %v", sig, line, err)
			}
		}
	})
}
