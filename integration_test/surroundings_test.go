package integration

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// prints makes PROGRAM a script whose output the test compares.
func (a *attempt) prints(t testing.TB, m startMode, script, want string) {
	t.Helper()
	a.shell(script)
	r := a.start(t, m)
	if got := strings.TrimSuffix(r.rest(t), "\n"); got != want {
		t.Errorf("%q: PROGRAM wrote %q, want %q\n%s", a.options, got, want, r.stderr())
	}
	conclusion{}.expect(t, r)
}

// inModes runs a test for PROGRAM as a child and as this process itself, which are
// two ways through the code.
func inModes(t *testing.T, test func(t *testing.T, m startMode)) {
	for _, m := range []startMode{startModes[0], startModes[4]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

// The output goes to the files directly, behind what is there.
func TestOutputFiles(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			a.how.umask, a.how.dir = "022", a.other
			a.options = []string{"-stdout", "out", "-stderr", "./err"}
			writeFile(t, a.other+"/err", "before\n", 0o604)
			script := `readlink /proc/self/fd/1; echo to err >&2; echo more; exec sleep 60`
			if strings.Contains(m.name, "forking") {
				script = "{ " + script + "; } &"
			}
			a.shell(script)
			a.start(t, m)
			await(t, "PROGRAM has written", func() bool {
				text, _ := os.ReadFile(a.other + "/out")
				return strings.HasSuffix(string(text), "more\n")
			})
			if got, want := readFile(t, a.other+"/out"), a.other+"/out\nmore\n"; got != want {
				t.Errorf("stdout has %q, want %q", got, want)
			}
			if got := readFile(t, a.other+"/err"); got != "before\nto err\n" {
				t.Errorf("stderr has %q", got)
			}
			expectMode(t, a.other+"/out", 0o640)
			expectMode(t, a.other+"/err", 0o604)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			a.leave(t)
		})
	}
}

func expectMode(t testing.TB, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != want {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
	}
}

// Two descriptors of one file lose nothing of each other.
func TestOutputInOneFile(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		a.options = []string{"-stdout", a.other + "/log", "-stderr", a.other + "/log"}
		a.prints(t, m, "echo one; echo two >&2; echo three; echo four >&2", "")
		if got := readFile(t, a.other+"/log"); got != "one\ntwo\nthree\nfour\n" {
			t.Errorf("the log has %q", got)
		}
	})
}

// The files are opened by who starts pidleash, not by PROGRAM's user.
func TestOutputFilesAreOpenedBefore(t *testing.T) {
	t.Parallel()
	needRoot(t)
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		must(t, os.Chmod(a.other, 0o700))
		a.options = []string{"-user", "nobody", "-stdout", a.other + "/log", "-umask", "077"}
		a.how.umask = "022"
		a.prints(t, m, "echo hello", "")
		if got := readFile(t, a.other+"/log"); got != "hello\n" {
			t.Errorf("the log has %q", got)
		}
		expectMode(t, a.other+"/log", 0o640)
	})
}

// A fifo without a reader would hold up the start for ever.
func TestOutputFifo(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			a.newGate(t)
			a.options = []string{"-stdout", a.other + "/gate"}
			conclusion{code: 125, line: "stdout .*/gate: cannot be opened: no such device or address; hint: nobody reads this fifo"}.expect(t, a.start(t, m))
			expectFiles(t, a.other, "gate")
			expectEmptyDir(t, a.dir)
		})
	}
}

// With a reader it is PROGRAM's, and blocks it as every fifo does.
func TestOutputFifoWithReader(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.newGate(t)
	reader, err := os.OpenFile(a.other+"/gate", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	defer reader.Close()
	a.options = []string{"-stdout", a.other + "/gate"}
	a.shell(`grep ^flags /proc/self/fdinfo/1`)
	conclusion{}.expect(t, a.start(t, startModes[0]))
	var buffer [100]byte
	n, _ := reader.Read(buffer[:])
	flags, err := strconv.ParseInt(strings.Fields(string(buffer[:n]) + " x x")[1], 8, 64)
	if err != nil || flags&syscall.O_NONBLOCK != 0 || flags&syscall.O_APPEND == 0 {
		t.Errorf("PROGRAM's descriptor: %q", buffer[:n])
	}
}

// PROGRAM is found from its own directory, the files from that of the start.
func TestChdir(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		must(t, os.Mkdir(a.other+"/sub", 0o755))
		writeFile(t, a.other+"/sub/script", "#!/bin/sh\npwd\n", 0o755)
		a.how.dir, a.pidfile = a.other, "./p.pid"
		a.options = []string{"-chdir", "sub", "-stdout", "out", "-supervisor-pidfile", "s.pid"}
		a.program = []string{"./script"}
		conclusion{}.expect(t, a.start(t, m))
		if got := readFile(t, a.other+"/out"); got != a.other+"/sub\n" {
			t.Errorf("PROGRAM is in %q", got)
		}
		await(t, "the PID files are gone", func() bool { return isGone(a.other+"/p.pid") && isGone(a.other+"/s.pid") })
		expectFiles(t, a.other, "out", "sub")
	})
}

