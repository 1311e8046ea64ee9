package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// command runs one of pidleash's commands to its end, which must be this one.
func command(t testing.TB, want conclusion, words ...string) {
	t.Helper()
	want.expect(t, start(t, how{}, words...))
}

// ends is a conclusion with one line, of which $ is the end.
func ends(code int, pattern string) conclusion {
	return conclusion{code: code, line: "(?m)" + pattern}
}

// sleeperIn is a sleeper that runs, in one of the modes.
func sleeperIn(t testing.TB, m startMode) (a *attempt, r *run) {
	t.Helper()
	a = sleeper(t)
	a.super = a.dir + "/s.pid"
	a.options = []string{"-stop", "HUP/10s/KILL"}
	if strings.Contains(m.name, "forking") {
		a.program = []string{"sh", "-c", "sleep 60 &"}
	}
	r = a.start(t, m)
	await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
	if strings.Contains(m.name, "daemon") {
		r.wait(t) // or it might be stopped on its way up
	}
	return a, r
}

// When stop returns nobody is left, and nothing.
func TestStopCommandReturnsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a, r := sleeperIn(t, m)
			command(t, conclusion{}, "stop", "-stop", "TERM", a.pidfile)
			if !strings.Contains(m.name, "daemon") && m.name != "forking" {
				r.expectSignal(t, syscall.SIGHUP) // by its own schedule
			}
			if left := a.mark.bearers(); len(left) > 0 {
				t.Errorf("PIDs %v are left", left)
			}
			expectEmptyDir(t, a.dir)
			command(t, conclusion{}, "stop", a.pidfile)
		})
	}
}

// startAgain is a script that starts and stops one path again and again. $1 is the
// binary, $2 a directory with the fifos up and never, $3 the number of rounds, and
// the rest are options. The PROGRAM takes its time to end, and a second one finds it
// out.
const startAgain = `p=$1 d=$2 rounds=$3; shift 3
cat >"$d/program" <<'end'
	exec 9>"$1/lock" 8<>"$1/never"
	flock -n 9 || { echo clash >"$1/up"; exit; }
	trap 'sleep 0.02; exit' TERM
	echo up >"$1/up"
	read x <&8
end
run="exec sh $d/program $d"
case " $*" in *-forking*) run="sh $d/program $d &" ;; esac
while [ $((rounds -= 1)) -ge 0 ]; do
	{ "$p" "$@" -settle 0 -pidfile "$d/p.pid" -supervisor-pidfile "$d/s.pid" sh -c "$run"
	[ $? != 120 ] || echo refused >"$d/up"; } 2>>"$d/log" &
	read said <"$d/up"
	[ "$said" = up ] || { echo "$said"; exit 1; }
	case " $*" in *-forking*) "$p" wait -until running "$d/p.pid" ;; esac
	"$p" stop "$d/p.pid" || exit 2
done`

// A start right after a stop is alone. The daemons fall to a pidleash above, which
// waits for them as an init does.
func TestStartAfterStopIsAlone(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := newAttempt(t)
			must(t, syscall.Mkfifo(a.dir+"/up", 0o600))
			must(t, syscall.Mkfifo(a.dir+"/never", 0o600))
			h := how{env: []string{string(a.mark)}}
			r := start(t, h, append([]string{"sh", "-c", startAgain, "sh", pidleash, a.dir, "40"}, m.options...)...)
			r.pipe.SetReadDeadline(time.Time{})
			select {
			case <-r.done:
			case <-time.After(4 * runTimeout):
				t.Fatal("it takes too long")
			}
			if r.expectCode(t, 0); t.Failed() {
				t.Logf("it said %q\n%s", r.rest(t), readFile(t, a.dir+"/log"))
			}
			r.expectQuiet(t)
			a.mark.expectNobody(t)
		})
	}
}

