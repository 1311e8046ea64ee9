package terminal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Each test is a function that a "wrapper" runs: this binary again, in a process group
// of its own on a new terminal, started by a "shell", which leads the session. The program
// is cat(1), which waits for the test's end.

// wrapperVariable has the test's name; shellVariable is set for the shell.
const (
	wrapperVariable = "PIDLEASH_TERMINAL_TEST"
	shellVariable   = "PIDLEASH_TERMINAL_SHELL"
)

func TestMain(m *testing.M) {
	name := os.Getenv(wrapperVariable)
	switch {
	case name == "":
		os.Exit(m.Run())
	case os.Getenv(shellVariable) != "":
		playShell()
	default:
		unix.CloseOnExec(3)
		unix.CloseOnExec(4)
		plays[name]()
	}
	os.Exit(0)
}

// playShell puts the wrapper in the foreground, and ends as it does.
func playShell() {
	signal.Ignore(syscall.SIGTTOU, syscall.SIGHUP)
	os.Unsetenv(shellVariable)
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "end"), os.NewFile(4, "lines")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true}
	check(cmd.Run())
}

func check(err error) {
	if err != nil {
		say("error: ", err)
		os.Exit(1)
	}
}

// say writes a line to the test.
func say(words ...any) {
	fmt.Fprintln(os.NewFile(4, "lines"), fmt.Sprint(words...))
}

