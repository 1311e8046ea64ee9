package exit

import (
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// -already-running-exit says what a start of what already runs ends with, in every mode. 0 is a success, and has
// nothing to say.
func TestAlreadyRunningExit(t *testing.T) {
	t.Parallel()
	for _, mode := range bed.StartModes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			bed.Leashed(t, bed.How{}, "-pidfile", a.PIDFile)
			held := "p.pid: already running as PID .* held by PID .*; hint: "
			for _, c := range []struct {
				options []string
				env     []string
				want    bed.Conclusion
			}{
				{want: bed.Conclusion{Code: 120, Line: held}},
				{options: []string{"-already-running-exit", "0"}},
				{options: []string{"-already-running-exit", "0", "-log-level", "info"}, want: bed.Conclusion{Line: held}},
				{options: []string{"-already-running-exit", "7"}, want: bed.Conclusion{Code: 7, Line: held}},
				{env: []string{"PIDLEASH_ALREADY_RUNNING_EXIT=0"}},
				{options: []string{"-success", "120"}, want: bed.Conclusion{Code: 120, Line: held}},
			} {
				if c.options != nil && c.options[0] == "-success" && mode.Name != "foreground" {
					continue // it is about pidleash's own end
				}
				a.Options, a.How.Env = c.options, c.env
				c.want.Expect(t, a.Start(t, mode))
			}
			bed.ExpectEmptyDir(t, a.Other) // no PROGRAM has run
		})
	}
}

// It is about whoever runs there: a program that pidleash has not started, another pidleash with the same
// -supervisor-pidfile.
func TestAlreadyRunningExitForOthers(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Options = []string{"-already-running-exit", "0"}
	bed.PlantPID(t, a.PIDFile, bed.PlainProgram(t))
	a.Start(t, bed.StartModes[0]).ExpectCode(t, 0)

	a.PIDFile, a.Super = a.Dir+"/q.pid", a.Dir+"/super.pid"
	bed.Leashed(t, bed.How{}, "-supervisor-pidfile", a.Super)
	for _, mode := range bed.StartModes {
		a.How.Env = nil
		bed.Conclusion{}.Expect(t, a.Start(t, mode))
	}
	bed.ExpectEmptyDir(t, a.Other)
	bed.ExpectFiles(t, a.Dir, "p.pid", "super.pid")
}

// A PROGRAM that ends with 120, or anything else that goes wrong, is no start of what already runs.
func TestAlreadyRunningExitIsOnlyThat(t *testing.T) {
	t.Parallel()
	for _, mode := range bed.StartModes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.Options = []string{"-already-running-exit", "0"}
			a.Program = []string{"sh", "-c", "exit 120"}
			if mode.Name != "foreground" && mode.Name != "sidecar" {
				a.Options = append(a.Options, "-ready", "30s")
			}
			a.Start(t, mode).ExpectCode(t, 120)
			bed.Await(t, "the file is gone", func() bool { return bed.IsEmpty(a.Dir) }) // a sidecar's watchdog outlives it
			a.Options = a.Options[:2]
			a.Program = []string{a.Other + "/nothing"}
			a.Start(t, mode).ExpectCode(t, 127)
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}

// Two starts at once: exactly one PROGRAM, and both have succeeded.
func TestAlreadyRunningExitInARace(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	a.Options = []string{"-already-running-exit", "0"}
	for range 10 {
		runs := make([]*bed.Run, 4)
		for i := range runs {
			a.How.Env = nil
			runs[i] = a.Start(t, bed.StartModes[2])
		}
		for _, r := range runs {
			bed.Conclusion{}.Expect(t, r)
		}
		program := bed.PIDIn(t, a.PIDFile)
		if bed.Ended(program) {
			t.Errorf("PID %d does not run", program)
		}
		out, err := exec.Command(bed.Pidleash, "stop", a.PIDFile).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("stop: %v: %s", err, out)
		}
		a.Mark.ExpectNobody(t)
	}
}

func TestAlreadyRunningExitMistakes(t *testing.T) {
	t.Parallel()
	r := bed.Start(t, bed.How{Env: []string{"PIDFILE="}}, "-already-running-exit", "0", "true")
	r.ExpectCode(t, 125)
	r.ExpectOneLine(t, "option -already-running-exit is about the PID file, and there is none; hint: -pidfile FILE")
	for _, code := range []string{"256", "-1", "no", strconv.Itoa(int(syscall.SIGTERM)) + "x"} {
		r := bed.Start(t, bed.How{}, "-already-running-exit="+code, "true")
		r.ExpectCode(t, 125)
		r.ExpectOneLine(t, `option -already-running-exit "`+code+`": invalid exit code; hint: a code from 0 to 255`)
	}
}
