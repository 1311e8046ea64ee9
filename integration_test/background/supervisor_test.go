package background

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// Who looks after PROGRAM is in a file of its own.
func TestSupervisorPIDFile(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			a.Super = a.Dir + "/s.pid"
			if strings.Contains(m.Name, "forking") {
				a.Program = []string{"sh", "-c", "sleep 600 &"}
			}
			a.How.Umask = "077"
			r := a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			want := a.Mark.Watchdog()
			if want == 0 {
				want = r.PID()
			}
			if got := bed.PIDIn(t, a.Super); got != want {
				t.Errorf("the file names PID %d, want %d", got, want)
			}
			if info, err := os.Stat(a.Super); err != nil || info.Mode() != 0o644 {
				t.Errorf("the file: %v, %v", info.Mode(), err)
			}
			second := bed.Start(t, bed.How{}, "-supervisor-pidfile", a.Super, "true")
			bed.Conclusion{Code: 120, Line: fmt.Sprintf("s.pid: already running as PID %d .*held by PID .*", want)}.Expect(t, second)
			a.Leave(t)
		})
	}
}

// Its removal is nobody's business.
func TestSupervisorPIDFileRemoved(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	a.Super = a.Dir + "/s.pid"
	program := a.InBackground(t)
	bed.RemoveFile(t, a.Super)
	bed.WriteFile(t, a.Super, "1\n", 0o644)
	bed.Must(t, syscall.Kill(program, syscall.SIGTERM))
	a.Mark.ExpectNobody(t)
	bed.ExpectFiles(t, a.Dir, "s.pid")
}

// The supervisor stands in "/", in a session of its own, and has nothing of the
// caller's; its program stands where the caller stood, also after a restart.
func TestSupervisorSurroundings(t *testing.T) {
	t.Parallel()
	a := bed.Sleeper(t)
	program := a.InBackground(t, "-restart", "always", "-restart-delay", "1ms", "-supervisor-pidfile", a.Other+"/s.pid")
	supervisor := bed.PIDIn(t, a.Other+"/s.pid")
	here, err := os.Getwd()
	bed.Must(t, err)
	for range 2 {
		for pid, want := range map[int]string{supervisor: "/", program: here} {
			if dir, _ := os.Readlink(bed.ProcFile(pid, "cwd")); dir != want {
				t.Errorf("PID %d stands in %q, want %s", pid, dir, want)
			}
			expectDevNull(t, strconv.Itoa(pid), pid)
			sid, tty := session(t, pid)
			if mine, _ := session(t, os.Getpid()); sid == mine || tty != "0" {
				t.Errorf("PID %d has session %s, terminal %s", pid, sid, tty)
			}
		}
		bed.Must(t, syscall.Kill(program, syscall.SIGKILL))
		before := program
		bed.Await(t, "another program", func() bool {
			program = bed.PIDIn(t, a.PIDFile)
			return !slices.Contains([]int{before, supervisor}, program)
		})
	}
	a.Leave(t)
}