// foreignDaemon is a daemon that has nothing to do with pidleash and writes its own PID
// file.
func foreignDaemon(t *testing.T, file string, words ...string) (pid int) {
	t.Helper()
	if len(words) == 0 {
		words = []string{"sleep", "60"}
	}
	m := newMark(t)
	// Behind a pidleash that only waits for it.
	script := []string{"sh", "-c", `echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@"`, file}
	start(t, how{env: []string{string(m)}}, append(script, words...)...)
	await(t, "the daemon has written its file", func() bool { _, err := os.Stat(file); return err == nil })
	return pidIn(t, file)
}

func TestCommandsOnForeignDaemon(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	pid := foreignDaemon(t, file)
	command(t, conclusion{}, "wait", "-until", "running", file)
	command(t, ends(124, fmt.Sprintf(`pidfile %s: PID %d \(\w+\) still runs$`, file, pid)), "wait", "-timeout", "50ms", file)
	command(t, conclusion{}, "signal", "CONT", file)
	command(t, conclusion{}, "stop", file)
	if !dead(pid) {
		t.Errorf("PID %d runs", pid)
	}
	// It is the daemon's to remove, or the next start's.
	expectFiles(t, dir, "p.pid")
	stale := ends(1, fmt.Sprintf(`pidfile %s: stale: PID %d (\(\w+\) has ended|does not run)$`, file, pid))
	command(t, stale, "signal", "TERM", file)
	command(t, stale, "wait", file)
	command(t, conclusion{}, "stop", file)
	command(t, ends(124, "p.pid: not running: PID "), "wait", "-until", "running", "-timeout", "50ms", file)
	removeFile(t, file)
	missing := ends(3, "p.pid: no such file$")
	command(t, missing, "signal", "TERM", file)
	command(t, missing, "wait", file)
	command(t, conclusion{}, "stop", file)
	expectEmptyDir(t, dir)
}

// The file was written before the process that has its PID now had started.
func TestCommandsNeverHitRecycledPID(t *testing.T) {
	t.Parallel()
	file, pid := openDir(t)+"/p.pid", plainProgram(t)
	writeFile(t, file, fmt.Sprintln(pid), 0o644)
	before := time.Now().Add(-10 * time.Second)
	must(t, os.Chtimes(file, before, before))
	command(t, conclusion{}, "stop", "-stop", "KILL", file)
	recycled := ends(1, fmt.Sprintf(`stale: (it is older than the boot: )?PID %d \(first\) started after the file was written$`, pid))
	command(t, recycled, "signal", "KILL", file)
	command(t, recycled, "wait", file)
	if dead(pid) {
		t.Error("it was hit")
	}
	// Control: the same file, written now.
	must(t, os.Chtimes(file, time.Now(), time.Now()))
	command(t, conclusion{}, "signal", "KILL", file)
	await(t, "it is hit", func() bool { return dead(pid) })
}

// Where /proc is that of another PID namespace it tells of other processes than those
// that a signal would reach.
func TestCommandsInForeignProc(t *testing.T) {
	t.Parallel()
	needRoot(t)
	if err := exec.Command("unshare", "--pid", "--fork", "true").Run(); err != nil {
		missing(t, "unshare --pid: %v", err)
	}
	file := openDir(t) + "/p.pid"
	h := how{before: []string{"unshare", "--pid", "--fork", "sh", "-c", `sleep 60 & echo $! >"$0"; "$@"; code=$?; kill $! || code=99; exit $code`, file}}
	for _, words := range [][]string{{"status"}, {"signal", "KILL"}, {"stop", "-stop", "KILL"}, {"wait"}} {
		start(t, h, append(words, file)...).expectCode(t, 4)
	}
}

func TestStopCommandSchedule(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	pid := foreignDaemon(t, file, first(t), "ignore")
	await(t, "it ignores TERM", func() bool { return ignores(pid, syscall.SIGTERM) })
	command(t, ends(124, `PID \d+ \(first\) still runs$`), "stop", "-stop", "TERM/50ms/TERM/forever", "-timeout", "200ms", file)
	began := time.Now()
	command(t, conclusion{}, "stop", "-stop", "TERM/200ms/KILL", file)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("KILL came after %v", took)
	}
	if !dead(pid) {
		t.Errorf("PID %d runs", pid)
	}
}

