package background

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// When the start returns the watchdog watches: a removal in the next moment counts.
func TestDaemonIsWatchedAtReturn(t *testing.T) {
	t.Parallel()
	for worker := range 8 {
		t.Run(strconv.Itoa(worker), func(t *testing.T) {
			t.Parallel()
			for range 25 {
				a := bed.Sleeper(t)
				a.Options = []string{"-settle", "1ms"}
				if worker%4 == 3 {
					a.Options = append(a.Options, "-forking")
					a.Program = []string{"sh", "-c", "sleep 600 &"}
				}
				program := a.InBackground(t)
				if bed.Ended(program) {
					t.Errorf("PROGRAM, PID %d, does not run", program)
				}
				bed.RemoveFile(t, a.PIDFile)
				// Its watchdog stays a moment longer, to hear how PROGRAM has ended.
				bed.Await(t, "PROGRAM ends", func() bool { return bed.Ended(program) })
				bed.Await(t, "its files are gone", func() bool { return bed.IsEmpty(a.Dir) })
			}
		})
	}
}

// The middle process of a double fork may take its time: it is not the daemon, and the one that is stays watched.
func TestDaemonAfterASlowMiddle(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	a.Options = []string{"-forking"}
	a.Program = []string{"sh", "-c", `setsid sh -c "sleep 0.3; sleep 600 &" &`}
	program := a.InBackground(t)
	bed.Await(t, "it sleeps, or has ended as the middle process does", func() bool {
		name, _ := os.ReadFile(bed.ProcFile(program, "comm"))
		return string(name) == "sleep\n" || bed.Ended(program)
	})
	if bed.Ended(program) {
		t.Fatalf("PID %d was taken for the daemon, and has ended", program)
	}
	a.Leave(t)
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
			a := bed.Sleeper(t)
			a.How.Before = []string{"sh", "-c", script, "sh"}
			r := a.Start(t, bed.StartModes[2])
			// The end of standard output: nobody has it any more.
			if got := r.Rest(t); got != "0-\n" {
				t.Errorf("the script wrote %q", got)
			}
			r.ExpectCode(t, 0)
			a.Leave(t)
		})
	}
}

// What PROGRAM has said of its failure, last, is in pidleash's line.
func TestLastWords(t *testing.T) {
	t.Parallel()
	for _, m := range []bed.StartMode{bed.StartModes[0], bed.StartModes[2]} {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			inTime(t, func(limit string) bool { return lastWords(t, m, limit) })
		})
	}
}

func lastWords(t *testing.T, m bed.StartMode, limit string) bool {
	t.Helper()
	a := bed.NewAttempt(t)
	errs, own := a.Other+"/err.log", a.Other+"/own.log"
	bed.WriteFile(t, errs, "of an earlier run\n", 0o644)
	a.Options = []string{"-stderr", errs, "-ready-file", own, "-ready", "log:never", "-start-timeout", limit, "-stop", "KILL"}
	a.Shell(`echo "in its own log" >"$0/own.log"; for i in 1 2 3 4; do echo "line $i" >&2; done; : >"$0/done"; exec sleep 600`)
	r := a.Start(t, m)
	r.ExpectCode(t, 125)
	bed.ExpectEmptyDir(t, a.Dir)
	a.Mark.ExpectNobody(t)
	if bed.IsGone(a.Other + "/done") {
		return false
	}
	r.ExpectOneLine(t, `is not up after `+limit+`; .*/err.log: "line 2" "line 3" "line 4"; .*/own.log: "in its own log"`)
	return true
}

// Without a PID file there is nothing to watch, and nobody who does.
func TestDaemonWithoutPIDFile(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	r := bed.Start(t, bed.How{Env: []string{string(a.Mark), "PIDFILE="}}, "-daemon", "sh", "-c", `echo $$ >"$0/x"; mv "$0/x" "$0/pid"; exec sleep 600`, a.Other)
	bed.Conclusion{}.Expect(t, r)
	awaitFile(a, t, "pid")
	program := bed.PIDIn(t, a.Other+"/pid")
	bed.Await(t, "PROGRAM is alone", func() bool { // it may just execute sleep, and have no environment
		return slices.Equal(a.Mark.Bearers(), []int{program})
	})
	expectDevNull(t, "PROGRAM", program)
}

// A start that waits for readiness answers, as every start, 120 to another.
func TestHeldDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes[:4] {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.Options = []string{"-ready", "fd:3", "-stop", "KILL"}
			a.Shell(`: >"$0/up"; exec sleep 600`)
			r := a.Start(t, m)
			awaitFile(a, t, "up")
			second := bed.Start(t, bed.How{}, append(slices.Clone(m.Options), "-pidfile", a.PIDFile, "touch", a.Other+"/marker")...)
			bed.Conclusion{Code: 120, Line: "already (running|in use).* held by PID .*; hint: remove the file"}.Expect(t, second)
			if !strings.Contains(m.Name, "forking") {
				bed.RemoveFile(t, a.PIDFile)
			} else {
				r.Signal(syscall.SIGKILL)
			}
			r.Wait(t)
		})
	}
}

