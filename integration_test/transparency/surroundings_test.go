package transparency

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// prints makes PROGRAM a script whose output the test compares.
func prints(a *bed.Attempt, t testing.TB, m bed.StartMode, script, want string) {
	t.Helper()
	a.Shell(script)
	r := a.Start(t, m)
	if got := strings.TrimSuffix(r.Rest(t), "\n"); got != want {
		t.Errorf("%q: PROGRAM wrote %q, want %q\n%s", a.Options, got, want, r.Stderr())
	}
	bed.Conclusion{}.Expect(t, r)
}

// inModes runs a test for PROGRAM as a child and as this process itself, which are
// two ways through the code.
func inModes(t *testing.T, test func(t *testing.T, m bed.StartMode)) {
	for _, m := range []bed.StartMode{bed.StartModes[0], bed.StartModes[4]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

// The output goes to the files directly, behind what is there.
func TestOutputFiles(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.How.Umask, a.How.Dir = "022", a.Other
			a.Options = []string{"-stdout", "out", "-stderr", "./err"}
			bed.WriteFile(t, a.Other+"/err", "before\n", 0o604)
			script := `readlink /proc/self/fd/1; echo to err >&2; echo more; exec sleep 600`
			if strings.Contains(m.Name, "forking") {
				script = "{ " + script + "; } &"
			}
			a.Shell(script)
			a.Start(t, m)
			bed.Await(t, "PROGRAM has written", func() bool {
				text, _ := os.ReadFile(a.Other + "/out")
				return strings.HasSuffix(string(text), "more\n")
			})
			if got, want := bed.ReadFile(t, a.Other+"/out"), a.Other+"/out\nmore\n"; got != want {
				t.Errorf("stdout has %q, want %q", got, want)
			}
			if got := bed.ReadFile(t, a.Other+"/err"); got != "before\nto err\n" {
				t.Errorf("stderr has %q", got)
			}
			expectMode(t, a.Other+"/out", 0o640)
			expectMode(t, a.Other+"/err", 0o604)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			a.Leave(t)
		})
	}
}

func expectMode(t testing.TB, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	bed.Must(t, err)
	if info.Mode() != want {
		t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
	}
}

// Two descriptors of one file lose nothing of each other.
func TestOutputInOneFile(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		a.Options = []string{"-stdout", a.Other + "/log", "-stderr", a.Other + "/log"}
		prints(a, t, m, "echo one; echo two >&2; echo three; echo four >&2", "")
		if got := bed.ReadFile(t, a.Other+"/log"); got != "one\ntwo\nthree\nfour\n" {
			t.Errorf("the log has %q", got)
		}
	})
}

// The files are opened by who starts pidleash, not by PROGRAM's user.
func TestOutputFilesAreOpenedBefore(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		bed.Must(t, os.Chmod(a.Other, 0o700))
		a.Options = []string{"-user", "nobody", "-stdout", a.Other + "/log", "-umask", "077"}
		a.How.Umask = "022"
		prints(a, t, m, "echo hello", "")
		if got := bed.ReadFile(t, a.Other+"/log"); got != "hello\n" {
			t.Errorf("the log has %q", got)
		}
		expectMode(t, a.Other+"/log", 0o640)
	})
}

// A fifo without a reader would hold up the start for ever.
func TestOutputFifo(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.NewGate(t)
			a.Options = []string{"-stdout", a.Other + "/gate"}
			bed.Conclusion{Code: 125, Line: "stdout .*/gate: cannot be opened: no such device or address; hint: nobody reads this fifo"}.Expect(t, a.Start(t, m))
			bed.ExpectFiles(t, a.Other, "gate")
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// With a reader it is PROGRAM's, and blocks it as every fifo does.
func TestOutputFifoWithReader(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	reader, err := os.OpenFile(a.Other+"/gate", os.O_RDONLY|syscall.O_NONBLOCK, 0)
	bed.Must(t, err)
	defer reader.Close()
	a.Options = []string{"-stdout", a.Other + "/gate"}
	a.Shell(`grep ^flags /proc/self/fdinfo/1`)
	bed.Conclusion{}.Expect(t, a.Start(t, bed.StartModes[0]))
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
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		bed.Must(t, os.Mkdir(a.Other+"/sub", 0o755))
		bed.WriteFile(t, a.Other+"/sub/script", "#!/bin/sh\npwd\n", 0o755)
		a.How.Dir, a.PIDFile = a.Other, "./p.pid"
		a.Options = []string{"-chdir", "sub", "-stdout", "out", "-supervisor-pidfile", "s.pid"}
		a.Program = []string{"./script"}
		bed.Conclusion{}.Expect(t, a.Start(t, m))
		if got := bed.ReadFile(t, a.Other+"/out"); got != a.Other+"/sub\n" {
			t.Errorf("PROGRAM is in %q", got)
		}
		bed.Await(t, "the PID files are gone", func() bool { return bed.IsGone(a.Other+"/p.pid") && bed.IsGone(a.Other+"/s.pid") })
		bed.ExpectFiles(t, a.Other, "out", "sub")
	})
}