func ignores(pid int, sig syscall.Signal) bool {
	text, _ := os.ReadFile(procFile(pid, "status"))
	_, rest, _ := strings.Cut(string(text), "\nSigIgn:")
	mask, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	return err == nil && bits&(1<<(sig-1)) != 0
}

func TestStopCommandEndsStoppedProgram(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	pid := foreignDaemon(t, file)
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	await(t, "it is stopped", func() bool { return processState(pid) == "T" })
	command(t, conclusion{}, "stop", "-stop", "TERM/forever", file)
}

// The signal is sent, and nothing with it; to PROGRAM, not to pidleash.
func TestSignalCommand(t *testing.T) {
	t.Parallel()
	file := openDir(t) + "/p.pid"
	p := startTeller(t, how{}, forEver, "-pidfile", file)
	for _, c := range []struct {
		word string
		sig  syscall.Signal
	}{{"HUP", 1}, {"SIGUSR2", 12}, {"term", 15}, {"RTMIN+3", 37}, {"34", 34}, {"-USR1", 10}} {
		command(t, conclusion{}, "signal", c.word, file)
		p.got(t, c.sig)
	}
	p.finish(t)
}

// Of several files each has its own fate.
func TestCommandsOnSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	one, two, stale, none := dir+"/1.pid", dir+"/2.pid", dir+"/stale.pid", dir+"/none.pid"
	first, second := foreignDaemon(t, one), foreignDaemon(t, two)
	writeFile(t, stale, noSuchPID, 0o644)
	command(t, ends(1, "stale.pid: stale: "), "signal", "CONT", one, stale, two)
	command(t, ends(3, "none.pid: no such file$"), "signal", "TERM", one, none, two)
	await(t, "both end", func() bool { return dead(first) && dead(second) })

	removeFile(t, one)
	first = foreignDaemon(t, one)
	link := dir + "/link.pid"
	must(t, os.Symlink(one, link))
	command(t, ends(4, "link.pid: is a symbolic link"), "stop", link, none, stale, one)
	if !dead(first) {
		t.Error("the others are not stopped")
	}
}

// Who may not signal a process is told so.
func TestCommandsNotPermitted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	file := openDir(t) + "/p.pid"
	pid := foreignDaemon(t, file)
	refused := ends(4, fmt.Sprintf(`pidfile %s: PID %d \(\w+\) cannot be signaled: operation not permitted; hint: as its user, or as root$`, file, pid))
	for _, words := range [][]string{{"signal", "TERM", file}, {"stop", file}} {
		refused.expect(t, start(t, asNobody(), words...))
	}
	ends(124, "still runs$").expect(t, start(t, asNobody(), "wait", "-timeout", "50ms", file))
	if dead(pid) {
		t.Error("it was hit")
	}
	must(t, os.Chmod(file, 0o600))
	for _, words := range [][]string{{"signal", "TERM", file}, {"stop", file}, {"wait", file}, {"wait", "-until", "running", file}} {
		ends(4, "p.pid: cannot be read: permission denied").expect(t, start(t, asNobody(), words...))
	}
}

// Nothing happens when the file of a pidleash cannot be removed.
func TestStopCommandMayNotRemove(t *testing.T) {
	t.Parallel()
	needRoot(t)
	a := sleeper(t)
	a.how = asNobody()
	program := a.inBackground(t, "-stop", "KILL")
	must(t, os.Chmod(a.dir, 0o755))
	ends(4, "p.pid: cannot be removed: permission denied").expect(t, start(t, asNobody(), "stop", a.pidfile))
	if dead(program) || readFile(t, a.pidfile) != fmt.Sprintln(program) {
		t.Error("something was done")
	}
	must(t, os.Chmod(a.dir, 0o777))
	command(t, conclusion{}, "stop", a.pidfile)
}