// runs runs the play on a terminal, and expects its lines.
func runs(t *testing.T, name string, types string, want ...string) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	end, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	lines, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), wrapperVariable+"="+name, shellVariable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.ExtraFiles = []*os.File{end, out}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	slave.Close()
	end.Close()
	out.Close()
	_ = lines.SetReadDeadline(time.Now().Add(20 * time.Second)) // of a test that fails
	var got []string
	for scan := bufio.NewScanner(lines); scan.Scan(); {
		if scan.Text() == "type" {
			if _, err := master.Write([]byte(types)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got = append(got, scan.Text())
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// program starts one as the launch does; fd: of the terminal to take.
func program(fd int, sameGroup bool) *exec.Cmd {
	cmd := exec.Command("cat")
	cmd.Stdin = os.NewFile(3, "end")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !sameGroup}
	if fd != 0 {
		tty, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
		check(err)
		cmd.SysProcAttr.Foreground, cmd.SysProcAttr.Ctty = true, tty
	}
	check(cmd.Start())
	return cmd
}

// who names the foreground group.
func who(t *Terminal, program int) string {
	switch t.foreground() {
	case program:
		return "program"
	case unix.Getpgrp():
		return "wrapper"
	case session():
		return "shell"
	}
	return "nobody"
}

func session() int {
	sid, _ := unix.Getsid(0)
	return sid
}

func never(syscall.Signal, int) { say("stopped, not expected") }

// ends waits for the program.
func ends(cmd *exec.Cmd) syscall.WaitStatus {
	_ = cmd.Wait()
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// stops stops the program, and waits until it has.
func stops(pid int, sig syscall.Signal) {
	check(unix.Kill(pid, sig))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, unix.WUNTRACED, nil)
	check(err)
	if !status.Stopped() || status.StopSignal() != sig {
		say("status ", status)
	}
}

var plays = map[string]func(){
	"key":         playKey,
	"background":  playBackground,
	"taken":       playTaken,
	"jobs":        playJobs,
	"suspended":   playSuspended,
	"asks":        playAsks,
	"pipeline":    playPipeline,
	"group":       playGroup,
	"own group":   playOwnGroup,
	"orphaned":    playOrphaned,
	"no terminal": playNoTerminal,
}

func sentNone(syscall.Signal) bool { return false }

// playKey: the terminal kills the program, which has the foreground.
func playKey() {
	t := Open(false)
	for _, sent := range []bool{false, true} {
		cmd := program(t.Lend(), false)
		pid := cmd.Process.Pid
		say(who(t, pid))
		say("type")
		status := ends(cmd)
		key := t.Ended(status, pid, func(syscall.Signal) bool { return sent })
		say(int(status.Signal()), " ", int(key), " ", who(t, pid))
	}
	cmd := program(t.Lend(), false)
	_ = cmd.Process.Kill()
	say(int(t.Ended(ends(cmd), cmd.Process.Pid, sentNone)))
	t.PassOn() // no key: nobody is killed
	t.key = syscall.SIGUSR1
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	t.PassOn()
	say(<-got)
}

func TestKeys(t *testing.T) {
	runs(t, "key", "\x03", "program", "2 2 wrapper", "program", "2 0 wrapper", "0", "user defined signal 1")
	runs(t, "key", "\x1c", "program", "3 3 wrapper", "program", "3 0 wrapper", "0", "user defined signal 1")
}

// playBackground: nobody lends what is not pidleash's, and a death by INT is no key.
func playBackground() {
	t := Open(false)
	t.give(session())
	say(t.Lend())
	cmd := program(0, false)
	_ = cmd.Process.Signal(syscall.SIGINT)
	say(int(t.Ended(ends(cmd), cmd.Process.Pid, sentNone)), " ", who(t, 0))
	t.give(t.group)
	say(Open(true).Lend(), " ", Open(false).Lend() > 2)
	null, _ := os.Open(os.DevNull)
	_ = unix.Dup3(int(null.Fd()), 0, 0)
	say(Open(false).Lend())
}

func TestLendsWhatIsOurs(t *testing.T) {
	runs(t, "background", "", "0", "0 shell", "0 true", "0")
}

// playTaken: the shell has taken the terminal from the program.
func playTaken() {
	t := Open(false)
	cmd := program(t.Lend(), false)
	t.give(session())
	t.TakeBack(cmd.Process.Pid)
	say(who(t, 0))
	t.give(cmd.Process.Pid)
	t.TakeBack(cmd.Process.Pid) // once
	say(who(t, cmd.Process.Pid))
}

func TestTakenByTheShell(t *testing.T) { runs(t, "taken", "", "shell", "program") }

// playJobs: a killed program has left a job of its own in the foreground.
func playJobs() {
	t := Open(false)
	cmd := program(t.Lend(), false)
	job := program(0, false)
	t.give(job.Process.Pid)
	_ = cmd.Process.Kill()
	t.Ended(ends(cmd), cmd.Process.Pid, sentNone)
	say(who(t, 0))
}

func TestTakesBackFromAJob(t *testing.T) { runs(t, "jobs", "", "wrapper") }

// playSuspended: the program is stopped as a job, and continued.
func playSuspended() {
	t := Open(false)
	cmd := program(t.Lend(), false)
	pid := cmd.Process.Pid
	for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGSTOP} {
		stops(pid, sig)
		say(t.Suspended(pid, sig, func(sig syscall.Signal, whom int) {
			say(int(sig), " ", whom, " ", who(t, pid))
		}), " ", who(t, pid))
		_ = unix.Kill(pid, syscall.SIGCONT)
	}
	t.TakeBack(pid)
	say(t.Suspended(pid, syscall.SIGSTOP, never)) // by hand
	// In the background when it goes on.
	t.lendTo(pid)
	say(t.Suspended(pid, syscall.SIGTSTP, func(syscall.Signal, int) { t.give(session()) }), " ", who(t, pid))
}

func TestSuspended(t *testing.T) {
	runs(t, "suspended", "", "20 0 wrapper", "true program", "20 0 wrapper", "true program", "false", "true shell")
}

// playAsks: a program without the terminal is stopped because it wants it.
func playAsks() {
	t := Open(false)
	cmd := program(0, false)
	pid := cmd.Process.Pid
	say(t.Suspended(pid, syscall.SIGTTIN, never), " ", who(t, pid))
	t.TakeBack(pid)
	t.give(session())
	say(t.Suspended(pid, syscall.SIGTTOU, func(sig syscall.Signal, whom int) {
		say(int(sig), " ", whom)
		t.give(t.group) // the shell says fg
	}), " ", who(t, pid))
}

func TestLendsOnDemand(t *testing.T) {
	runs(t, "asks", "", "true program", "22 0", "true program")
}

// playPipeline: without the terminal on both sides nothing is lent by itself.
func playPipeline() {
	null, _ := os.Open(os.DevNull)
	_ = unix.Dup3(int(null.Fd()), 1, 0)
	t := Open(false)
	pid := program(t.Lend(), false).Process.Pid
	say(who(t, pid))
	say(t.Suspended(pid, syscall.SIGTSTP, func(syscall.Signal, int) {}), " ", who(t, pid))
}

func TestPipeline(t *testing.T) { runs(t, "pipeline", "", "wrapper", "true wrapper") }

// playGroup: the terminal has stopped all of the group but pidleash.
func playGroup() {
	t := Open(true)
	cmd := program(t.Lend(), true)
	pid := cmd.Process.Pid
	say(t.Suspended(pid, syscall.SIGTSTP, never)) // continued already
	stops(pid, syscall.SIGTSTP)
	say(t.Suspended(pid, syscall.SIGTSTP, func(sig syscall.Signal, whom int) {
		say(int(sig), " ", whom == os.Getpid())
	}))
}

func TestSuspendedInGroup(t *testing.T) { runs(t, "group", "", "false", "20 true", "false") }

// playOwnGroup: the program has made a group of its own.
func playOwnGroup() {
	t := Open(true)
	cmd := program(0, false)
	pid := cmd.Process.Pid
	stops(pid, syscall.SIGSTOP)
	say(t.Suspended(pid, syscall.SIGSTOP, never)) // by hand
	say(t.Suspended(pid, syscall.SIGTSTP, func(sig syscall.Signal, whom int) {
		say(int(sig), " ", whom)
	}), " ", who(t, pid))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(pid, &status, unix.WCONTINUED, nil)
	check(err)
	say(status.Continued())
}

func TestSuspendedInItsOwnGroup(t *testing.T) {
	runs(t, "own group", "", "false", "20 0", "false program", "true")
}

// playOrphaned: in a session of which the parent is not, nobody could continue
// pidleash.
func playOrphaned() {
	t := Open(false)
	say(isOrphaned())
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), wrapperVariable+"=no terminal")
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "end"), os.NewFile(4, "lines")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(cmd.Run())
	t.give(session())
}

// playNoTerminal is in a new session.
func playNoTerminal() {
	say(isOrphaned())
	t := Open(false)
	say(t == nil, t.Lend(), t.Ended(2, 1, sentNone), t.Suspended(1, syscall.SIGTSTP, never))
	t.TakeBack(1)
	t.PassOn()
	// Not the controlling terminal of the tested process: what needs none.
	tty := &Terminal{fd: -1, lent: true}
	say(tty.Suspended(1, syscall.SIGTSTP, never), tty.Suspended(1, syscall.SIGSTOP, never))
}

func TestOrphaned(t *testing.T) {
	runs(t, "orphaned", "", "false", "true", "true 0 signal 0 false", "true false")
}