// A removal before PROGRAM is up stops it; the start has failed.
func TestRemovedDuringStart(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Options = []string{"-ready", "fd:3"}
	a.Shell(`: >"$0/up"; exec sleep 600`)
	r := a.Start(t, bed.StartModes[2])
	awaitFile(a, t, "up")
	bed.RemoveFile(t, a.PIDFile)
	r.ExpectCode(t, 125)
	if text := r.Stderr(); !strings.Contains(text, "sh: stopped before it was up: PID file "+a.PIDFile+" removed") {
		t.Errorf("standard error has %q", text)
	}
	bed.ExpectEmptyDir(t, a.Dir)
	a.Mark.ExpectNobody(t)
}

// An end in the next moment is either told or has its file removed.
func TestDaemonEndsAtOnce(t *testing.T) {
	t.Parallel()
	for range 30 {
		a := bed.NewAttempt(t)
		a.Program = []string{"true"}
		r := a.Start(t, bed.StartModes[2])
		// Whether it was still there when the watchdog took it is up to chance.
		switch status := r.Wait(t); status.ExitStatus() {
		case 0:
			r.ExpectQuiet(t)
		default:
			bed.Conclusion{Code: 125, Line: "true: ended with code 0 before it was up"}.Expect(t, r)
			bed.ExpectEmptyDir(t, a.Dir)
		}
		a.Mark.ExpectNobody(t)
		bed.ExpectEmptyDir(t, a.Dir)
	}
}

// systemd may read the PID file after the caller has ended. If the program ends within a second of "up", the watchdog
// therefore keeps the file for another second.
func TestDaemonEndsEarly(t *testing.T) {
	t.Parallel()
	for range 100 { // on a busy machine the second may pass before the program is killed
		a := bed.Sleeper(t)
		a.Start(t, bed.StartModes[2]).ExpectCode(t, 0)
		program, watchdog := bed.PIDIn(t, a.PIDFile), a.Mark.Watchdog()
		bed.Must(t, syscall.Kill(program, syscall.SIGKILL))
		named := ""
		bed.Await(t, "the file names the watchdog, or is gone", func() bool {
			content, err := os.ReadFile(a.PIDFile)
			named = strings.TrimSpace(string(content))
			return err != nil || named == strconv.Itoa(watchdog)
		})
		if named == "" {
			continue
		}
		bed.Must(t, syscall.Kill(watchdog, syscall.SIGSTOP))
		if bed.IsGone(a.PIDFile) {
			bed.Must(t, syscall.Kill(watchdog, syscall.SIGCONT))
			continue
		}
		r := a.Start(t, bed.StartModes[2])
		bed.Conclusion{Code: 120, Line: fmt.Sprintf(`already running as PID %d \(pidleash\)`, watchdog)}.Expect(t, r)
		bed.Must(t, syscall.Kill(watchdog, syscall.SIGCONT))
		bed.Await(t, "the file is gone", func() bool { return bed.IsGone(a.PIDFile) })
		a.Mark.ExpectNobody(t)
		return
	}
	t.Error("the file never named the watchdog")
}

// Whoever has removed that file will not read it: with KillMode=process systemd removes it and starts the unit again,
// which the lock on the path would refuse.
func TestDaemonEndsEarlyWithoutItsFile(t *testing.T) {
	t.Parallel()
	for range 20 { // on a busy machine the second may pass before the file is removed
		a := bed.Sleeper(t)
		log := a.Other + "/log"
		a.Start(t, bed.StartMode{Options: []string{"-daemon", "-log-level", "trace", "-stderr", log}}).ExpectCode(t, 0)
		watchdog := strconv.Itoa(a.Mark.Watchdog())
		bed.Must(t, syscall.Kill(bed.PIDIn(t, a.PIDFile), syscall.SIGKILL))
		bed.Await(t, "the file names the watchdog, or is gone", func() bool {
			content, err := os.ReadFile(a.PIDFile)
			return err != nil || strings.TrimSpace(string(content)) == watchdog
		})
		_ = os.Remove(a.PIDFile) // too late
		a.Mark.ExpectNobody(t)
		text, err := os.ReadFile(log)
		bed.Must(t, err)
		if strings.Contains(string(text), `event=removed actions="unwatch, remove`) {
			return
		}
	}
	t.Error("the watchdog never ended for the removal")
}

// The directory may go, too: the watchdog does not stand in it.
func TestDaemonDirectoryRemoved(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	parent := bed.OpenDir(t)
	a.PIDFile = parent + "/d/p.pid"
	bed.Must(t, os.Mkdir(filepath.Dir(a.PIDFile), 0o755))
	a.InBackground(t)
	bed.Must(t, os.RemoveAll(parent+"/d"))
	a.Mark.ExpectNobody(t)
}
