package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inBackground starts PROGRAM there and returns its PID, which is that in the PID
// file at the moment of the return.
func (a *attempt) inBackground(t testing.TB, options ...string) (program int) {
	t.Helper()
	r := a.start(t, startMode{options: append([]string{"-daemon"}, options...)})
	conclusion{}.expect(t, r)
	return pidIn(t, a.pidfile)
}

// pidIn is the PID in a PID file.
func pidIn(t testing.TB, file string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSuffix(readFile(t, file), "\n"))
	must(t, err)
	return pid
}

// sleeper is a PROGRAM that does nothing.
func sleeper(t testing.TB) *attempt {
	a := newAttempt(t)
	a.program = []string{"sleep", "60"}
	return a
}

// leave removes the PID file and expects that everything ends.
func (a *attempt) leave(t testing.TB) {
	t.Helper()
	removeFile(t, a.pidfile)
	a.mark.expectNobody(t)
	expectEmptyDir(t, a.dir)
}

// When the start returns the watchdog watches: a removal in the next moment counts.
func TestDaemonIsWatchedAtReturn(t *testing.T) {
	t.Parallel()
	for worker := range 8 {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			for range 25 {
				a := sleeper(t)
				a.options = []string{"-settle", "1ms"}
				if worker%4 == 3 {
					a.options = append(a.options, "-forking")
					a.program = []string{"sh", "-c", "sleep 60 &"}
				}
				program := a.inBackground(t)
				if dead(program) {
					t.Errorf("PROGRAM, PID %d, does not run", program)
				}
				removeFile(t, a.pidfile)
				// Its watchdog stays a moment longer, to hear how PROGRAM has ended.
				await(t, "PROGRAM ends", func() bool { return dead(program) })
				await(t, "its files are gone", func() bool { return isEmpty(a.dir) })
			}
		})
	}
}

// session is that of a process, and the number of its terminal.
func session(t testing.TB, pid int) (sid, tty string) {
	t.Helper()
	_, rest, _ := strings.Cut(readFile(t, procFile(pid, "stat")), ") ")
	fields := strings.Fields(rest)
	return fields[3], fields[4]
}

// linksOf are the files that a process has open, by number.
func linksOf(t testing.TB, pid int) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(procFile(pid, "fd"))
	must(t, err)
	links := map[string]string{}
	for _, e := range entries {
		links[e.Name()], _ = os.Readlink(procFile(pid, "fd/") + e.Name())
	}
	return links
}

// expectDevNull fails the test unless the standard descriptors are /dev/null.
func expectDevNull(t testing.TB, who string, pid int) {
	t.Helper()
	links := linksOf(t, pid)
	for _, fd := range []string{"0", "1", "2"} {
		if links[fd] != "/dev/null" {
			t.Errorf("the %s has %q as descriptor %s", who, links[fd], fd)
		}
	}
}

func TestDaemonLeavesTerminal(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	c := newConsole(t, []string{string(a.mark)}, append([]string{pidleash, "-daemon", "-pidfile", a.pidfile}, a.program...)...)
	// It returns when nobody has the terminal open any more.
	if status := c.wait(); !status.Exited() || status.ExitStatus() != 0 {
		t.Fatalf("pidleash ended by %s: %q", describe(status), c.all())
	}
	program, watchdog := pidIn(t, a.pidfile), a.mark.watchdog()
	seen := map[string]bool{strconv.Itoa(c.cmd.Process.Pid): true}
	for who, pid := range map[string]int{"PROGRAM": program, "watchdog": watchdog} {
		expectDevNull(t, who, pid)
		sid, tty := session(t, pid)
		if seen[sid] || tty != "0" {
			t.Errorf("%s has session %s, terminal %s; other sessions: %v", who, sid, tty, seen)
		}
		seen[sid] = true
	}
	if group, _ := unix.Getpgid(program); group != program {
		t.Errorf("PROGRAM, PID %d, has process group %d", program, group)
	}
	a.leave(t)
}

