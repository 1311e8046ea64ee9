package while

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

func TestWhileHoldsPIDFile(t *testing.T) {
	t.Parallel()
	dir, condition := bed.OpenDir(t), bed.OpenDir(t)+"/file"
	file := dir + "/p.pid"
	r := startWaiting(t, bed.How{}, "-pidfile", file, "-supervisor-pidfile", dir+"/super.pid", "-while", condition)
	expectNames := func(file string, pid int) {
		t.Helper()
		if got := bed.ReadFile(t, file); got != fmt.Sprintln(pid) {
			t.Errorf("%s has %q, want %d", file, got, pid)
		}
		if !bed.IsLockedBy(t, file, r.PID()) {
			t.Errorf("%s is not locked by pidleash", file)
		}
	}
	expectNames(file, r.PID())
	expectNames(dir+"/super.pid", r.PID())
	second := bed.Start(t, bed.How{}, "-pidfile", file, "-while", condition, "true")
	second.ExpectCode(t, 120)
	second.ExpectOneLine(t, fmt.Sprintf("pidfile %s: already running as PID %d ", file, r.PID()))

	begin := time.Now()
	bed.WriteFile(t, condition, "", 0o644)
	program := expectStarted(r, t, begin)
	expectNames(file, program)
	expectNames(dir+"/super.pid", r.PID())
	leave(r, t)
	bed.ExpectEmptyDir(t, dir)
}

func TestWhilePIDFileRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		code    int
		script  string
		why     string
		left    []string
	}{
		"removed":     {nil, 0, `rm "$0/p.pid"`, "removed", nil},
		"with a code": {[]string{"-removed-exit", "9"}, 9, `rm "$0/p.pid"`, "removed", nil},
		"replaced": {nil, 0, `echo 4194305 >"$0/new"; mv "$0/new" "$0/p.pid"`,
			"replaced", []string{"p.pid"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			r := startWaiting(t, bed.How{}, append(c.options, "-pidfile", dir+"/p.pid", "-while", bed.OpenDir(t)+"/file")...)
			begin := time.Now()
			sh(t, c.script, dir)
			r.ExpectCode(t, c.code)
			if took := bed.Since(begin); took > bed.ByEvent {
				t.Errorf("it took %v: no event", took)
			}
			expectNeverStarted(r, t)
			if r.Warnings("pidfile "+dir+"/p.pid: "+c.why+", not starting\n") != 1 || r.Warnings("\n") != 2 {
				t.Errorf("want one line about that:\n%s", r.Stderr())
			}
			bed.ExpectFiles(t, dir, c.left...)
		})
	}
}

func TestWhileTermination(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := bed.OpenDir(t)
			// -removed-exit is about something else.
			options := []string{"-removed-exit", "9", "-pidfile", dir + "/p.pid", "-while", dir + "/no/file"}
			r := startWaiting(t, bed.How{}, options...)
			r.Signal(syscall.SIGWINCH) // nobody is there to have it
			r.Signal(syscall.SIGUSR1)
			r.Signal(sig)
			r.ExpectSignal(t, sig)
			expectNeverStarted(r, t)
			if r.Warnings("\n") != 1 {
				t.Errorf("standard error has %q, want nothing but the wait", r.Stderr())
			}
			bed.ExpectEmptyDir(t, dir)
		})
	}
	t.Run("success", func(t *testing.T) {
		t.Parallel()
		r := startWaiting(t, bed.How{}, "-success", "143", "-while", bed.OpenDir(t)+"/file")
		r.Signal(syscall.SIGTERM)
		r.ExpectCode(t, 0)
	})
	t.Run("dropped", func(t *testing.T) {
		t.Parallel()
		r := startWaiting(t, bed.How{}, "-rewrite", "TERM:none", "-rewrite", "INT:QUIT", "-while", bed.OpenDir(t)+"/file")
		r.Signal(syscall.SIGTERM)
		bed.Await(t, "TERM is not pending", func() bool { return !bed.IsPending(r.PID(), syscall.SIGTERM) })
		r.Signal(syscall.SIGINT)
		r.ExpectSignal(t, syscall.SIGINT)
	})
	t.Run("PID 1", func(t *testing.T) {
		t.Parallel()
		bed.NeedRoot(t)
		r := startWaiting(t, bed.How{Attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}}, "-while", bed.OpenDir(t)+"/file")
		r.Signal(syscall.SIGTERM)
		r.ExpectCode(t, 143)
	})
	t.Run("terminal", func(t *testing.T) {
		for _, options := range []string{"", "-same-group"} {
			c := bed.NewConsole(t, nil, append(strings.Fields(bed.Pidleash+" -log-level info -while "+bed.OpenDir(t)+"/file "+options), "true")...)
			c.Expect("waiting for ")
			c.Types("\x03")
			if status := c.Wait(); status.Signal() != syscall.SIGINT {
				t.Errorf("%s: after ^C it has ended by %s", options, bed.Describe(status))
			}
		}
	})
}