// The wrapper's own schedule goes on when stop has lost its patience.
func TestStopCommandTimeout(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	r := start(t, how{}, "-pidfile", dir+"/p.pid", "-stop", "TERM/forever", first(t), "ignore")
	program := r.number(t)
	pattern := fmt.Sprintf(`p.pid: PID %d \(first\) and its pidleash, PID %d, still run$`, program, r.pid())
	command(t, ends(124, pattern), "stop", "-stop", "KILL", "-timeout", "300ms", dir+"/p.pid")
	if dead(program) {
		t.Error("PROGRAM got a schedule that was not its own")
	}
	expectEmptyDir(t, dir)
	r.stdin.Close()
	r.expectCode(t, 0)
}

// PROGRAM has ended, and its pidleash still stops what came of it.
func TestCommandsWhileSweeping(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.newGate(t)
	a.options = []string{"-kill-mode", "tree", "-stop", "USR1/forever"}
	a.shell(`sh -c 'trap "" USR1; read x <"$0/gate"' "$0" & echo up`)
	r := a.start(t, startModes[0])
	r.expect(t, "up")
	program := pidIn(t, a.pidfile)
	await(t, "PROGRAM has ended", func() bool { return dead(program) })
	command(t, ends(1, fmt.Sprintf("stale: PID %d ", program)), "signal", "TERM", a.pidfile)
	command(t, ends(124, fmt.Sprintf("its pidleash, PID %d, still runs$", r.pid())), "wait", "-timeout", "50ms", a.pidfile)
	waiting := start(t, how{}, "wait", a.pidfile)
	awaitPidfds(t, waiting.pid(), 1)
	stopping := start(t, how{}, "stop", a.pidfile)
	await(t, "the file is removed", func() bool { return isGone(a.pidfile) })
	a.open(t)
	conclusion{}.expect(t, stopping)
	conclusion{}.expect(t, waiting)
	if !dead(r.pid()) {
		t.Error("pidleash runs")
	}
}

// awaitPidfds returns when a process holds n others.
func awaitPidfds(t testing.TB, pid, n int) {
	t.Helper()
	await(t, "it holds the processes", func() bool {
		held := 0
		links, _ := filepath.Glob(procFile(pid, "fd/*"))
		for _, link := range links {
			if to, _ := os.Readlink(link); to == "anon_inode:[pidfd]" || strings.HasPrefix(to, "pidfd:") {
				held++
			}
		}
		return held >= n
	})
}

// A pidleash is stopped by its own PID file as by a TERM, and only that.
func TestStopCommandOnSupervisorPIDFile(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.super = a.dir + "/s.pid"
	a.options = []string{"-stop", "KILL"}
	a.program = []string{first(t), "remove", a.other + "/p.pid"}
	r := a.start(t, startModes[0])
	r.number(t)
	removeAtTerm := start(t, how{}, "stop", a.super)
	r.expect(t, "again") // it takes its time
	r.stdin.Close()
	conclusion{}.expect(t, removeAtTerm)
	r.expectCode(t, 7)
	expectEmptyDir(t, a.dir)
}

func TestStopCommandOnDeafSupervisor(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.super = a.dir + "/s.pid"
	a.program = []string{first(t), "ignore"}
	r := a.start(t, startModes[0])
	program := r.number(t)
	command(t, ends(124, fmt.Sprintf(`s.pid: PID %d \(pidleash\) still runs$`, r.pid())), "stop", "-stop", "KILL", "-timeout", "700ms", a.super)
	if dead(program) {
		t.Error("PROGRAM is killed")
	}
	r.stdin.Close()
	r.expectCode(t, 0)
}

// A watchdog ends with its PROGRAM only: nothing is done.
func TestStopCommandOnWatchdog(t *testing.T) {
	t.Parallel()
	for _, m := range startModes[2:5] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a, _ := sleeperIn(t, m)
			command(t, ends(4, `s.pid: PID \d+ \(pidleash\) is a watchdog, .*; hint: stop it by the PID file of the program$`), "stop", a.super)
			if !a.isSleeping() {
				t.Error("PROGRAM does not run")
			}
			expectFiles(t, a.dir, strings.Fields(map[bool]string{true: ".p.pid.lock "}[strings.Contains(m.name, "forking")]+"p.pid s.pid")...)
			command(t, conclusion{}, "stop", a.pidfile)
			a.mark.expectNobody(t)
		})
	}
}

