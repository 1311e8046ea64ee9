package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"

	"golang.org/x/sys/unix"
)

// command runs one of pidleash's commands to its end, which must be this one.
func command(t testing.TB, want bed.Conclusion, words ...string) {
	t.Helper()
	want.Expect(t, bed.Start(t, bed.How{}, words...))
}

// ends is a conclusion with one line, of which $ is the end.
func ends(code int, pattern string) bed.Conclusion {
	return bed.Conclusion{Code: code, Line: "(?m)" + pattern}
}

// sleeperIn is a sleeper that runs, in one of the modes.
func sleeperIn(t testing.TB, m bed.StartMode) (a *bed.Attempt, r *bed.Run) {
	t.Helper()
	a = bed.Sleeper(t)
	a.Super = a.Dir + "/s.pid"
	a.Options = []string{"-stop", "HUP/10s/KILL"}
	if strings.Contains(m.Name, "forking") {
		a.Program = []string{"sh", "-c", "sleep 600 &"}
	}
	r = a.Start(t, m)
	bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
	if strings.Contains(m.Name, "daemon") {
		r.Wait(t) // or it might be stopped on its way up
	}
	return a, r
}

// When stop returns nobody is left, and nothing.
func TestStopCommandReturnsAtTheEnd(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a, r := sleeperIn(t, m)
			command(t, bed.Conclusion{}, "stop", "-stop", "TERM", a.PIDFile)
			if !strings.Contains(m.Name, "daemon") && m.Name != "forking" {
				r.ExpectSignal(t, syscall.SIGHUP) // by its own schedule
			}
			if left := a.Mark.Bearers(); len(left) > 0 {
				t.Errorf("PIDs %v are left", left)
			}
			bed.ExpectEmptyDir(t, a.Dir)
			command(t, bed.Conclusion{}, "stop", a.PIDFile)
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
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			bed.Must(t, syscall.Mkfifo(a.Dir+"/up", 0o600))
			bed.Must(t, syscall.Mkfifo(a.Dir+"/never", 0o600))
			h := bed.How{Env: []string{string(a.Mark)}}
			r := bed.Start(t, h, append([]string{"sh", "-c", startAgain, "sh", bed.Pidleash, a.Dir, "40"}, m.Options...)...)
			r.Pipe.SetReadDeadline(time.Time{})
			select {
			case <-r.Done:
			case <-time.After(bed.Patience):
				t.Fatal("it takes too long")
			}
			if r.ExpectCode(t, 0); t.Failed() {
				t.Logf("it said %q\n%s", r.Rest(t), bed.ReadFile(t, a.Dir+"/log"))
			}
			r.ExpectQuiet(t)
			a.Mark.ExpectNobody(t)
		})
	}
}

// foreignDaemon is a daemon that has nothing to do with pidleash and writes its own PID
// file.
func foreignDaemon(t *testing.T, file string, words ...string) (pid int) {
	t.Helper()
	if len(words) == 0 {
		words = []string{"sleep", "600"}
	}
	m := bed.NewMark(t)
	// Behind a pidleash that only waits for it.
	script := []string{"sh", "-c", `echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@"`, file}
	bed.Start(t, bed.How{Env: []string{string(m)}}, append(script, words...)...)
	bed.Await(t, "the daemon has written its file", func() bool { _, err := os.Stat(file); return err == nil })
	return bed.PIDIn(t, file)
}

func TestStopCommandSchedule(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	pid := foreignDaemon(t, file, bed.CompileC(t, "first.c"), "ignore")
	bed.Await(t, "it ignores TERM", func() bool { return ignores(pid, syscall.SIGTERM) })
	command(t, ends(124, `PID \d+ \(first\) still runs$`), "stop", "-stop", "TERM/50ms/TERM/forever", "-timeout", "200ms", file)
	began := time.Now()
	command(t, bed.Conclusion{}, "stop", "-stop", "TERM/200ms/KILL", file)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("KILL came after %v", took)
	}
	if !bed.Ended(pid) {
		t.Errorf("PID %d runs", pid)
	}
}

