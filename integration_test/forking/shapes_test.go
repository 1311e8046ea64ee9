package forking

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// by is how pidleash knows the daemon's own file.
type by string

const (
	byPath   by = "path"   // it is the one of -pidfile
	byFollow by = "follow" // -follow names it
	byNone   by = "none"   // there is none
)

// shaped is a daemon of testdata/shapes.c on its leash.
type shaped struct {
	*bed.Attempt
	run    *bed.Run
	own    string // the daemon's own file; empty: none
	daemon bool   // with -daemon
}

// inShapes runs a test in the foreground and in the background, for each way to know the file.
func inShapes(t *testing.T, ways []by, test func(t *testing.T, background bool, b by)) {
	for _, background := range []bool{false, true} {
		for _, b := range ways {
			t.Run(fmt.Sprintf("%s/%s", map[bool]string{false: "foreground", true: "daemon"}[background], b), func(t *testing.T) {
				t.Parallel()
				test(t, background, b)
			})
		}
	}
}

var everyWay = []by{byPath, byFollow, byNone}

// startShape starts one, in whose words FILE stands for the daemon's own file.
func startShape(t *testing.T, background bool, b by, words ...string) *shaped {
	t.Helper()
	return startShapeWith(t, nil, background, b, words...)
}

// startShapeWith also has options of pidleash.
func startShapeWith(t *testing.T, options []string, background bool, b by, words ...string) *shaped {
	t.Helper()
	s := &shaped{Attempt: bed.NewAttempt(t), daemon: background}
	options = append(options, "-forking")
	if background {
		options = append(options, "-daemon")
	} else {
		options = append(options, "-log-level", "info")
	}
	switch b {
	case byPath:
		s.own = s.PIDFile
	case byFollow:
		s.own = s.Other + "/own.pid"
		options = append(options, "-follow", s.own)
	}
	s.Program = []string{bed.CompileC(t, "shapes.c")}
	for _, word := range words {
		if word != "FILE" {
			s.Program = append(s.Program, word)
		} else if s.own != "" {
			s.Program = append(s.Program, s.own)
		}
	}
	s.run = s.Start(t, bed.StartMode{Options: options})
	if background {
		s.run.ExpectCode(t, 0)
	} else {
		s.run.AwaitStderr(t, "is the daemon")
	}
	return s
}

// shapes are the living processes of the program.
func (s *shaped) shapes() []int {
	return slices.DeleteFunc(s.Mark.Bearers(), func(pid int) bool {
		words, _ := os.ReadFile(bed.ProcFile(pid, "cmdline"))
		name, _, _ := strings.Cut(string(words), "\x00")
		return filepath.Base(name) != "shapes" || bed.Ended(pid)
	})
}

// comm is the name that a process has given itself.
func comm(pid int) string {
	name, _ := os.ReadFile(bed.ProcFile(pid, "comm"))
	return strings.TrimSuffix(string(name), "\n")
}

