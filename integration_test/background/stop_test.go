package background

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// sweepCase is who of PROGRAM's process group is there when it has ended.
type sweepCase struct {
	mode    string
	removed bool // or it ends by itself
	left    bool
}

func TestDaemonSweepsGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []sweepCase{
		{"mixed", true, false}, {"group", true, false}, {"process", true, true},
		{"mixed", false, true}, {"group", false, true}, {"process", false, true},
	} {
		for _, m := range bed.StartModes[2:4] {
			t.Run(fmt.Sprintf("%s/%s/%v", m.Name, c.mode, c.removed), func(t *testing.T) { c.run(t, m) })
		}
	}
}

func (c sweepCase) run(t *testing.T, m bed.StartMode) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = []string{"-kill-mode", c.mode, "-ready", "fd:3"}
	script := `sleep 600 3>&- & echo $! >"$0/member"; echo >&3; exec 3>&-; read x <"$0/gate"; exit 3` // with 0 it would be the middle of a double fork
	if m.Name == "daemon forking" {
		// A group of its own for the daemon, as setsid(2) gives it.
		script = `setsid sh -c '` + script + `' "$0" &`
	}
	a.Shell(script)
	r := a.Start(t, m)
	bed.Conclusion{}.Expect(t, r)
	member := bed.PIDIn(t, a.Other+"/member")
	if c.removed {
		bed.RemoveFile(t, a.PIDFile)
	} else {
		a.Open(t)
	}
	bed.Await(t, "PROGRAM and the watchdog have ended", func() bool {
		left := a.Mark.Bearers()
		return len(left) == 0 || len(left) == 1 && left[0] == member
	})
	if bed.Ended(member) == c.left {
		t.Errorf("the member of PROGRAM's group: dead is %v, want %v", bed.Ended(member), !c.left)
	}
	bed.ExpectEmptyDir(t, a.Dir)
}

// What ignores TERM gets the rest of the schedule from the watchdog, too.
func TestDaemonSchedule(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.NewGate(t)
	a.Options = []string{"-stop", "TERM/50ms/KILL", "-ready", "fd:3"}
	a.Shell(`trap '' TERM; sleep 600 & echo >&3; exec 3>&-; wait`)
	a.InBackground(t)
	a.Leave(t)
}

// While the watchdog waits for what is left of PROGRAM it does nothing.
func TestWatchdogIsIdleWhileSweeping(t *testing.T) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.Options = []string{"-stop", "TERM/1s/KILL", "-ready", "fd:3"}
	a.Shell(`sh -c 'trap "" TERM; echo >&3; exec 3>&-; exec sleep 600' & exec 3>&-; exec sleep 600`)
	program := a.InBackground(t)
	watchdog := a.Mark.Watchdog()
	bed.RemoveFile(t, a.PIDFile)
	bed.Await(t, "PROGRAM ends", func() bool { return bed.Ended(program) })
	busy := 0
	bed.Await(t, "the watchdog ends", func() bool {
		busy = max(busy, cpuTicks(watchdog))
		return bed.Ended(watchdog)
	})
	// 1 s is 100 ticks.
	if busy > 30 {
		t.Errorf("it has computed for %d ticks", busy)
	}
	a.Mark.ExpectNobody(t)
}

// cpuTicks is what a process has computed, proc_pid_stat(5); 0 when it is gone.
func cpuTicks(pid int) int {
	text, _ := os.ReadFile(bed.ProcFile(pid, "stat"))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return user + system
}

func TestDaemonStopCommand(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			a.How.Dir = a.Other
			a.Options = []string{"-stop-command", `echo "$MAINPID $LEASH_WORD" >stopped; kill -INT $MAINPID`, "-stop", "30s/KILL"}
			a.How.Env = []string{"LEASH_WORD=hello"}
			a.Program = []string{"sleep", "600"}
			if strings.Contains(m.Name, "forking") {
				a.Program = []string{"sh", "-c", "trap - INT; exec setsid -f sleep 600"}
			}
			a.Start(t, m)
			bed.Await(t, "PROGRAM runs", func() bool { return a.IsSleeping() })
			program := bed.PIDIn(t, a.PIDFile)
			a.Leave(t)
			if got, want := bed.ReadFile(t, a.Other+"/stopped"), fmt.Sprintf("%d hello\n", program); got != want {
				t.Errorf("the stop command wrote %q, want %q", got, want)
			}
		})
	}
}
