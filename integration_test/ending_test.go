package integration

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for code := range 256 {
		cmd := exec.Command(pidleash, "sh", "-c", "exit "+strconv.Itoa(code))
		if have := ending(t, cmd); !have.Exited() || have.ExitStatus() != code {
			t.Errorf("PROGRAM exits with %d, pidleash ends by %s", code, describe(have))
		}
	}
}

// ending runs a command and returns how it ended.
func ending(t testing.TB, cmd *exec.Cmd) syscall.WaitStatus {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	if len(out) > 0 {
		t.Errorf("%v: wrote %q, want nothing", cmd, out)
	}
	return cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// signalsThatDoNotStop are all that end a process or do nothing at all to it.
func signalsThatDoNotStop() (list []syscall.Signal) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		switch sig {
		case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		default:
			list = append(list, sig)
		}
	}
	return list
}

// The parent learns the same as without pidleash, by wait(2).
func TestDeathBySignal(t *testing.T) {
	t.Parallel()
	die, as := compileC(t, "die.c"), compileC(t, "as.c")
	deaths := 0
	for _, sig := range signalsThatDoNotStop() {
		n := strconv.Itoa(int(sig))
		want := ending(t, exec.Command(die, n))
		// A core file would go into the current directory, as far as the kernel is
		// not told otherwise.
		dir := t.TempDir()
		cmd := exec.Command(as, "core", pidleash, die, n)
		cmd.Dir = dir
		if have := ending(t, cmd); have != want {
			t.Errorf("PROGRAM ends by %s, pidleash by %s, core file: %v", describe(want), describe(have), have.CoreDump())
		}
		expectEmptyDir(t, dir)
		if want.Signaled() {
			deaths++
		}
	}
	// All but CHLD, CONT, URG and WINCH.
	if want := 64 - 4 - 4; deaths != want {
		t.Errorf("%d signals kill, want %d", deaths, want)
	}
}

// TestDeathBySignal looks for core files: here is one, unless the machine sends
// them elsewhere.
func TestDeathWithCoreFile(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(compileC(t, "as.c"), "core", "sh", "-c", "kill -SEGV $$")
	cmd.Dir = t.TempDir()
	if status := ending(t, cmd); !status.CoreDump() {
		t.Skipf("no core file of a program that ends by %s", describe(status))
	}
}

// PID 1 cannot die by a signal of its own.
func TestDeathBySignalAsPID1(t *testing.T) {
	t.Parallel()
	needRoot(t)
	die := compileC(t, "die.c")
	for _, sig := range signalsThatDoNotStop() {
		n := strconv.Itoa(int(sig))
		want := 128 + int(sig)
		if bare := ending(t, exec.Command(die, n)); bare.Exited() {
			want = bare.ExitStatus()
		}
		cmd := exec.Command(pidleash, die, n)
		cmd.SysProcAttr = asPID1().attr
		if have := ending(t, cmd); !have.Exited() || have.ExitStatus() != want {
			t.Errorf("PROGRAM dies by signal %s, pidleash ends by %s, want exit code %d", n, describe(have), want)
		}
	}
	// Without pidleash the signal is lost.
	cmd := exec.Command(die, "15")
	cmd.SysProcAttr = asPID1().attr
	if have := ending(t, cmd); have.ExitStatus() != 98 {
		t.Errorf("PID 1 ends itself by %s", describe(have))
	}
}

func TestOwnExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	writeFile(t, script, "#!/bin/sh\n", 0o644)
	nowhere := filepath.Join(dir, "no", "interpreter")
	orphan := filepath.Join(dir, "orphan")
	writeFile(t, orphan, "#!"+nowhere+"\n", 0o755)
	for _, test := range []struct {
		code int
		args []string
		line string
	}{
		{125, []string{"-no-such-option", "true"}, "no-such-option"},
		{125, []string{"-pidfile", filepath.Join(dir, "no", "p.pid"), "true"}, "no directory .*no; hint: "},
		{126, []string{script}, "script: .*; hint: chmod"},
		{126, []string{dir}, "is a directory"},
		{126, []string{orphan}, "interpreter .*no/interpreter"},
		{127, []string{filepath.Join(dir, "nothing")}, "nothing: not found"},
		{127, []string{"no-such-program-anywhere"}, "no-such-program-anywhere: not found"},
	} {
		r := start(t, how{}, test.args...)
		r.expectCode(t, test.code)
		r.expectOneLine(t, test.line)
	}
	expectFiles(t, dir, "orphan", "script")
}

func TestAlreadyRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	first := start(t, how{}, "-pidfile", file, "sh", "-c", "echo $$; read line")
	program := first.number(t)
	second := start(t, how{}, "-pidfile", file, "true")
	second.expectCode(t, 120)
	second.expectOneLine(t, "p.pid: .*"+strconv.Itoa(program)+".*; hint: ")
	if text := readFile(t, file); text != strconv.Itoa(program)+"\n" {
		t.Errorf("the PID file has %q, want PID %d", text, program)
	}
	first.tell(t, "end")
	first.expectCode(t, 0)
	expectEmptyDir(t, dir)
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	const codes = "3,140-150,129,0-1"
	for _, test := range []struct {
		script string
		code   int // -1: death by the signal
		signal syscall.Signal
	}{
		{script: "exit 0", code: 0},
		{script: "exit 1", code: 0},
		{script: "exit 2", code: 2},
		{script: "exit 3", code: 0},
		{script: "exit 139", code: 139},
		{script: "exit 140", code: 0},
		{script: "exit 150", code: 0},
		{script: "exit 151", code: 151},
		{script: "kill -TERM $$", code: 0},
		{script: "kill -HUP $$", code: 0},
		{script: "kill -KILL $$", code: -1, signal: syscall.SIGKILL},
		{script: "kill -USR1 $$", code: -1, signal: syscall.SIGUSR1},
	} {
		r := start(t, how{}, "-success", codes, "sh", "-c", test.script)
		if test.code < 0 {
			r.expectSignal(t, test.signal)
		} else {
			r.expectCode(t, test.code)
		}
	}
}