func ignores(pid int, sig syscall.Signal) bool {
	text, _ := os.ReadFile(bed.ProcFile(pid, "status"))
	_, rest, _ := strings.Cut(string(text), "\nSigIgn:")
	mask, _, _ := strings.Cut(rest, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	return err == nil && bits&(1<<(sig-1)) != 0
}

func TestStopCommandEndsStoppedProgram(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	pid := foreignDaemon(t, file)
	bed.Must(t, syscall.Kill(pid, syscall.SIGSTOP))
	bed.Await(t, "it is stopped", func() bool { return bed.ProcessState(pid) == "T" })
	command(t, bed.Conclusion{}, "stop", "-stop", "TERM/forever", file)
}

// A job that ^Z has suspended is pidleash, too.
func TestStopCommandEndsSuspendedJob(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	r := bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	for _, pid := range []int{r.Number(t), r.PID()} {
		bed.Must(t, syscall.Kill(pid, syscall.SIGSTOP))
		bed.Await(t, "it is stopped", func() bool { return bed.ProcessState(pid) == "T" })
	}
	command(t, bed.Conclusion{}, "stop", file)
	r.ExpectSignal(t, syscall.SIGTERM)
}

// Nothing happens when the file of a pidleash cannot be removed.
func TestStopCommandMayNotRemove(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	a := bed.Sleeper(t)
	a.How = bed.AsNobody()
	program := a.InBackground(t, "-stop", "KILL")
	bed.Must(t, os.Chmod(a.Dir, 0o755))
	ends(4, "p.pid: cannot be removed: permission denied").Expect(t, bed.Start(t, bed.AsNobody(), "stop", a.PIDFile))
	if bed.Ended(program) || bed.ReadFile(t, a.PIDFile) != fmt.Sprintln(program) {
		t.Error("something was done")
	}
	bed.Must(t, os.Chmod(a.Dir, 0o777))
	command(t, bed.Conclusion{}, "stop", a.PIDFile)
}

// The wrapper's own schedule goes on when stop has lost its patience.
func TestStopCommandTimeout(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	r := bed.Start(t, bed.How{}, "-pidfile", dir+"/p.pid", "-stop", "TERM/forever", bed.CompileC(t, "first.c"), "ignore")
	program := r.Number(t)
	pattern := fmt.Sprintf(`p.pid: PID %d \(first\) and its pidleash, PID %d, still run$`, program, r.PID())
	command(t, ends(124, pattern), "stop", "-stop", "KILL", "-timeout", "300ms", dir+"/p.pid")
	if bed.Ended(program) {
		t.Error("PROGRAM got a schedule that was not its own")
	}
	bed.ExpectEmptyDir(t, dir)
	r.Stdin.Close()
	r.ExpectCode(t, 0)
}

// awaitPidfds returns when a process holds n others.
func awaitPidfds(t testing.TB, pid, n int) {
	t.Helper()
	bed.Await(t, "it holds the processes", func() bool {
		held := 0
		links, _ := filepath.Glob(bed.ProcFile(pid, "fd/*"))
		for _, link := range links {
			if to, _ := os.Readlink(link); to == "anon_inode:[pidfd]" || strings.HasPrefix(to, "pidfd:") {
				held++
			}
		}
		return held >= n && polls(pid)
	})
}

// polls reports that a thread of the process waits in ppoll(2): what it holds is what it waits for.
func polls(pid int) bool {
	tasks, _ := filepath.Glob(bed.ProcFile(pid, "task/*/syscall"))
	for _, task := range tasks {
		if call, _ := os.ReadFile(task); strings.HasPrefix(string(call), strconv.Itoa(unix.SYS_PPOLL)+" ") {
			return true
		}
	}
	return len(tasks) == 0 // nobody tells
}

// A pidleash is stopped by its own PID file as by a TERM, and only that.
func TestStopCommandOnSupervisorPIDFile(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Super = a.Dir + "/s.pid"
	a.Options = []string{"-stop", "KILL"}
	a.Program = []string{bed.CompileC(t, "first.c"), "remove", a.Other + "/p.pid"}
	r := a.Start(t, bed.StartModes[0])
	r.Number(t)
	removeAtTerm := bed.Start(t, bed.How{}, "stop", a.Super)
	r.Expect(t, "again") // it takes its time
	r.Stdin.Close()
	bed.Conclusion{}.Expect(t, removeAtTerm)
	r.ExpectCode(t, 7)
	bed.ExpectEmptyDir(t, a.Dir)
}

func TestStopCommandOnDeafSupervisor(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Super = a.Dir + "/s.pid"
	a.Program = []string{bed.CompileC(t, "first.c"), "ignore"}
	r := a.Start(t, bed.StartModes[0])
	program := r.Number(t)
	command(t, ends(124, fmt.Sprintf(`s.pid: PID %d \(pidleash\) still runs$`, r.PID())), "stop", "-stop", "KILL", "-timeout", "700ms", a.Super)
	if bed.Ended(program) {
		t.Error("PROGRAM is killed")
	}
	r.Stdin.Close()
	r.ExpectCode(t, 0)
}

// A watchdog ends with its PROGRAM only: nothing is done.
func TestStopCommandOnWatchdog(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes[2:5] {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a, _ := sleeperIn(t, m)
			command(t, ends(4, `s.pid: PID \d+ \(pidleash\) is a watchdog, .*; hint: stop it by the PID file of the program$`), "stop", a.Super)
			if !a.IsSleeping() {
				t.Error("PROGRAM does not run")
			}
			bed.ExpectFiles(t, a.Dir, strings.Fields(map[bool]string{true: ".p.pid.lock "}[strings.Contains(m.Name, "forking")]+"p.pid s.pid")...)
			command(t, bed.Conclusion{}, "stop", a.PIDFile)
			a.Mark.ExpectNobody(t)
		})
	}
}

