package signals

import (
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// A forwarded TERM is its sender's affair: it arrives as often as it is sent,
// and pidleash adds nothing to it.
func TestForwardedTermStartsNoSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-stop", "TERM/0/KILL")
	for range 2 {
		p.Signal(syscall.SIGTERM)
		p.Got(t, syscall.SIGTERM)
		p.RoundTrips(t)
	}
	p.Finish(t)
	p.ExpectQuiet(t)
}

// Every form in which an item of a schedule can be written. The waits keep the
// pairs apart; within a pair the kernel may deliver CONT first.
func TestStopSchedule(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "0",
		"-stop", "HUP/1/-10/500ms/RTMIN+3/0.5/SIGALRM/500ms/sigusr2/forever")
	bed.RemoveFile(t, file)
	for _, sig := range []syscall.Signal{1, 10, 37, 14, 12} {
		p.GotWithCont(t, sig)
	}
	p.RoundTrips(t)
	p.Finish(t)
	p.ExpectOneLine(t, "p.pid: removed, stopping PID "+strconv.Itoa(p.Program))
}

func TestStopScheduleKillsOnTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", "TERM/300ms/KILL")
	removed := time.Now()
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGTERM)
	p.ExpectSignal(t, syscall.SIGKILL)
	// The upper bound is generous: it is to tell 300 ms from 10 s.
	if after := time.Since(removed); after < 300*time.Millisecond || after > 8*time.Second {
		t.Errorf("KILL came %v after the removal, want 300 ms", after)
	}
}

// A schedule that ends with a wait never kills.
func TestStopScheduleEndsWithoutKill(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-pidfile", file, "-settle", "0", "-stop", "TERM/0")
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGTERM)
	p.RoundTrips(t)
	p.Finish(t)
}

// A stopped process does not die from TERM before it goes on.
func TestStopEndsStoppedProgram(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "p.pid")
	r := bed.Start(t, bed.How{}, "-pidfile", file, "-stop", "TERM/forever", "sh", "-c", "echo $$; read line")
	program := r.Number(t)
	if err := syscall.Kill(program, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	bed.Await(t, "PROGRAM is stopped", func() bool { return bed.ProcessState(program) == "T" })
	bed.RemoveFile(t, file)
	r.ExpectSignal(t, syscall.SIGTERM)
}