func TestUmask(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		a.Options, a.How.Env = []string{"-umask", "0137"}, []string{"LEASH_FILE=" + a.PIDFile}
		prints(a, t, m, `umask; stat -c %a "$LEASH_FILE"`, "0137\n644")
	})
}

// who prints the identity that PROGRAM has.
const who = `id -u; id -g; id -G; echo $USER $LOGNAME $HOME`

func TestUser(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, c := range []struct{ user, want string }{
		{"nobody", "65534\n65534\n65534\nnobody nobody /nonexistent"},
		{"65534", "65534\n65534\n65534\nnobody nobody /nonexistent"},
		{"nobody:daemon", "65534\n1\n1\nnobody nobody /nonexistent"},
		{"daemon:65534", "1\n65534\n65534\ndaemon daemon /usr/sbin"},
		{"4321:8765", "4321\n8765\n8765\nroot root /caller"},
	} {
		t.Run(c.user, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, m bed.StartMode) {
				a := bed.NewAttempt(t)
				a.How.Env = []string{"USER=root", "LOGNAME=root", "HOME=/caller"}
				// Groups to lose: a tester may have none.
				a.How.Attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Groups: []uint32{7, 8}}}
				a.Options = []string{"-user", c.user}
				prints(a, t, m, who, c.want)
			})
		})
	}
}

// The PID file stays root's: PROGRAM's user cannot have anybody else stopped.
func TestUserDoesNotOwnPIDFile(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			bed.Must(t, os.Chmod(a.Dir, 0o755))
			a.Super = a.Dir + "/s.pid"
			a.Options = []string{"-user", "nobody"}
			if strings.Contains(m.Name, "forking") {
				a.Program = []string{"sh", "-c", "sleep 600 &"}
			}
			a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			for _, file := range []string{a.PIDFile, a.Super} {
				info, err := os.Stat(file)
				bed.Must(t, err)
				if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 || info.Mode() != 0o644 {
					t.Errorf("%s belongs to %d and has mode %v", file, owner, info.Mode())
				}
			}
			a.Leave(t)
		})
	}
}

func TestNiceAndOOMScoreAdj(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		a.Options = []string{"-nice", "7", "-oom-score-adj", "321"}
		prints(a, t, m, "nice; cat /proc/self/oom_score_adj", "7\n321")
	})
}

// What needs root is done before PROGRAM has another user.
func TestNiceBeforeUser(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		a.Options = []string{"-nice", "-3", "-oom-score-adj", "5", "-user", "nobody"}
		prints(a, t, m, "nice; cat /proc/self/oom_score_adj; id -u", "-3\n5\n65534")
	})
}

// A change of user clears the parent-death signal: it is set after that.
func TestDeathSignalWithUser(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	a := bed.Sleeper(t)
	a.Options = []string{"-user", "nobody"}
	r := a.Start(t, bed.StartModes[0])
	bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
	program := bed.PIDIn(t, a.PIDFile)
	r.Signal(syscall.SIGKILL)
	bed.Await(t, "PROGRAM dies, too", func() bool { return bed.Ended(program) })
}