func isGone(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

func TestUmask(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		a.options, a.how.env = []string{"-umask", "0137"}, []string{"LEASH_FILE=" + a.pidfile}
		a.prints(t, m, `umask; stat -c %a "$LEASH_FILE"`, "0137\n644")
	})
}

// who prints the identity that PROGRAM has.
const who = `id -u; id -g; id -G; echo $USER $LOGNAME $HOME`

func TestUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range []struct{ user, want string }{
		{"nobody", "65534\n65534\n65534\nnobody nobody /nonexistent"},
		{"65534", "65534\n65534\n65534\nnobody nobody /nonexistent"},
		{"nobody:daemon", "65534\n1\n1\nnobody nobody /nonexistent"},
		{"daemon:65534", "1\n65534\n65534\ndaemon daemon /usr/sbin"},
		{"4321:8765", "4321\n8765\n8765\nroot root /caller"},
	} {
		t.Run(c.user, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, m startMode) {
				a := newAttempt(t)
				a.how.env = []string{"USER=root", "LOGNAME=root", "HOME=/caller"}
				a.options = []string{"-user", c.user}
				a.prints(t, m, who, c.want)
			})
		})
	}
}

// The PID file stays root's: PROGRAM's user cannot have anybody else stopped.
func TestUserDoesNotOwnPIDFile(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			must(t, os.Chmod(a.dir, 0o755))
			a.super = a.dir + "/s.pid"
			a.options = []string{"-user", "nobody"}
			if strings.Contains(m.name, "forking") {
				a.program = []string{"sh", "-c", "sleep 60 &"}
			}
			a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			for _, file := range []string{a.pidfile, a.super} {
				info, err := os.Stat(file)
				must(t, err)
				if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 || info.Mode() != 0o644 {
					t.Errorf("%s belongs to %d and has mode %v", file, owner, info.Mode())
				}
			}
			a.leave(t)
		})
	}
}

func TestNiceAndOOMScoreAdj(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		a.options = []string{"-nice", "7", "-oom-score-adj", "321"}
		a.prints(t, m, "nice; cat /proc/self/oom_score_adj", "7\n321")
	})
}

// What needs root is done before PROGRAM has another user.
func TestNiceBeforeUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		a.options = []string{"-nice", "-3", "-oom-score-adj", "5", "-user", "nobody"}
		a.prints(t, m, "nice; cat /proc/self/oom_score_adj; id -u", "-3\n5\n65534")
	})
}

// A change of user clears the parent-death signal: it is set after that.
func TestDeathSignalWithUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	a := sleeper(t)
	a.options = []string{"-user", "nobody"}
	r := a.start(t, startModes[0])
	await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
	program := pidIn(t, a.pidfile)
	r.signal(syscall.SIGKILL)
	await(t, "PROGRAM dies, too", func() bool { return dead(program) })
}

// The stop command finds itself where PROGRAM is.
func TestStopCommandIsWhereProgramIs(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			a.options = []string{
				"-chdir", a.other, "-user", "nobody", "-umask", "0111", "-nice", "4", "-stdout", a.other + "/out",
				"-stop-command", "pwd; id -u; umask; nice; echo $USER; kill $MAINPID",
			}
			if strings.Contains(m.name, "forking") {
				a.program = []string{"sh", "-c", "sleep 60 &"}
			}
			a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			a.leave(t)
			if got, want := readFile(t, a.other+"/out"), a.other+"\n65534\n0111\n4\nnobody\n"; got != want {
				t.Errorf("the stop command wrote %q, want %q", got, want)
			}
		})
	}
}

