package commands

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

func TestCommandsOnForeignDaemon(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	file := dir + "/p.pid"
	pid := foreignDaemon(t, file)
	command(t, bed.Conclusion{}, "wait", "-until", "running", file)
	command(t, ends(124, fmt.Sprintf(`pidfile %s: PID %d \(\w+\) still runs$`, file, pid)), "wait", "-timeout", "50ms", file)
	command(t, bed.Conclusion{}, "signal", "CONT", file)
	command(t, bed.Conclusion{}, "stop", file)
	if !bed.Ended(pid) {
		t.Errorf("PID %d runs", pid)
	}
	// It is the daemon's to remove, or the next start's.
	bed.ExpectFiles(t, dir, "p.pid")
	stale := ends(1, fmt.Sprintf(`pidfile %s: stale: PID %d (\(\w+\) has ended|does not run)$`, file, pid))
	command(t, stale, "signal", "TERM", file)
	command(t, stale, "wait", file)
	command(t, bed.Conclusion{}, "stop", file)
	command(t, ends(124, "p.pid: not running: PID "), "wait", "-until", "running", "-timeout", "50ms", file)
	bed.RemoveFile(t, file)
	missing := ends(3, "p.pid: no such file$")
	command(t, missing, "signal", "TERM", file)
	command(t, missing, "wait", file)
	command(t, bed.Conclusion{}, "stop", file)
	bed.ExpectEmptyDir(t, dir)
}

// The file was written before the process that has its PID now had started.
func TestCommandsNeverHitRecycledPID(t *testing.T) {
	t.Parallel()
	file, pid := bed.OpenDir(t)+"/p.pid", bed.PlainProgram(t)
	bed.WriteFile(t, file, fmt.Sprintln(pid), 0o644)
	bed.Must(t, os.Chtimes(file, bed.LongAgo, bed.LongAgo))
	command(t, bed.Conclusion{}, "stop", "-stop", "KILL", file)
	recycled := ends(1, fmt.Sprintf(`stale: (it is older than the boot: )?PID %d \(first\) started after the file was written$`, pid))
	command(t, recycled, "signal", "KILL", file)
	command(t, recycled, "wait", file)
	if bed.Ended(pid) {
		t.Error("it was hit")
	}
	// Control: the same file, written now.
	bed.Must(t, os.Chtimes(file, time.Now(), time.Now()))
	command(t, bed.Conclusion{}, "signal", "KILL", file)
	bed.Await(t, "it is hit", func() bool { return bed.Ended(pid) })
}

// Where /proc is that of another PID namespace it tells of other processes than those
// that a signal would reach.
func TestCommandsInForeignProc(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	if err := exec.Command("unshare", "--pid", "--fork", "true").Run(); err != nil {
		bed.Missing(t, "unshare --pid: %v", err)
	}
	file := bed.OpenDir(t) + "/p.pid"
	h := bed.How{Before: []string{"unshare", "--pid", "--fork", "sh", "-c", `sleep 600 & echo $! >"$0"; "$@"; code=$?; kill $! || code=99; exit $code`, file}}
	for _, words := range [][]string{{"status"}, {"signal", "KILL"}, {"stop", "-stop", "KILL"}, {"wait"}} {
		bed.Start(t, h, append(words, file)...).ExpectCode(t, 4)
	}
}

// The signal is sent, and nothing with it; to PROGRAM, not to pidleash.
func TestSignalCommand(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/p.pid"
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file)
	for _, c := range []struct {
		word string
		sig  syscall.Signal
	}{{"HUP", 1}, {"SIGUSR2", 12}, {"term", 15}, {"RTMIN+3", 37}, {"34", 34}, {"-USR1", 10}} {
		command(t, bed.Conclusion{}, "signal", c.word, file)
		p.Got(t, c.sig)
	}
	p.Finish(t)
}

// Of several files each has its own fate.
func TestCommandsOnSeveralFiles(t *testing.T) {
	t.Parallel()
	dir := bed.OpenDir(t)
	one, two, stale, none := dir+"/1.pid", dir+"/2.pid", dir+"/stale.pid", dir+"/none.pid"
	first, second := foreignDaemon(t, one), foreignDaemon(t, two)
	bed.WriteFile(t, stale, bed.NoSuchPID, 0o644)
	command(t, ends(1, "stale.pid: stale: "), "signal", "CONT", one, stale, two)
	command(t, ends(3, "none.pid: no such file$"), "signal", "TERM", one, none, two)
	bed.Await(t, "both end", func() bool { return bed.Ended(first) && bed.Ended(second) })

	bed.RemoveFile(t, one)
	first = foreignDaemon(t, one)
	link := dir + "/link.pid"
	bed.Must(t, os.Symlink(one, link))
	command(t, ends(4, "link.pid: is a symbolic link"), "stop", link, none, stale, one)
	if !bed.Ended(first) {
		t.Error("the others are not stopped")
	}
}

// Who may not signal a process is told so.
func TestCommandsNotPermitted(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	file := bed.OpenDir(t) + "/p.pid"
	pid := foreignDaemon(t, file)
	refused := ends(4, fmt.Sprintf(`pidfile %s: PID %d \(\w+\) cannot be signaled: operation not permitted; hint: as its user, or as root$`, file, pid))
	for _, words := range [][]string{{"signal", "TERM", file}, {"stop", file}} {
		refused.Expect(t, bed.Start(t, bed.AsNobody(), words...))
	}
	ends(124, "still runs$").Expect(t, bed.Start(t, bed.AsNobody(), "wait", "-timeout", "50ms", file))
	if bed.Ended(pid) {
		t.Error("it was hit")
	}
	bed.Must(t, os.Chmod(file, 0o600))
	for _, words := range [][]string{{"signal", "TERM", file}, {"stop", file}, {"wait", file}, {"wait", "-until", "running", file}} {
		ends(4, "p.pid: cannot be read: permission denied").Expect(t, bed.Start(t, bed.AsNobody(), words...))
	}
}

// PROGRAM has ended, and its pidleash still stops what came of it.
func TestCommandsWhileSweeping(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = []string{"-kill-mode", "tree", "-stop", "USR1/forever"}
	a.Shell(`sh -c 'trap "" USR1; read x <"$0/gate"' "$0" & echo up`)
	r := a.Start(t, bed.StartModes[0])
	r.Expect(t, "up")
	program := bed.PIDIn(t, a.PIDFile)
	bed.Await(t, "PROGRAM has ended", func() bool { return bed.Ended(program) })
	command(t, ends(1, fmt.Sprintf("stale: PID %d ", program)), "signal", "TERM", a.PIDFile)
	command(t, ends(124, fmt.Sprintf("its pidleash, PID %d, still runs$", r.PID())), "wait", "-timeout", "50ms", a.PIDFile)
	waiting := bed.Start(t, bed.How{}, "wait", a.PIDFile)
	awaitPidfds(t, waiting.PID(), 1)
	stopping := bed.Start(t, bed.How{}, "stop", a.PIDFile)
	bed.Await(t, "the file is removed", func() bool { return bed.IsGone(a.PIDFile) })
	a.Open(t)
	bed.Conclusion{}.Expect(t, stopping)
	bed.Conclusion{}.Expect(t, waiting)
	if !bed.Ended(r.PID()) {
		t.Error("pidleash runs")
	}
}