// idle stands for a pidleash that has no PROGRAM at the moment: its file names itself,
// and it has locked that.
func idle(t *testing.T, script string) (file string, r *bed.Run) {
	t.Helper()
	dir := bed.OpenDir(t)
	file = dir + "/p.pid"
	shell, err := os.ReadFile("/bin/sh")
	bed.Must(t, err)
	bed.WriteFile(t, dir+"/pidleash", string(shell), 0o755)
	// The lock must be the shell's own: flock(1) becomes it.
	h := bed.How{Env: []string{string(bed.NewMark(t))}, File: dir + "/pidleash"}
	r = bed.Start(t, h, "-c", `echo $$ >"$0"; exec flock --no-fork "$0" "$1" -c "$2" "$0"`, file, dir+"/pidleash", script)
	r.Expect(t, "ready")
	return file, r
}

// It ends because its file is gone, where that is enough.
func TestStopCommandOnIdlePidleash(t *testing.T) {
	t.Parallel()
	file, r := idle(t, `trap 'exit 3' TERM; echo ready; while [ -e "$0" ]; do sleep 0.05 9<&-; done`)
	command(t, bed.Conclusion{}, "stop", file)
	r.ExpectCode(t, 0)
	// It is told to, where it is not.
	file, r = idle(t, `trap 'exit 3' TERM; echo ready; while :; do sleep 0.01 9<&-; done`)
	command(t, bed.Conclusion{}, "stop", file)
	r.ExpectCode(t, 3)
	if !bed.IsGone(file) {
		t.Error("the file is left")
	}
}

// PROGRAM may be about to write its file anew, which its pidleash then takes.
func TestStopCommandRemovesAgain(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Options = []string{"-settle", "1s"}
	a.Program = []string{"sh", "-c", `echo ready; while [ -e "$0" ]; do sleep 0.01; done; echo $$ >"$0"; echo again; exec sleep 600`, a.PIDFile}
	r := a.Start(t, bed.StartModes[0])
	r.Expect(t, "ready")
	stop := bed.Start(t, bed.How{}, "stop", a.PIDFile)
	r.Expect(t, "again")
	bed.Conclusion{}.Expect(t, stop)
	r.ExpectSignal(t, syscall.SIGTERM)
	bed.ExpectEmptyDir(t, a.Dir)
}

// Who has killed the pidleash meanwhile has to end PROGRAM, too.
func TestStopCommandWithKilledWatchdog(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	program := a.InBackground(t, "-ignore", "TERM", "-stop", "TERM/forever")
	watchdog := a.Mark.Watchdog()
	stop := bed.Start(t, bed.How{}, "stop", a.PIDFile)
	bed.Await(t, "the file is removed", func() bool { return bed.IsGone(a.PIDFile) })
	bed.Must(t, syscall.Kill(watchdog, syscall.SIGKILL))
	ends(4, fmt.Sprintf(`p.pid: PID %d \(sleep\) still runs, its pidleash has ended without it; hint: kill %d$`, program, program)).Expect(t, stop)
}

// The next instance is none of an earlier stop's business.
func TestStopCommandLeavesNextInstance(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	old := bed.Start(t, bed.How{}, "-pidfile", file, "-stop", "TERM/forever", bed.CompileC(t, "first.c"), "ignore")
	old.Number(t)
	stop := bed.Start(t, bed.How{}, "stop", file)
	bed.Await(t, "the file is removed", func() bool { return bed.IsGone(file) })
	next := bed.Start(t, bed.How{}, "-pidfile", file, bed.CompileC(t, "first.c"), "hold")
	program := next.Number(t)
	time.Sleep(500 * time.Millisecond) // in which stop looks at the path several times
	old.Stdin.Close()
	bed.Conclusion{}.Expect(t, stop)
	if got := bed.ReadFile(t, file); got != fmt.Sprintln(program) {
		t.Errorf("the file has %q, the next PROGRAM is %d", got, program)
	}
	next.Stdin.Close()
	next.ExpectCode(t, 0)
	next.ExpectQuiet(t)
}

// PID 1 does not get KILL from its own PID namespace, and all that is there ends with it: nobody could see that it has.
func TestStopPID1(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	file := bed.OpenDir(t) + "/p.pid"
	h := bed.How{Before: []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
		`trap 'echo signaled' TERM HUP CONT; echo 1 >"$0"; "$@"; echo $?`, file}}
	r := bed.Start(t, h, "stop", "-stop", "TERM/10ms/KILL", "-timeout", "5s", file)
	r.Expect(t, "4")
	r.ExpectCode(t, 0)
	r.ExpectOneLine(t, `PID 1 \(sh\) cannot be stopped: .*; hint: stop the container`)
}
