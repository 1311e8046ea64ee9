package faults

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// Without its watchdog a program in the background would be nobody's.
func TestWatchdogKilledDuringStart(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes[2:4] {
		for _, super := range []string{"", "/s.pid"} {
			t.Run(m.Name+super, func(t *testing.T) {
				t.Parallel()
				a := bed.NewAttempt(t)
				if super != "" {
					a.Super = a.Dir + super
				}
				bed.Must(t, syscall.Mkfifo(a.Other+"/gate", 0o600))
				a.Options = []string{"-ready", "fd:3"}
				script := `read x <"$0/gate"; echo >&3; exec sleep 60`
				if strings.Contains(m.Name, "forking") {
					script = "{ " + script + "; } &"
				}
				a.Shell(script)
				r := a.Start(t, m)
				bed.Await(t, "PROGRAM runs", func() bool { _, err := os.Stat(a.PIDFile); return err == nil })
				watchdog := a.Mark.Watchdog()
				if watchdog == 0 {
					t.Fatal("no watchdog")
				}
				bed.Must(t, syscall.Kill(watchdog, syscall.SIGKILL))
				bed.Await(t, "the watchdog is gone", func() bool { return bed.Ended(watchdog) })
				// PROGRAM comes up now, unless the caller has stopped it already.
				if gate, err := os.OpenFile(a.Other+"/gate", os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
					_, _ = gate.WriteString("\n")
					gate.Close()
				}
				bed.Conclusion{Code: 125, Line: "the watchdog has ended before it was watching"}.Expect(t, r)
				bed.ExpectEmptyDir(t, a.Dir)
				a.Mark.ExpectNobody(t)
			})
		}
	}
}

// A caller that is killed has not started anything.
func TestCallerKilledDuringStart(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Super = a.Dir + "/s.pid"
	a.Options = []string{"-ready", "fd:3"}
	a.Program = []string{"sh", "-c", `: >"$0/up"; exec sleep 60`, a.Other}
	r := a.Start(t, bed.StartModes[2])
	bed.Await(t, "PROGRAM runs", func() bool { return !bed.IsEmpty(a.Other) })
	watchdog := a.Mark.Watchdog()
	r.Signal(syscall.SIGKILL)
	r.ExpectSignal(t, syscall.SIGKILL)
	bed.Await(t, "the watchdog has ended", func() bool { return bed.Ended(watchdog) })
	a.Mark.ExpectNobody(t)
	bed.ExpectEmptyDir(t, a.Dir)
}