// A test of -removed-exit and what it wins over.
func TestRemovedExit(t *testing.T) {
	t.Parallel()
	const wait = "echo ready; read line"
	for _, test := range []struct {
		name    string
		options []string
		script  string
		remove  bool
		code    int // -1: death by TERM
	}{
		{"neither", nil, wait, true, -1},
		{"alone", []string{"-removed-exit", "5"}, wait, true, 5},
		{"zero", []string{"-removed-exit", "0"}, wait, true, 0},
		{"before success", []string{"-removed-exit", "5", "-success", "143"}, wait, true, 5},
		{"mapped again by nothing", []string{"-removed-exit", "5", "-success", "5"}, wait, true, 5},
		{"success alone", []string{"-success", "143"}, wait, true, 0},
		{"code of its own", []string{"-removed-exit", "5"}, "trap 'exit 9' TERM; " + wait, true, 5},
		{"not removed", []string{"-removed-exit", "5"}, "echo ready; exit 9", false, 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "p.pid")
			options := append([]string{"-pidfile", file, "-settle", "0"}, test.options...)
			r := start(t, how{}, append(options, "sh", "-c", test.script)...)
			r.expect(t, "ready")
			if test.remove {
				removeFile(t, file)
			}
			if test.code < 0 {
				r.expectSignal(t, syscall.SIGTERM)
			} else {
				r.expectCode(t, test.code)
			}
			expectEmptyDir(t, dir)
		})
	}
}

// Who has seen pidleash's end may start it again at once, or look for what it
// has left.
func TestFileGoneBeforeEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "p.pid")
	for i := range 200 {
		script := "test -s " + file
		if i%2 == 1 {
			script += " && kill -TERM $$"
		}
		status := ending(t, exec.Command(pidleash, "-pidfile", file, "sh", "-c", script))
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("after the end the PID file is there: %v", err)
		}
		if want := syscall.WaitStatus(i % 2 * int(syscall.SIGTERM)); status != want {
			t.Fatalf("pidleash ended by %s, want %s", describe(status), describe(want))
		}
	}
	expectEmptyDir(t, dir)
}

// PROGRAM's standard output ends with PROGRAM, whoever waits for it then.
func TestDeathSignal(t *testing.T) {
	t.Parallel()
	t.Run("default", func(t *testing.T) {
		p := startTeller(t, how{}, forEver)
		p.signal(syscall.SIGKILL)
		p.expectSignal(t, syscall.SIGKILL)
		if text := p.rest(t); text != "" {
			t.Errorf("PROGRAM wrote %q, want nothing", text)
		}
	})
	t.Run("TERM", func(t *testing.T) {
		p := startTeller(t, how{}, 1, "-pdeathsig", "TERM")
		p.signal(syscall.SIGKILL)
		p.got(t, syscall.SIGTERM)
	})
	t.Run("none", func(t *testing.T) {
		p := startTeller(t, how{}, forEver, "-pdeathsig", "none")
		p.signal(syscall.SIGKILL)
		p.expectSignal(t, syscall.SIGKILL)
		if err := syscall.Kill(p.program, syscall.SIGUSR1); err != nil {
			t.Error(err)
		}
		p.got(t, syscall.SIGUSR1)
		p.stdin.Close()
		if text := p.rest(t); text != "" {
			t.Errorf("PROGRAM wrote %q, want nothing", text)
		}
	})
}

// The parent-death signal comes when the thread ends that has forked. However
// many threads there are and come and go, this one stays.
func TestDeathSignalIsNotTheThreads(t *testing.T) {
	t.Parallel()
	for range 20 {
		p := startTeller(t, how{env: []string{"GOMAXPROCS=32", "GOGC=1"}}, forEver, "-pdeathsig", "USR2", "-log-level", "trace")
		p.roundTrips(t)
		p.finish(t)
	}
}

func TestProcessGroup(t *testing.T) {
	t.Parallel()
	p := startTeller(t, how{}, forEver)
	if p.group != p.program {
		t.Errorf("PROGRAM %d is in process group %d, want one of its own", p.program, p.group)
	}
	p.finish(t)
	p = startTeller(t, how{attr: &syscall.SysProcAttr{Setpgid: true}}, forEver, "-same-group")
	if p.group != p.pid() {
		t.Errorf("with -same-group PROGRAM is in process group %d, want pidleash's, %d", p.group, p.pid())
	}
	p.finish(t)
}

func TestProgramIsChild(t *testing.T) {
	t.Parallel()
	p := startTeller(t, how{}, forEver)
	if p.parent != p.pid() {
		t.Errorf("PROGRAM's parent is %d, want pidleash, %d", p.parent, p.pid())
	}
	p.finish(t)
}