// named is whom the PID file names; 0: nobody.
func (s *shaped) named() int {
	text, _ := os.ReadFile(s.PIDFile)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// settled waits until only the daemon is left, which has given itself a name, and the PID file names it.
func (s *shaped) settled(t *testing.T, what string, others ...int) (pid int) {
	t.Helper()
	if !bed.Poll(func() bool {
		left := s.shapes()
		if len(left) != 1 || slices.Contains(others, left[0]) {
			return false
		}
		pid = left[0]
		name := comm(pid) // empty: it has ended meanwhile
		return s.named() == pid && name != "" && name != "shapes"
	}) {
		t.Fatalf("%s: the file names %d, there are %v\n%s", what, s.named(), s.shapes(), s.run.Stderr())
	}
	return pid
}

// succeeded waits until only another daemon is left, and pidleash follows that.
func (s *shaped) succeeded(t *testing.T, what string, others ...int) (pid int) {
	t.Helper()
	pid = s.settled(t, what, others...)
	if !bed.Poll(func() bool {
		if !s.daemon {
			return strings.Contains(s.run.Stderr(), fmt.Sprintf("PID %d is the daemon", pid)) ||
				strings.Contains(s.run.Stderr(), fmt.Sprintf("PID %d, following that", pid))
		}
		files, _ := filepath.Glob(bed.ProcFile(s.Mark.Watchdog(), "fdinfo/*"))
		return slices.ContainsFunc(files, func(file string) bool { // a pidfd's, proc_pid_fdinfo(5)
			text, _ := os.ReadFile(file)
			return strings.Contains(string(text), fmt.Sprintf("\nPid:\t%d\n", pid))
		})
	}) {
		t.Fatalf("%s, PID %d, is not followed; the file names %d, the watchdog is %d\n%s", what, pid, s.named(), s.Mark.Watchdog(), s.run.Stderr())
	}
	return pid
}

// leave removes the file, and expects that everything ends.
func (s *shaped) leave(t *testing.T) {
	t.Helper()
	s.Leave(t)
	if t.Failed() {
		t.Log(s.run.Stderr())
	}
}

// The middle process of a double fork takes its time, asleep or busy.
func TestMiddleProcess(t *testing.T) {
	t.Parallel()
	for _, middle := range []string{"middle 0 0", "middle 60 0", "middle 100 0", "middle 400 0", "middle 700 0", "middle 0 60", "middle 0 700", "slow 100"} {
		t.Run(middle, func(t *testing.T) {
			inShapes(t, everyWay, func(t *testing.T, background bool, b by) {
				s := startShape(t, background, b, append(strings.Fields(middle), "FILE")...)
				bed.Await(t, "a PID file", func() bool { return s.named() != 0 })
				first := s.named()
				if pid := s.settled(t, "the daemon"); pid != first {
					t.Errorf("the file has first named PID %d, the daemon is PID %d", first, pid)
				}
				s.leave(t)
			})
		})
	}
}

// The starter may have waited for the started process before pidleash hears of it. pidleash knows the session all the
// same: a process that is still in that session is not the daemon yet.
func TestMiddleProcessOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	s := &shaped{Attempt: bed.NewAttempt(t), daemon: true}
	s.How.Before = []string{"strace", "-f", "-qq", "-o", s.Other + "/trace", "-e", "trace=getsid", "-e", "inject=getsid:delay_enter=60000:when=1"}
	s.Program = []string{bed.CompileC(t, "shapes.c"), "slow", "300"}
	s.run = s.Start(t, bed.StartMode{Options: []string{"-daemon", "-forking"}})
	bed.Await(t, "a PID file", func() bool { return s.named() != 0 })
	first := s.named()
	if pid := s.settled(t, "the daemon"); pid != first {
		t.Errorf("the file has first named PID %d, the daemon is PID %d", first, pid)
	}
	s.leave(t)
}

// A middle process that takes longer than anybody waits is mended when it ends.
func TestGuessMendsItself(t *testing.T) {
	t.Parallel()
	inShapes(t, []by{byNone}, func(t *testing.T, background bool, b by) {
		s := startShape(t, background, b, "middle", "1800", "0")
		s.succeeded(t, "the daemon")
		for _, pid := range append(s.Mark.Bearers(), s.run.PID()) {
			if bed.IsLockedBy(t, s.PIDFile, pid) {
				t.Errorf("PID %d has locked the daemon's file", pid)
			}
		}
		s.leave(t)
	})
}

// In a container nobody may wait for the middle process: how it has ended is known all the same.
func TestGuessMendsItselfBelowACarelessParent(t *testing.T) {
	t.Parallel()
	s := &shaped{Attempt: bed.NewAttempt(t), daemon: true}
	s.How.Before = []string{bed.CompileC(t, "careless.c")}
	s.Program = []string{bed.CompileC(t, "shapes.c"), "middle", "1300", "0"}
	s.run = s.Start(t, bed.StartMode{Options: []string{"-daemon", "-forking"}})
	s.succeeded(t, "the daemon")
	bed.RemoveFile(t, s.PIDFile)
	bed.Await(t, "the end of the daemon and of its watchdog", func() bool {
		return len(s.shapes()) == 0 && bed.IsEmpty(s.Dir) && s.Mark.Watchdog() == 0
	})
	s.run.Stdin.Close()
	s.run.ExpectCode(t, 0)
	s.Mark.ExpectNobody(t)
}