// The stop command finds itself where PROGRAM is.
func TestStopCommandIsWhereProgramIs(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			a.Options = []string{
				"-chdir", a.Other, "-user", "nobody", "-umask", "0111", "-nice", "4", "-stdout", a.Other + "/out",
				"-stop-command", "pwd; id -u; umask; nice; echo $USER; kill $MAINPID",
			}
			if strings.Contains(m.Name, "forking") {
				a.Program = []string{"sh", "-c", "sleep 600 &"}
			}
			r := a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			switch {
			case m.Name == "forking":
				bed.AwaitWatched(t, r, a.PIDFile) // the daemon is known
			case strings.HasPrefix(m.Name, "daemon"):
				bed.Conclusion{}.Expect(t, r)
			}
			a.Leave(t)
			if got, want := bed.ReadFile(t, a.Other+"/out"), a.Other+"\n65534\n0111\n4\nnobody\n"; got != want {
				t.Errorf("the stop command wrote %q, want %q", got, want)
			}
		})
	}
}

// Every option by its variable; PROGRAM does not see them.
func TestSurroundingsByEnvironment(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	inModes(t, func(t *testing.T, m bed.StartMode) {
		a := bed.NewAttempt(t)
		a.How.Env = []string{
			"PIDLEASH_STDOUT=" + a.Other + "/out", "PIDLEASH_STDERR=" + a.Other + "/err", "PIDLEASH_CHDIR=/", "PIDLEASH_UMASK=0123",
			"PIDLEASH_USER=nobody", "PIDLEASH_NICE=3", "PIDLEASH_OOM_SCORE_ADJ=99",
		}
		prints(a, t, m, "pwd; umask; id -u; nice; cat /proc/self/oom_score_adj; env | grep PIDLEASH_ >&2 || :", "")
		if got := bed.ReadFile(t, a.Other+"/out"); got != "/\n0123\n65534\n3\n99\n" {
			t.Errorf("PROGRAM wrote %q", got)
		}
		if got := bed.ReadFile(t, a.Other+"/err"); got != "" {
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
		{"-daemon -drain 1s", "option -drain is about forwarding"},
		{"-drain 1s -rewrite TERM:none", "option -drain is about TERM, and -rewrite drops it"},
		{"-daemon -wait-all", "option -wait-all is about pidleash's own end"},
		{"-forking -wait-all", "option -wait-all is about a program that stays in the foreground"},
		{"-wait-all -kill-mode tree", "option -wait-all waits for those whom -kill-mode tree stops"},
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
		{"-umask 8", `option -umask "8": invalid umask`},
		{"-umask 1000", `option -umask "1000": invalid umask`},
		{"-nice 20", `option -nice "20": invalid number`},
		{"-nice -21", `option -nice "-21": invalid number`},
		{"-oom-score-adj 1001", `option -oom-score-adj "1001": invalid number`},
		{"-user 54321", `option -user "54321": no such user in /etc/passwd, so its group must be given`},
		{"-user root:no-such-group", `option -user "root:no-such-group": no such group in /etc/group`},
		{"-ready fd:2", `option -ready "fd:2": not a descriptor from 3 to 65535`},
		{"-ready fd:65536", `option -ready "fd:65536": not a descriptor from 3 to 65535`},
		{"-ready tcp:0", `option -ready "tcp:0": not a port from 1 to 65535: "0"`},
		{"-ready tcp:::1:80", `option -ready "tcp:::1:80": not localhost, an IPv4 address, or an IPv6 address in brackets: "::1"`},
		{"-ready tcp:example.org:80", `option -ready "tcp:example.org:80": not localhost, an IPv4 address, or an IPv6 address in brackets: "example.org"`},
		{"-ready cmd:", `option -ready "cmd:": no command`},
		{"-ready soon", `option -ready "soon": unknown condition`},
		{"-ready 0s", `option -ready "0s": unknown condition`},
		{"-start-timeout -1s", `option -start-timeout "-1s": invalid duration`},
	} {
		t.Run(c.options, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			options := strings.Fields(strings.ReplaceAll(c.options, "F", dir+"/f"))
			bed.ExpectUsageError(t, []string{"PIDFILE="}, options, strings.ReplaceAll(c.line, "DIR", dir))
			bed.ExpectEmptyDir(t, dir)
		})
	}
}