// Every option by its variable; PROGRAM does not see them.
func TestSurroundingsByEnvironment(t *testing.T) {
	t.Parallel()
	needRoot(t)
	inModes(t, func(t *testing.T, m startMode) {
		a := newAttempt(t)
		a.how.env = []string{
			"PIDLEASH_STDOUT=" + a.other + "/out", "PIDLEASH_STDERR=" + a.other + "/err", "PIDLEASH_CHDIR=/", "PIDLEASH_UMASK=0123",
			"PIDLEASH_USER=nobody", "PIDLEASH_NICE=3", "PIDLEASH_OOM_SCORE_ADJ=99",
		}
		a.prints(t, m, "pwd; umask; id -u; nice; cat /proc/self/oom_score_adj; env | grep PIDLEASH_ >&2 || :", "")
		if got := readFile(t, a.other+"/out"); got != "/\n0123\n65534\n3\n99\n" {
			t.Errorf("PROGRAM wrote %q", got)
		}
		if got := readFile(t, a.other+"/err"); got != "" {
			t.Errorf("PROGRAM has the variables %q", got)
		}
	})
}

// What cannot mean anything is refused, with the reason.
func TestRefusedOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ options, line string }{
		{"-daemon -sidecar", "-daemon and -sidecar: "},
		{"-pidfile F -sidecar -forking", "-sidecar and -forking: "},
		{"-kill-mode group -same-group", "-kill-mode group and -same-group: "},
		{"-ready log", "-ready log: there is no log to look at"},
		{"-pidfile F -stdout F", "file DIR/f is given for two purposes"},
		{"-pidfile F -stderr F", "file DIR/f is given for two purposes"},
		{"-pidfile F -supervisor-pidfile F", "file DIR/f is given for two purposes"},
		{"-supervisor-pidfile F -stdout F", "file DIR/f is given for two purposes"},
		{"-settle 1s", "option -settle is about the removal of the PID file, and there is none"},
		{"-stop-command true", "option -stop-command is about the removal"},
		{"-removed-exit 0", "option -removed-exit is about the removal"},
		{"-stop TERM", "option -stop is about the removal"},
		{"-daemon -supervisor-pidfile F", "option -supervisor-pidfile is about the watchdog, and without a PID file there is none"},
		{"-daemon -pidfile F -success 3", "option -success is about pidleash's own end"},
		{"-sidecar -pidfile F -removed-exit 3", "option -removed-exit is about pidleash's own end"},
		{"-daemon -rewrite TERM:INT", "option -rewrite is about forwarding"},
		{"-daemon -pdeathsig KILL", "option -pdeathsig is about a child"},
		{"-forking -pdeathsig KILL", "option -pdeathsig is about a child"},
		{"-follow F", "option -follow is about a program that goes to the background"},
		{"-ready-file F", "option -ready-file is about -ready log"},
		{"-pidfile F -sidecar -ready exec", "option -ready is without effect with -sidecar"},
		{"-start-timeout 1s", "option -start-timeout is about the program's readiness"},
		{"-sidecar", "-sidecar is about a PID file, and there is none"},
		{"-daemon -kill-mode tree", "-kill-mode tree and -daemon: "},
		{"-sidecar -pidfile F -kill-mode tree", "-kill-mode tree and -sidecar: "},
		{"-daemon -same-group", "-same-group and -daemon: "},
		{"-umask 8", `option -umask "8": no umask`},
		{"-umask 1000", `option -umask "1000": no umask`},
		{"-nice 20", `option -nice "20": no such number`},
		{"-nice -21", `option -nice "-21": no such number`},
		{"-oom-score-adj 1001", `option -oom-score-adj "1001": no such number`},
		{"-user 54321", `option -user "54321": no such user in /etc/passwd, so its group must be given`},
		{"-user root:no-such-group", `option -user "root:no-such-group": no such group in /etc/group`},
		{"-ready fd:2", `option -ready "fd:2": no descriptor from 3 on`},
		{"-ready soon", `option -ready "soon": no such condition`},
		{"-ready 0s", `option -ready "0s": no such condition`},
		{"-start-timeout -1s", `option -start-timeout "-1s": no duration`},
	} {
		t.Run(c.options, func(t *testing.T) {
			t.Parallel()
			dir := openDir(t)
			options := strings.Fields(strings.ReplaceAll(c.options, "F", dir+"/f"))
			expectUsageError(t, []string{"PIDFILE="}, options, strings.ReplaceAll(c.line, "DIR", dir))
			expectEmptyDir(t, dir)
		})
	}
}