// A bare double fork always leaves a daemon behind, whatever a single look at /proc has shown.
func TestDoubleForkIsFound(t *testing.T) {
	t.Parallel()
	inShapes(t, []by{byNone}, func(t *testing.T, background bool, b by) {
		for range 20 {
			s := startShape(t, background, b, "middle", "0", "0")
			s.settled(t, "the daemon")
			s.leave(t)
		}
	})
}

// A daemon that looks at its file late finds nothing of pidleash's there.
func TestLateFile(t *testing.T) {
	t.Parallel()
	inShapes(t, []by{byPath, byFollow}, func(t *testing.T, background bool, b by) {
		s := startShape(t, background, b, "late", "FILE", "1000")
		pid := s.settled(t, "the daemon")
		bed.Await(t, "the daemon's file", func() bool { return comm(pid) == "published" })
		s.leave(t)
	})
}

// systemd must be the daemon's parent when the caller has ended.
func TestParentLingers(t *testing.T) {
	t.Parallel()
	for _, b := range []by{byPath, byFollow, byNone} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			s := startShape(t, true, b, "lingers", "FILE", "1500")
			if left := s.shapes(); len(left) != 1 {
				t.Errorf("at the end of the start there are %v", left)
			}
			s.settled(t, "the daemon")
			s.leave(t)
		})
	}
}

// Longer than five seconds nobody waits for that.
func TestParentStays(t *testing.T) {
	t.Parallel()
	s := startShape(t, true, byPath, "lingers", "FILE", "60000")
	s.run.ExpectCode(t, 0)
	pid := s.named()
	s.run.ExpectOneLine(t, fmt.Sprintf("PID %d is the child of PID [0-9]+, which has not ended after 5s; the service manager does not see its end", pid))
	for _, other := range s.shapes() {
		if other != pid {
			bed.Must(t, syscall.Kill(other, syscall.SIGKILL))
		}
	}
	s.leave(t)
}

// On HUP the daemon removes its file, executes itself, and goes to the background again.
func TestReexecution(t *testing.T) {
	t.Parallel()
	inShapes(t, []by{byPath, byFollow}, func(t *testing.T, background bool, b by) {
		s := startShape(t, background, b, "hup", "FILE", "300")
		pid := s.settled(t, "the daemon")
		for range 2 {
			stamp := changed(t, s.own)
			bed.Must(t, syscall.Kill(pid, syscall.SIGHUP))
			bed.Await(t, "a new file", func() bool { return changed(t, s.own) != stamp && !bed.IsGone(s.own) })
			pid = s.succeeded(t, "the daemon after HUP")
		}
		s.leave(t)
	})
}

// changed is when a file was written last; 0: there is none.
func changed(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.ModTime().UnixNano()
}

// On USR2 the daemon executes itself, and another process is the daemon.
func TestGoesToTheBackgroundAgain(t *testing.T) {
	t.Parallel()
	inShapes(t, everyWay, func(t *testing.T, background bool, b by) {
		s := startShape(t, background, b, "again", "FILE")
		pid := s.settled(t, "the daemon")
		keeper := s.Mark.Watchdog()
		bed.Must(t, syscall.Kill(pid, syscall.SIGUSR2))
		if background && b == byNone {
			// The new daemon falls to the service manager. Where nothing ties it to the old one, it is not followed.
			isNamed := func() bool { left := s.shapes(); return len(left) == 1 && left[0] != pid && s.named() == left[0] }
			bed.Await(t, "the keeper follows or ends", func() bool {
				return isNamed() || bed.Ended(keeper) && bed.IsGone(s.PIDFile)
			})
			for _, left := range s.shapes() {
				bed.Must(t, syscall.Kill(left, syscall.SIGKILL))
			}
			s.Mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, s.Dir)
			return
		}
		pid = s.succeeded(t, "the daemon after USR2", pid)
		bed.Must(t, syscall.Kill(pid, syscall.SIGUSR2))
		s.succeeded(t, "the daemon after the second USR2", pid)
		s.leave(t)
	})
}