// stopped is a PROGRAM behind -while whose file is removed.
func TestWhileStops(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		script  string // of PROGRAM, which is told to end by then
		code    int
		signal  syscall.Signal
	}{
		"schedule":         {[]string{"-stop", "INT/1h/KILL"}, ``, 0, syscall.SIGINT},
		"PROGRAM's code":   {nil, `trap 'exit 7' TERM;`, 7, 0},
		"code":             {[]string{"-removed-exit", "9"}, `trap 'exit 7' TERM;`, 9, 0},
		"code of a signal": {[]string{"-removed-exit", "0"}, ``, 0, 0},
		"success":          {[]string{"-success", "7"}, `trap 'exit 7' TERM;`, 0, 0},
		"KILL at the end":  {[]string{"-stop", "TERM/100ms/KILL"}, `trap : TERM;`, 0, syscall.SIGKILL},
		"stop command":     {[]string{"-stop", "1h/KILL", "-stop-command", "kill -USR1 $MAINPID"}, `trap 'exit 8' USR1;`, 8, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, file := bed.OpenDir(t), bed.OpenDir(t)+"/file"
			bed.WriteFile(t, file, "", 0o644)
			options := slices.Concat(c.options, []string{"-pidfile", dir + "/p.pid", "-while", file})
			r := bed.Start(t, bed.How{}, append(options, "--", "sh", "-c", c.script+`echo $$; while :; do read x || sleep 0.01; done`)...)
			program := r.Number(t)
			bed.Must(t, os.Remove(file))
			if c.signal != 0 {
				r.ExpectSignal(t, c.signal)
			} else {
				r.ExpectCode(t, c.code)
			}
			r.ExpectOneLine(t, fmt.Sprintf(`^pidleash: while %s: gone, stopping PID %d\n$`, file, program))
			bed.ExpectEmptyDir(t, dir)
		})
	}
}

func TestWhileSweeps(t *testing.T) {
	for _, mode := range []string{"mixed", "process"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			condition := bed.OpenDir(t) + "/file"
			bed.WriteFile(t, condition, "", 0o644)
			f := bed.StartFamily(t, bed.How{}, bed.InMode(mode, "-while", condition), "program", bed.Relatives...)
			bed.Must(t, os.Remove(condition))
			f.Told(t, bed.Both(syscall.SIGTERM, "program")...)
			left := bed.Relatives
			if mode == "mixed" {
				f.Told(t, bed.Both(syscall.SIGTERM, bed.Relatives...)...)
				left = nil
			}
			f.ExpectSignal(t, syscall.SIGKILL)
			f.Over(t, left...)
			f.ExpectOneLine(t, "while "+condition+": gone, stopping PID ")
		})
	}
}

func TestWhileSettle(t *testing.T) {
	t.Parallel()
	const settle = 2 * time.Second
	file := bed.OpenDir(t) + "/file"
	bed.WriteFile(t, file, "", 0o644)
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-settle", settle.String(), "-stop", "TERM", "-while", file)
	bed.AwaitWatched(t, p.Run, file)
	begin := time.Now()
	bed.Must(t, os.Remove(file))
	bed.AwaitWatched(t, p.Run, filepath.Dir(file))
	p.RoundTrips(t)
	bed.WriteFile(t, file, "", 0o644)
	bed.AwaitWatched(t, p.Run, file)
	time.Sleep(time.Until(begin.Add(settle + 500*time.Millisecond))) // the removal would count by now
	p.RoundTrips(t)
	p.ExpectQuiet(t)
	begin = time.Now()
	bed.Must(t, os.Remove(file))
	p.GotWithCont(t, syscall.SIGTERM)
	if took := time.Since(begin); took < settle {
		t.Errorf("it was stopped after %v", took)
	}
	p.Finish(t)
}

// A file that comes back does not save a PROGRAM that is being stopped.
func TestWhileStaysDown(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/file"
	bed.WriteFile(t, file, "", 0o644)
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-restart", "always", "-settle", "0", "-stop", "TERM", "-while", file)
	bed.AwaitWatched(t, p.Run, file)
	bed.Must(t, os.Remove(file))
	p.GotWithCont(t, syscall.SIGTERM)
	bed.WriteFile(t, file, "", 0o644)
	bed.AwaitWatched(t, p.Run, file)
	p.Finish(t)
	p.ExpectCode(t, 8)
	p.ExpectOneLine(t, `while `+file+`: gone, stopping PID [0-9]+\n$`)
}
