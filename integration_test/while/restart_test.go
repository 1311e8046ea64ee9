package while

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A removal never restarts, whenever it comes.
func TestWhileNeverRestarts(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, file string) *bed.Run{
		"running": func(t *testing.T, file string) *bed.Run {
			r, _ := bed.Leashed(t, bed.How{}, "-restart", "always", "-restart-delay", "0", "-while", file)
			bed.Must(t, os.Remove(file))
			r.ExpectSignal(t, syscall.SIGTERM)
			r.ExpectOneLine(t, "while "+file+`: gone, stopping PID [0-9]+\n`)
			return r
		},
		"back-off": func(t *testing.T, file string) *bed.Run {
			return whileBackOff(t, file, 0)
		},
		"back-off with a code": func(t *testing.T, file string) *bed.Run {
			return whileBackOff(t, file, 9, "-removed-exit", "9")
		},
		"stop for a restart": func(t *testing.T, file string) *bed.Run {
			p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-restart-signal", "HUP", "-stop", "TERM", "-while", file)
			bed.AwaitWatched(t, p.Run, file)
			p.Signal(syscall.SIGHUP)
			p.GotWithCont(t, syscall.SIGTERM)
			bed.Must(t, os.Remove(file))
			p.AwaitStderr(t, "while "+file+`: gone, stopping PID [0-9]+\n`)
			p.Finish(t)
			p.ExpectCode(t, 8)
			return p.Run
		},
		"stop for a restart, the moment before its end": func(t *testing.T, file string) *bed.Run {
			p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-restart-signal", "HUP", "-settle", "5s", "-stop", "TERM", "-while", file)
			bed.AwaitWatched(t, p.Run, file)
			p.Signal(syscall.SIGHUP)
			p.GotWithCont(t, syscall.SIGTERM)
			bed.Must(t, os.Remove(file))
			bed.AwaitWatched(t, p.Run, filepath.Dir(file))
			p.Stdin.Close()
			p.AwaitStderr(t, "while "+file+`: gone, not starting again\n`)
			p.ExpectCode(t, 0) // none was running
			return p.Run
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/file"
			bed.WriteFile(t, file, "", 0o644)
			if text := run(t, file).Rest(t); text != "" {
				t.Errorf("PROGRAM was started again and wrote %q", text)
			}
		})
	}
}

// whileBackOff removes the file when no PROGRAM runs, and a new one is an hour away.
func whileBackOff(t *testing.T, file string, code int, options ...string) *bed.Run {
	dir := bed.OpenDir(t)
	options = append(options, "-log-level", "info", "-pidfile", dir+"/p.pid", "-restart", "always", "-restart-delay", "1h", "-while", file)
	r := bed.Start(t, bed.How{}, append(options, "--", "sh", "-c", "echo $$; exit 3")...)
	r.Number(t)
	r.AwaitStderr(t, "restarting in 1h")
	if got := bed.PIDIn(t, dir+"/p.pid"); got != r.PID() {
		t.Errorf("between two runs the PID file names %d, want pidleash, %d", got, r.PID())
	}
	bed.AwaitWatched(t, r, file)
	begin := time.Now()
	bed.Must(t, os.Remove(file))
	r.ExpectCode(t, code)
	if took := bed.Since(begin); took > bed.ByEvent {
		t.Errorf("it took %v: no event", took)
	}
	if r.Warnings("while "+file+": gone, not starting again") != 1 || r.Warnings("\n") != 2 {
		t.Errorf("want one line about the file:\n%s", r.Stderr())
	}
	bed.ExpectEmptyDir(t, dir)
	return r
}

// A -restart does not mean to start before the file is there.
func TestWhileBeforeRestart(t *testing.T) {
	t.Parallel()
	file := bed.OpenDir(t) + "/file"
	r := startWaiting(t, bed.How{}, "-restart", "always", "-restart-delay", "0", "-restart-signal", "HUP", "-while", file)
	r.Signal(syscall.SIGHUP) // asks for a restart of nobody
	bed.Await(t, "HUP is not pending", func() bool { return !bed.IsPending(r.PID(), syscall.SIGHUP) })
	bed.WriteFile(t, file, "", 0o644)
	program := r.Number(t)
	r.Signal(syscall.SIGHUP)
	if again := r.Number(t); again == program {
		t.Errorf("PROGRAM is still PID %d", program)
	}
	r.Signal(syscall.SIGTERM)
	r.ExpectSignal(t, syscall.SIGTERM)
}

// A service manager shows what is waited for.
func TestWhileTellsManager(t *testing.T) {
	t.Parallel()
	m, file := bed.NewManager(t), bed.OpenDir(t)+"/file"
	r := startWaiting(t, m.How(), "-while", file)
	m.Expect("STATUS=Waiting for " + file)
	bed.WriteFile(t, file, "", 0o644)
	m.Expect("STATUS=")
	r.Number(t)
	bed.Must(t, os.Remove(file))
	m.Expect("STATUS=Stopping: while " + file + ": gone")
	r.ExpectSignal(t, syscall.SIGTERM)
	m.Expect("STATUS=Stopped: while " + file + ": gone")
}