// The workers of the new daemon are no successors of the old one, in whose session they are not. One that computes in
// that session may still leave it.
func TestPoolGoesToTheBackgroundAgain(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{"direct": {"pool"}, "forwarded": {"pool"}, "busy": {"pool", "300"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startShape(t, false, byNone, words...)
			daemon := 0
			bed.Await(t, "the daemon and its workers", func() bool {
				daemon = s.named() // a middle process may have been taken for the daemon before
				return comm(daemon) == "published" && len(s.shapes()) == 3
			})
			to := s.run.PID()
			if name == "direct" {
				to = daemon
			}
			bed.Must(t, syscall.Kill(to, syscall.SIGUSR2))
			s.run.AwaitStderr(t, fmt.Sprintf("PID %d is succeeded by PID", daemon))
			bed.Await(t, "the file names the new daemon", func() bool {
				pid := s.named()
				return pid != daemon && comm(pid) == "published" && slices.Contains(s.shapes(), pid)
			})
			s.leave(t)
		})
	}
}

// -drain goes on when another process takes the daemon's place: the successor gets the TERM at the end of the drain, or
// when a second TERM comes.
func TestDrainOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	s := startShapeWith(t, []string{"-drain", bed.Never}, false, byPath, "again", "FILE")
	pid := s.settled(t, "the daemon")
	bed.Must(t, syscall.Kill(s.run.PID(), syscall.SIGTERM))
	s.run.AwaitStderr(t, "received SIGTERM, forwarding it")
	for _, what := range []string{"the successor", "the second successor"} { // a TERM would have ended the first one
		bed.Must(t, syscall.Kill(pid, syscall.SIGUSR2))
		pid = s.succeeded(t, what, pid)
	}
	bed.Must(t, syscall.Kill(s.run.PID(), syscall.SIGTERM))
	s.run.ExpectCode(t, 0)
	s.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, s.Dir)
}

// On USR2 another process starts, and takes the place of the old one when that ends.
func TestUpgradeBySecondFile(t *testing.T) {
	t.Parallel()
	for _, stay := range [][]string{nil, {"stay"}} {
		t.Run(strings.Join(append(stay, "upgrade"), " "), func(t *testing.T) {
			inShapes(t, everyWay, func(t *testing.T, background bool, b by) {
				if b == byNone && (background || stay != nil) {
					return // not followed, see TestLostDaemonIsNamed; never up, because only a file would tell
				}
				s := startShape(t, background, b, append([]string{"usr2", "FILE"}, stay...)...)
				pid := s.settled(t, "the daemon")
				bed.Await(t, "its handler of USR2", func() bool { return comm(pid) == "published" })
				end := syscall.SIGTERM
				if b == byNone {
					end = syscall.SIGQUIT // which is not how a middle process of a double fork ends
				}
				for range 2 {
					s.startNext(t, pid)
					bed.Must(t, syscall.Kill(pid, end))
					// The keeper may be faster and write the file: a removal before the renaming would be undone.
					bed.Await(t, "the new daemon has renamed its file", func() bool {
						left := s.shapes()
						return len(left) == 1 && left[0] != pid && comm(left[0]) == "renamed"
					})
					pid = s.succeeded(t, "the new daemon", pid)
				}
				s.leave(t)
			})
		})
	}
}

// startNext has the daemon start its successor, and waits for that.
func (s *shaped) startNext(t *testing.T, pid int) (next int) {
	t.Helper()
	bed.Must(t, syscall.Kill(pid, syscall.SIGUSR2))
	bed.Await(t, "the successor", func() bool {
		for _, next = range s.shapes() {
			if next != pid && comm(next) == "published" {
				return true
			}
		}
		return false
	})
	return next
}