// idle stands for a pidleash that has no PROGRAM at the moment: its file names itself,
// and it has locked that.
func idle(t *testing.T, script string) (file string, r *run) {
	t.Helper()
	dir := openDir(t)
	file = dir + "/p.pid"
	shell, err := os.ReadFile("/bin/sh")
	must(t, err)
	writeFile(t, dir+"/pidleash", string(shell), 0o755)
	h := how{env: []string{string(newMark(t))}, file: dir + "/pidleash"}
	r = start(t, h, "-c", `echo $$ >"$0"; exec 9<"$0"; flock 9; `+script, file)
	r.expect(t, "ready")
	return file, r
}

// It ends because its file is gone, where that is enough.
func TestStopCommandOnIdlePidleash(t *testing.T) {
	t.Parallel()
	file, r := idle(t, `trap 'exit 3' TERM; echo ready; while [ -e "$0" ]; do sleep 0.05 9<&-; done`)
	command(t, conclusion{}, "stop", file)
	r.expectCode(t, 0)
	// It is told to, where it is not.
	file, r = idle(t, `trap 'exit 3' TERM; echo ready; while :; do sleep 0.01 9<&-; done`)
	command(t, conclusion{}, "stop", file)
	r.expectCode(t, 3)
	if !isGone(file) {
		t.Error("the file is left")
	}
}

// PROGRAM may be about to write its file anew, which its pidleash then takes.
func TestStopCommandRemovesAgain(t *testing.T) {
	t.Parallel()
	a := newAttempt(t)
	a.options = []string{"-settle", "1s"}
	a.program = []string{"sh", "-c", `echo ready; while [ -e "$0" ]; do sleep 0.01; done; echo $$ >"$0"; echo again; exec sleep 60`, a.pidfile}
	r := a.start(t, startModes[0])
	r.expect(t, "ready")
	stop := start(t, how{}, "stop", a.pidfile)
	r.expect(t, "again")
	conclusion{}.expect(t, stop)
	r.expectSignal(t, syscall.SIGTERM)
	expectEmptyDir(t, a.dir)
}

// Who has killed the pidleash meanwhile has to end PROGRAM, too.
func TestStopCommandWithKilledWatchdog(t *testing.T) {
	t.Parallel()
	a := sleeper(t)
	program := a.inBackground(t)
	watchdog := a.mark.watchdog()
	must(t, syscall.Kill(watchdog, syscall.SIGSTOP))
	await(t, "the watchdog is stopped", func() bool { return processState(watchdog) == "T" })
	stop := start(t, how{}, "stop", a.pidfile)
	await(t, "the file is removed", func() bool { return isGone(a.pidfile) })
	must(t, syscall.Kill(watchdog, syscall.SIGKILL))
	ends(4, fmt.Sprintf(`p.pid: PID %d \(sleep\) still runs, its pidleash has ended without it; hint: kill %d$`, program, program)).expect(t, stop)
}

// The next instance is none of an earlier stop's business.
func TestStopCommandLeavesNextInstance(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	old := start(t, how{}, "-pidfile", file, "-stop", "TERM/forever", first(t), "ignore")
	old.number(t)
	stop := start(t, how{}, "stop", file)
	await(t, "the file is removed", func() bool { return isGone(file) })
	next := start(t, how{}, "-pidfile", file, first(t), "hold")
	program := next.number(t)
	time.Sleep(500 * time.Millisecond) // in which stop looks at the path several times
	old.stdin.Close()
	conclusion{}.expect(t, stop)
	if got := readFile(t, file); got != fmt.Sprintln(program) {
		t.Errorf("the file has %q, the next PROGRAM is %d", got, program)
	}
	next.stdin.Close()
	next.expectCode(t, 0)
	next.expectQuiet(t)
}