// PROGRAM has the caller's further descriptors and its directory; the watchdog
// holds nothing that keeps a pipe open or a file system mounted.
func TestWatchdogHoldsNothing(t *testing.T) {
	t.Parallel()
	for _, m := range []startMode{startModes[2], startModes[4]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			file, err := os.Create(a.other + "/held")
			must(t, err)
			defer file.Close()
			a.how = how{dir: a.other, extra: []*os.File{file}}
			r := a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			program, watchdog := pidIn(t, a.pidfile), a.mark.watchdog()
			if got := linksOf(t, program)["3"]; got != a.other+"/held" {
				t.Errorf("PROGRAM has %q as descriptor 3", got)
			}
			if dir, _ := os.Readlink(procFile(program, "cwd")); dir != a.other {
				t.Errorf("PROGRAM is in %q", dir)
			}
			if dir, _ := os.Readlink(procFile(watchdog, "cwd")); dir != "/" {
				t.Errorf("the watchdog is in %q", dir)
			}
			if name := readFile(t, procFile(watchdog, "comm")); name != "pidleash\n" {
				t.Errorf("the watchdog is called %q", name)
			}
			expectDevNull(t, "watchdog", watchdog)
			callers := []string{a.other + "/held"}
			for _, file := range []*os.File{r.stdin, r.pipe} {
				callers = append(callers, linksOf(t, os.Getpid())[strconv.Itoa(int(file.Fd()))])
			}
			for fd, link := range linksOf(t, watchdog) {
				if slices.Contains(callers, link) {
					t.Errorf("the watchdog has %s as descriptor %s", link, fd)
				}
			}
			a.leave(t)
			if m.name == "sidecar" {
				r.expectSignal(t, syscall.SIGTERM)
			}
		})
	}
}

// isSleeping reports that PROGRAM, a sleep, has been executed and is watched.
func (a *attempt) isSleeping() bool {
	text, err := os.ReadFile(a.pidfile)
	if err != nil {
		return false
	}
	name, _ := os.ReadFile("/proc/" + strings.TrimSuffix(string(text), "\n") + "/comm")
	return string(name) == "sleep\n"
}

// What is sent to all processes of a unit ends PROGRAM, not its watchdog.
func TestWatchdogSurvivesSignals(t *testing.T) {
	t.Parallel()
	for _, m := range []startMode{startModes[2], startModes[3], startModes[4]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			if m.name == "daemon forking" {
				a.program = []string{"sh", "-c", "sleep 60 &"}
			}
			a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			watchdog := a.mark.watchdog()
			for _, sig := range []syscall.Signal{
				syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT,
				syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT,
				syscall.SIGVTALRM, syscall.SIGIO, syscall.SIGPWR, syscall.SIGXCPU, 35, 64,
			} {
				must(t, syscall.Kill(watchdog, sig))
				// It has had it, or ignores it.
				await(t, sig.String()+" is not pending", func() bool { return !isPending(watchdog, sig) })
				if dead(watchdog) {
					t.Fatalf("%v has ended the watchdog", sig)
				}
			}
			a.leave(t)
		})
	}
}

// isPending reports a signal that a process has been sent and not had, proc(5).
func isPending(pid int, sig syscall.Signal) bool {
	text, _ := os.ReadFile(procFile(pid, "status"))
	_, rest, _ := strings.Cut(string(text), "\nShdPnd:")
	mask, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	return err == nil && bits&(1<<(sig-1)) != 0
}