// With -daemon, where nothing tells which process is the daemon now, nobody is followed: who is left is named.
func TestLostDaemonIsNamed(t *testing.T) {
	t.Parallel()
	s := &shaped{Attempt: bed.NewAttempt(t), daemon: true}
	log := s.Other + "/log"
	s.Program = []string{bed.CompileC(t, "shapes.c"), "usr2"}
	s.run = s.Start(t, bed.StartMode{Options: []string{"-daemon", "-forking", "-log-level", "trace", "-stderr", log}})
	s.run.ExpectCode(t, 0)
	pid := s.settled(t, "the daemon")
	bed.Await(t, "its handler of USR2", func() bool { return comm(pid) == "published" })
	next := s.startNext(t, pid)
	// A look notes who has come of the daemon. The mode is the file's own: only its event is wanted.
	looks := func() int { return strings.Count(bed.ReadFile(t, log), "looked: ") }
	before := looks()
	bed.Must(t, os.Chmod(s.PIDFile, 0o644))
	bed.Await(t, "a look at the file", func() bool { return looks() > before })
	bed.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	want := fmt.Sprintf("PID %d has ended, and of it PIDs [%d] live on, which nobody watches", pid, next)
	bed.Await(t, want, func() bool { return strings.Contains(bed.ReadFile(t, log), want) })
	bed.Must(t, syscall.Kill(next, syscall.SIGKILL))
	s.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, s.Dir)
}

// A daemon that writes its file anew at the first TERM ends by the second, and pidleash with it.
func TestSecondTermAfterNewFile(t *testing.T) {
	t.Parallel()
	inShapes(t, []by{byPath, byFollow}, func(t *testing.T, background bool, b by) {
		s := startShape(t, background, b, "renews", "FILE")
		pid := s.settled(t, "the daemon")
		to := pid
		if !background {
			to = s.run.PID()
		}
		stamp := changed(t, s.own)
		bed.Must(t, syscall.Kill(to, syscall.SIGTERM))
		bed.Await(t, "a new file", func() bool { return changed(t, s.own) != stamp && !bed.IsGone(s.own) })
		bed.Must(t, syscall.Kill(to, syscall.SIGTERM))
		s.Mark.ExpectNobody(t)
		bed.ExpectEmptyDir(t, s.Dir)
	})
}

// Who is to write the file anew is missed by one reading of /proc, and not lost.
func TestSuccessorThatNobodySees(t *testing.T) {
	t.Parallel()
	inShapes(t, []by{byPath, byFollow}, func(t *testing.T, background bool, b by) {
		s := startShape(t, background, b, "flees", "FILE")
		pid := s.settled(t, "the daemon")
		bed.Await(t, "its handler of USR2", func() bool { return comm(pid) == "published" })
		bed.Must(t, syscall.Kill(pid, syscall.SIGUSR2))
		s.succeeded(t, "the daemon after USR2", pid)
		s.leave(t)
	})
}

// startSettled starts a daemon that is found before it has a session of its own, in which it then has a worker.
func startSettled(t *testing.T, background bool, options ...string) (s *shaped, pid int) {
	t.Helper()
	s = startShapeWith(t, options, background, byNone, "settles")
	pid = s.succeeded(t, "the daemon")
	bed.Await(t, "its handler of USR1", func() bool { return comm(pid) == "published" })
	bed.Must(t, syscall.Kill(pid, syscall.SIGUSR1))
	bed.Await(t, "its worker", func() bool { return comm(pid) == "settled" })
	return s, pid
}

// A daemon that makes its session after it was found is stopped with all that it has there.
func TestSessionAfterTheStart(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{nil, {"-kill-mode", "group"}, {"-stop-command", "kill $MAINPID"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			inShapes(t, []by{byNone}, func(t *testing.T, background bool, _ by) {
				s, _ := startSettled(t, background, options...)
				s.leave(t)
			})
		})
	}
}

// A forwarded signal comes without a look at the file before it.
func TestSessionAfterTheStartForwards(t *testing.T) {
	t.Parallel()
	s, _ := startSettled(t, false, "-kill-mode", "group")
	s.run.Signal(syscall.SIGTERM)
	s.run.ExpectCode(t, 0)
	s.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, s.Dir)
}

// Its worker is none that succeeds it.
func TestSessionAfterTheStartCrash(t *testing.T) {
	t.Parallel()
	s, pid := startSettled(t, false)
	bed.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	s.run.ExpectSignal(t, syscall.SIGKILL)
	left := s.shapes()
	s.run.AwaitStderr(t, fmt.Sprintf("PID %d has ended, and of it PIDs \\[%d\\] live on, which nobody watches", pid, left[0]))
	for _, worker := range left {
		bed.Must(t, syscall.Kill(worker, syscall.SIGKILL))
	}
	s.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, s.Dir)
}