// Who waits does not compute: nothing but Go's own threads, and a look now and then.
func TestWaitCommandIsIdle(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	file := dir + "/p.pid"
	pid := foreignDaemon(t, file)
	gone := start(t, how{}, "wait", file)
	awaitPidfds(t, gone.pid(), 1)
	running := start(t, how{}, "wait", "-until", "running", dir+"/a/b/p.pid")
	await(t, "it waits", func() bool { return processState(running.pid()) == "S" })
	before := map[*run]int{gone: contextSwitches(t, gone.pid()), running: contextSwitches(t, running.pid())}
	time.Sleep(2 * time.Second) // what is measured
	for r, n := range before {
		if more := contextSwitches(t, r.pid()) - n; more > 200 {
			t.Errorf("%v: %d context contextSwitches in 2 s", r.cmd.Args[1:], more)
		}
	}
	command(t, conclusion{}, "signal", "TERM", file)
	conclusion{}.expect(t, gone)
	if !dead(pid) {
		t.Error("it runs")
	}
	must(t, os.MkdirAll(dir+"/a/b", 0o755))
	foreignDaemon(t, dir+"/a/b/p.pid")
	conclusion{}.expect(t, running)
}

// contextSwitches is how often the threads of a process had a core, proc_pid_status(5).
func contextSwitches(t testing.TB, pid int) (n int) {
	t.Helper()
	files, _ := filepath.Glob(procFile(pid, "task/*/status"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.HasSuffix(name, "voluntary_ctxt_switches") {
				count, err := strconv.Atoi(strings.TrimSpace(value))
				must(t, err)
				n += count
			}
		}
	}
	return n
}

// In every mode: waiting for PROGRAM before there is a directory, and for its end.
func TestWaitCommand(t *testing.T) {
	t.Parallel()
	for _, m := range startModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			a := sleeper(t)
			a.pidfile = a.dir + "/d/p.pid"
			if strings.Contains(m.name, "forking") {
				a.program = []string{"sh", "-c", "sleep 60 &"}
			}
			running := start(t, how{}, "wait", "-until", "running", a.pidfile)
			must(t, os.Mkdir(a.dir+"/d", 0o755))
			a.start(t, m)
			conclusion{}.expect(t, running)
			await(t, "PROGRAM runs", func() bool { return a.isSleeping() })
			gone := start(t, how{}, "wait", a.pidfile)
			awaitPidfds(t, gone.pid(), 2)
			command(t, conclusion{}, "signal", "TERM", a.pidfile)
			conclusion{}.expect(t, gone)
			if left := a.mark.bearers(); len(left) > 0 {
				t.Errorf("PIDs %v are left", left)
			}
			expectEmptyDir(t, a.dir+"/d")
		})
	}
}

// TestStopCommandUnit stops units in their own ExecStop=, by the PID file that
// their environment names.
func TestStopCommandUnit(t *testing.T) {
	bed := bootSystemd(t, nil)
	for _, c := range []struct{ name, settings, start string }{
		{"environment", "Environment=PIDFILE=/run/lab/environment.pid\n", "/run/lab/pidleash "},
		{"pidfile", "PIDFile=/run/lab/pidfile.pid\n", "/run/lab/pidleash "},
		{"sidecar", "Environment=PIDFILE=/run/lab/sidecar.pid\n", "/run/lab/pidleash -sidecar "},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := bed.program(t, c.name)
			unit := bed.unit(t, c.name+".service", "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=simple\nKillSignal=SIGUSR1\n"+c.settings+
				"ExecStart="+c.start+program.command+"\nExecStop=/run/lab/pidleash stop\n")
			u := &leashedUnit{unit, program, "/run/lab/" + c.name + ".pid"}
			for range 5 {
				unit.must("start")
				u.running()
				unit.must("stop")
				u.over("inactive", "success")
				// Not by USR1, which is what systemd would send.
				u.want("ExecMainStatus", "15")
			}
			for _, line := range u.messages() {
				if !strings.Contains(line, u.pidfile+": removed, stopping PID ") {
					t.Errorf("pidleash says %q", line)
				}
			}
		})
	}
}