// A caller that reads what comes from the start is not kept waiting.
func TestDaemonLetsCallerGo(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"substitution":         `x=$("$@"); echo "$?-$x"`,
		"standard error, too":  `x=$("$@" 2>&1); echo "$?-$x"`,
		"pipeline":             `"$@" 2>&1 | cat; echo 0-`,
		"background of script": `"$@" & wait $!; echo "$?-"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			a.how.before = []string{"sh", "-c", script, "sh"}
			r := a.start(t, startModes[2])
			// The end of standard output: nobody has it any more.
			if got := r.rest(t); got != "0-\n" {
				t.Errorf("the script wrote %q", got)
			}
			r.expectCode(t, 0)
			a.leave(t)
		})
	}
}

// What PROGRAM has said of its failure, last, is in pidleash's line.
func TestLastWords(t *testing.T) {
	t.Parallel()
	for _, m := range []startMode{startModes[0], startModes[2]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			errs, own := a.other+"/err.log", a.other+"/own.log"
			writeFile(t, errs, "of an earlier run\n", 0o644)
			a.options = []string{"-stderr", errs, "-ready-file", own, "-ready", "log:never", "-start-timeout", "300ms", "-stop", "KILL"}
			a.shell(`echo "in its own log" >"$0/own.log"; for i in 1 2 3 4; do echo "line $i" >&2; done; exec sleep 60`)
			r := a.start(t, m)
			conclusion{code: 125, line: `is not up after 300ms; .*/err.log: "line 2" "line 3" "line 4"; .*/own.log: "in its own log"`}.expect(t, r)
			expectEmptyDir(t, a.dir)
			a.mark.expectNobody(t)
		})
	}
}

// newGate is a fifo at which a script waits: read x <"$0/gate".
func (a *attempt) newGate(t testing.TB) { must(t, syscall.Mkfifo(a.other+"/gate", 0o666)) }

// open lets who waits at the gate go on.
func (a *attempt) open(t testing.TB) {
	t.Helper()
	must(t, os.WriteFile(a.other+"/gate", []byte("\n"), 0))
}

// awaitFile returns when there is a file of this name in the other directory.
func (a *attempt) awaitFile(t testing.TB, name string) {
	t.Helper()
	await(t, name+" is there", func() bool { _, err := os.Stat(a.other + "/" + name); return err == nil })
}

// canBeLocked takes the lock for a moment.
func canBeLocked(t testing.TB, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
}

// A PROGRAM in the background does not depend on its watchdog, and nor does the
// next start's judgement.
func TestKilledWatchdogLeavesProgram(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.newGate(t)
	a.shell(`read x <"$0/gate"; : >"$0/alive"; exec sleep 60`)
	program := a.inBackground(t)
	watchdog := a.mark.watchdog()
	must(t, syscall.Kill(watchdog, syscall.SIGKILL))
	// Its first thread may be gone while another one still holds the lock.
	await(t, "the lock is free", func() bool { return canBeLocked(t, a.pidfile) })
	a.open(t)
	a.awaitFile(t, "alive")
	second := start(t, how{}, "-pidfile", a.pidfile, "touch", a.other+"/marker")
	conclusion{code: 120, line: fmt.Sprintf("already running as PID %d .*held by nobody.*; hint: ", program)}.expect(t, second)
	must(t, syscall.Kill(program, syscall.SIGKILL))
	await(t, "PROGRAM is gone", func() bool { return dead(program) })
	third := start(t, how{}, "-pidfile", a.pidfile, "true")
	conclusion{}.expect(t, third)
	expectEmptyDir(t, a.dir)
}

// prober tries a path's lock all the time.
type prober struct {
	quit chan struct{}
	wg   sync.WaitGroup
	got  int
}

func probeLock(t testing.TB, path string) *prober {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	p := &prober{quit: make(chan struct{})}
	p.wg.Go(func() {
		defer file.Close()
		for {
			select {
			case <-p.quit:
				return
			default:
			}
			if unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
				p.got++
				unix.Flock(int(file.Fd()), unix.LOCK_UN)
			}
		}
	})
	return p
}

func (p *prober) stop(t testing.TB) {
	t.Helper()
	close(p.quit)
	p.wg.Wait()
	if p.got > 0 {
		t.Errorf("the lock was free %d times", p.got)
	}
}

// The watchdog takes the lock over without anybody else having a chance.
func TestLockIsNeverFree(t *testing.T) {
	t.Parallel()
	for _, m := range []startMode{startModes[2], startModes[3]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				handOverLocked(t, m)
			}
		})
	}
}

func handOverLocked(t *testing.T, m startMode) {
	a := newAttempt(t)
	a.newGate(t)
	a.options = []string{"-ready", "fd:3"}
	a.shell(`read x <"$0/gate"; echo >&3; exec sleep 60`)
	locked := a.pidfile
	if len(m.options) > 1 {
		a.program[2] = "{ " + a.program[2] + "; } &"
		locked = a.dir + "/.p.pid.lock"
	}
	r := a.start(t, m)
	await(t, "PROGRAM runs", func() bool { _, err := os.Stat(a.pidfile); return err == nil })
	p := probeLock(t, locked)
	a.open(t)
	others := 0
	for ; others < 5 || !slices.Equal(stillRunning([]*run{r}), nil); others++ {
		second := start(t, how{}, "-pidfile", a.pidfile, "touch", a.other+"/marker")
		conclusion{code: 120, line: "p.pid: already running as PID .* held by PID .*; hint: remove the file"}.expect(t, second)
	}
	r.expectCode(t, 0)
	p.stop(t)
	a.leave(t)
}

// sweepCase is who of PROGRAM's process group is there when it has ended.
type sweepCase struct {
	mode    string
	removed bool // or it ends by itself
	left    bool
}

func TestDaemonSweepsGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []sweepCase{
		{"mixed", true, false}, {"group", true, false}, {"process", true, true},
		{"mixed", false, true}, {"group", false, true}, {"process", false, true},
	} {
		for _, m := range startModes[2:4] {
			t.Run(fmt.Sprintf("%s/%s/%v", m.name, c.mode, c.removed), func(t *testing.T) { c.run(t, m) })
		}
	}
}

func (c sweepCase) run(t *testing.T, m startMode) {
	t.Parallel()
	a := newAttempt(t)
	a.newGate(t)
	a.options = []string{"-kill-mode", c.mode, "-ready", "fd:3"}
	script := `sleep 60 3>&- & echo $! >"$0/member"; echo >&3; exec 3>&-; read x <"$0/gate"`
	if m.name == "daemon forking" {
		// A group of its own for the daemon, as setsid(2) gives it.
		script = `setsid sh -c '` + script + `' "$0" &`
	}
	a.shell(script)
	r := a.start(t, m)
	conclusion{}.expect(t, r)
	member := pidIn(t, a.other+"/member")
	if c.removed {
		removeFile(t, a.pidfile)
	} else {
		a.open(t)
	}
	await(t, "PROGRAM and the watchdog have ended", func() bool {
		left := a.mark.bearers()
		return len(left) == 0 || len(left) == 1 && left[0] == member
	})
	if dead(member) == c.left {
		t.Errorf("the member of PROGRAM's group: dead is %v, want %v", dead(member), !c.left)
	}
	expectEmptyDir(t, a.dir)
}

// What ignores TERM gets the rest of the schedule from the watchdog, too.
func TestDaemonSchedule(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.newGate(t)
	a.options = []string{"-stop", "TERM/50ms/KILL", "-ready", "fd:3"}
	a.shell(`trap '' TERM; sleep 60 & echo >&3; exec 3>&-; wait`)
	a.inBackground(t)
	a.leave(t)
}

// While the watchdog waits for what is left of PROGRAM it does nothing.
func TestWatchdogIsIdleWhileSweeping(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.options = []string{"-stop", "TERM/1s/KILL", "-ready", "fd:3"}
	a.shell(`sh -c 'trap "" TERM; echo >&3; exec 3>&-; exec sleep 60' & exec 3>&-; exec sleep 60`)
	program := a.inBackground(t)
	watchdog := a.mark.watchdog()
	removeFile(t, a.pidfile)
	await(t, "PROGRAM ends", func() bool { return dead(program) })
	busy := 0
	await(t, "the watchdog ends", func() bool {
		busy = max(busy, cpuTicks(watchdog))
		return dead(watchdog)
	})
	// 1 s is 100 ticks.
	if busy > 30 {
		t.Errorf("it has computed for %d ticks", busy)
	}
	a.mark.expectNobody(t)
}

// cpuTicks is what a process has computed, proc_pid_stat(5); 0 when it is gone.
func cpuTicks(pid int) int {
	text, _ := os.ReadFile(procFile(pid, "stat"))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

func TestDaemonStopCommand(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			a.how.dir = a.other
			a.options = []string{"-stop-command", `echo "$MAINPID $LEASH_WORD" >stopped; kill -INT $MAINPID`, "-stop", "30s/KILL"}
			a.how.env = []string{"LEASH_WORD=hello"}
			a.program = []string{"sleep", "60"}
			if strings.Contains(m.name, "forking") {
				a.program = []string{"sh", "-c", "trap - INT; exec setsid -f sleep 60"}
			}
			a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			program := pidIn(t, a.pidfile)
			a.leave(t)
			if got, want := readFile(t, a.other+"/stopped"), fmt.Sprintf("%d hello\n", program); got != want {
				t.Errorf("the stop command wrote %q, want %q", got, want)
			}
		})
	}
}

// Who looks after PROGRAM is in a file of its own.
func TestSupervisorPIDFile(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			a.super = a.dir + "/s.pid"
			if strings.Contains(m.name, "forking") {
				a.program = []string{"sh", "-c", "sleep 60 &"}
			}
			a.how.umask = "077"
			r := a.start(t, m)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			want := a.mark.watchdog()
			if want == 0 {
				want = r.pid()
			}
			if got := pidIn(t, a.super); got != want {
				t.Errorf("the file names PID %d, want %d", got, want)
			}
			if info, err := os.Stat(a.super); err != nil || info.Mode() != 0o644 {
				t.Errorf("the file: %v, %v", info.Mode(), err)
			}
			second := start(t, how{}, "-supervisor-pidfile", a.super, "true")
			conclusion{code: 120, line: fmt.Sprintf("s.pid: already running as PID %d .*held by PID .*", want)}.expect(t, second)
			a.leave(t)
		})
	}
}

// Its removal is nobody's business.
func TestSupervisorPIDFileRemoved(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	a.super = a.dir + "/s.pid"
	program := a.inBackground(t)
	removeFile(t, a.super)
	writeFile(t, a.super, "1\n", 0o644)
	must(t, syscall.Kill(program, syscall.SIGTERM))
	a.mark.expectNobody(t)
	expectFiles(t, a.dir, "s.pid")
}

// Without a PID file there is nothing to watch, and nobody who does.
func TestDaemonWithoutPIDFile(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	r := start(t, how{env: []string{string(a.mark), "PIDFILE="}}, "-daemon", "sh", "-c", `echo $$ >"$0/x"; mv "$0/x" "$0/pid"; exec sleep 60`, a.other)
	conclusion{}.expect(t, r)
	a.awaitFile(t, "pid")
	program := pidIn(t, a.other+"/pid")
	if got := a.mark.bearers(); len(got) != 1 || got[0] != program {
		t.Errorf("there are PIDs %v, PROGRAM is %d", got, program)
	}
	expectDevNull(t, "PROGRAM", program)
}

// A start that waits for readiness answers, as every start, 120 to another.
func TestHeldDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range startModes[:4] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			a.options = []string{"-ready", "fd:3", "-stop", "KILL"}
			a.shell(`: >"$0/up"; exec sleep 60`)
			r := a.start(t, m)
			a.awaitFile(t, "up")
			second := start(t, how{}, append(slices.Clone(m.options), "-pidfile", a.pidfile, "touch", a.other+"/marker")...)
			conclusion{code: 120, line: "already (running|in use).* held by PID .*; hint: remove the file"}.expect(t, second)
			if !strings.Contains(m.name, "forking") {
				removeFile(t, a.pidfile)
			} else {
				r.signal(syscall.SIGKILL)
			}
			r.wait(t)
		})
	}
}

// A removal before PROGRAM is up stops it; the start has failed.
func TestRemovedDuringStart(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.options = []string{"-ready", "fd:3"}
	a.shell(`: >"$0/up"; exec sleep 60`)
	r := a.start(t, startModes[2])
	a.awaitFile(t, "up")
	removeFile(t, a.pidfile)
	r.expectCode(t, 125)
	if text := r.stderr(); !strings.Contains(text, "sh: stopped before it was up: PID file "+a.pidfile+" removed") {
		t.Errorf("standard error has %q", text)
	}
	expectEmptyDir(t, a.dir)
	a.mark.expectNobody(t)
}

// The process that was started is PROGRAM, with its PID, parent and end.
func TestSidecarIsProgram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		want   conclusion
	}{
		{"exit 0", conclusion{}}, {"exit 3", conclusion{code: 3}}, {"kill -TERM $$", conclusion{signal: syscall.SIGTERM}},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			a.program = []string{"sh", "-c", `echo $$ $PPID; cat "$0"; read x; ` + c.script, a.pidfile}
			r := a.start(t, startModes[4])
			r.expect(t, fmt.Sprintf("%d %d", r.pid(), os.Getpid()))
			r.expect(t, strconv.Itoa(r.pid()))
			r.tell(t, "go on")
			c.want.expect(t, r)
			a.mark.expectNobody(t)
			expectEmptyDir(t, a.dir)
		})
	}
}

// An end in the next moment is either told or has its file removed.
func TestDaemonEndsAtOnce(t *testing.T) {
	t.Parallel()
	for range 30 {
		a := newAttempt(t)
		a.program = []string{"true"}
		r := a.start(t, startModes[2])
		// Whether it was still there when the watchdog took it is up to chance.
		switch status := r.wait(t); status.ExitStatus() {
		case 0:
			r.expectQuiet(t)
		default:
			conclusion{code: 125, line: "true: ended with code 0 before it was up"}.expect(t, r)
			expectEmptyDir(t, a.dir)
		}
		a.mark.expectNobody(t)
		expectEmptyDir(t, a.dir)
	}
}

// The directory may go, too: the watchdog does not stand in it.
func TestDaemonDirectoryRemoved(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	parent := openDir(t)
	a.pidfile = parent + "/d/p.pid"
	must(t, os.Mkdir(filepath.Dir(a.pidfile), 0o755))
	a.inBackground(t)
	must(t, os.RemoveAll(parent+"/d"))
	a.mark.expectNobody(t)
}