// A program that goes to the background without -forking is lost, but not silently.
func TestBackgroundWithoutForking(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		if strings.Contains(m.Name, "forking") {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			log := a.Other + "/log"
			a.Options = []string{"-stderr", log}
			if m.Name != "foreground" {
				a.Options = append(a.Options, "-log-level", "trace")
			}
			a.Program = []string{bed.CompileC(t, "shapes.c"), "escapes", a.Other + "/pid", a.Other + "/go"}
			r := a.Start(t, m)
			said := func() string {
				text, _ := os.ReadFile(log)
				return string(text) + r.Stderr()
			}
			left := 0
			bed.Await(t, "the daemon", func() bool {
				text, _ := os.ReadFile(a.Other + "/pid")
				n, _ := fmt.Sscanf(string(text), "%d\n", &left)
				return n == 1
			})
			want := fmt.Sprintf("shapes has ended, and PID %d of it lives on in a session of its own; hint: -forking", left)
			if m.Name == "foreground" {
				bed.WriteFile(t, a.Other+"/go", "", 0o600)
				r.ExpectCode(t, 0)
				r.ExpectOneLine(t, want)
			} else {
				bed.Await(t, "the watchdog is alone", func() bool { return strings.Contains(said(), "event=answered") })
				bed.WriteFile(t, a.Other+"/go", "", 0o600)
				bed.Await(t, want, func() bool { return strings.Contains(said(), want) })
			}
			bed.Must(t, syscall.Kill(left, syscall.SIGKILL))
			a.Mark.ExpectNobody(t)
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// Which of two is the daemon nobody can tell. There is one hint in the line, and it is the last word.
func TestTwoDaemons(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		if !strings.Contains(m.Name, "forking") {
			continue
		}
		for _, log := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s log=%t", m.Name, log), func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				a.Shell(`setsid sleep 600 & setsid sleep 600 & echo started >&2`)
				words := ""
				if log {
					a.Options = []string{"-stderr", a.Other + "/log"}
					words = "; " + a.Other + `/log: "started"`
				}
				r := a.Start(t, m)
				r.ExpectCode(t, 125)
				line := regexp.MustCompile(`(?m)^pidleash: sh: has left 2 processes behind, PIDs \[\d+ \d+\]: ` +
					`which is the daemon is not clear` + words + `; hint: -follow FILE, its own PID file$`)
				if !line.MatchString(r.Stderr()) {
					t.Errorf("standard error is\n%s", r.Stderr())
				}
				a.Mark.ExpectNobody(t)
				bed.ExpectEmptyDir(t, a.Dir)
			})
		}
	}
}

// A daemon that fails may leave its PID file in a directory that pidleash may not change. The start warns of that file.
func TestStaleFileOfDaemonThatStays(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	dir := bed.OpenDir(t)
	bed.Must(t, os.Chown(dir, bed.Nobody, bed.Nobody))
	r := bed.Start(t, bed.AsNobody(), "-forking", "-pidfile", dir+"/p.pid", "sh", "-c", "echo $$ >"+dir+"/p.pid; chmod 555 "+dir)
	r.ExpectCode(t, 125)
	r.AwaitStderr(t, `(?m)^pidleash: pidfile `+dir+`/p\.pid: is stale and cannot be removed: permission denied$`)
}

// A process that did not come of the program, as haproxy -sf of ExecReload=, writes the file before the daemon ends.
// pidleash ends with the daemon, and says whose the file is not.
func TestReplacedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	s := startShapeWith(t, []string{"-settle", "1h"}, false, byPath, "again", "FILE")
	pid, others := s.settled(t, "the daemon"), fmt.Sprintln(bed.PlainProgram(t))
	bed.WriteFile(t, s.PIDFile+".new", others, 0o644)
	bed.Must(t, os.Rename(s.PIDFile+".new", s.PIDFile))
	bed.Must(t, syscall.Kill(pid, syscall.SIGKILL))
	s.run.ExpectSignal(t, syscall.SIGKILL)
	if s.run.Warnings("left there, it names another PID") != 1 || bed.ReadFile(t, s.PIDFile) != others {
		t.Errorf("the file has %q\n%s", bed.ReadFile(t, s.PIDFile), s.run.Stderr())
	}
}
