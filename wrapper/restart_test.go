package wrapper

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
)

// The runs of a program, one after the other, told with the play of machine_test.go.

// playRuns is a machine that starts its program again when that has failed, and decides
// about its file at the first look; set changes that. Its program runs.
func playRuns(t *testing.T, set func(*machine)) *play {
	t.Helper()
	p := playIdle(t, set)
	p.happens("began", "spawn")
	p.happens("started", "watchFile")
	return p
}

func playIdle(t *testing.T, set func(*machine)) *play {
	t.Helper()
	stop, err := plan.ParseSchedule(plan.DefaultSchedule)
	if err != nil {
		t.Fatal(err)
	}
	p := &play{t: t, m: machine{hasFile: true, schedule: stop, restart: plan.Restart{Policy: plan.RestartOnFailure, Delay: time.Second}}, now: noon}
	if set != nil {
		set(&p.m)
	}
	return p
}

// fails has the program end with a failure, and waits for the next run to begin.
func (p *play) fails(wait time.Duration) {
	p.t.Helper()
	p.happens("exited:1", "standIn,tellRestart:"+wait.String())
	p.ticks(wait, "spawn")
	p.happens("started", "-")
}

// isDue has the tick come at once.
func (p *play) isDue(want string) {
	p.t.Helper()
	if at := p.m.deadline(); at.IsZero() || at.After(p.now) {
		p.t.Fatalf("%v after noon: the deadline is %v, want it now", p.now.Sub(noon), at)
	}
	p.happens("ticked", want)
}

// ends checks how pidleash came to its end.
func (p *play) ends(byRemoval bool, endedBy syscall.Signal, status syscall.WaitStatus) {
	p.t.Helper()
	if p.m.state != over {
		p.t.Errorf("the state is %s, want over", stateNames[p.m.state])
	}
	if p.m.byRemoval != byRemoval || p.m.endedBy != endedBy || p.m.status != status {
		p.t.Errorf("byRemoval %v, endedBy %v, status %#x; want %v, %v, %#x", p.m.byRemoval, p.m.endedBy, p.m.status, byRemoval, endedBy, status)
	}
	p.waits(0)
}

func always(m *machine) { m.restart.Policy = plan.RestartAlways }

// onRequest has no restarts but those that are asked for.
func onRequest(m *machine) { m.restart = plan.Restart{Signal: syscall.SIGUSR2} }

const (
	stops     = "kill:TERM,kill:CONT"
	isRemoved = "say:removed:stop,unwatchFile"
	closes    = "unwatchFile,removeFile,end"
)

func TestRestartDoublesTheDelay(t *testing.T) {
	p := playRuns(t, nil)
	for _, seconds := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		p.fails(seconds * time.Second)
	}
	p.later(health - 1)
	p.fails(30 * time.Second)
	p.later(health)
	p.fails(time.Second)
	p.fails(2 * time.Second)
}

func TestRestartKeepsALongDelay(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Delay = 40 * time.Second })
	p.fails(40 * time.Second)
	p.fails(40 * time.Second)
}

func TestRestartMayComeAtOnce(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Delay = 0 })
	for range 3 {
		p.happens("exited:1", "standIn,tellRestart:0s")
		p.isDue("spawn")
		p.happens("started", "-")
	}
}

func TestRestartAddsJitter(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.jitter = func() float64 { return 1 } })
	p.fails(1100 * time.Millisecond)
	p.fails(2200 * time.Millisecond)
	p.m.jitter = func() float64 { return 0.5 }
	p.fails(4200 * time.Millisecond)
}

// The delay is between a run's end and the next start, not between two starts.
func TestRestartDoesNotCountTheDelayAsHealth(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Delay = 2 * health })
	p.happens("exited:1", "standIn,tellRestart:2m0s")
	p.ticks(2*health, "spawn")
	p.happens("failed:127", "standIn,tellRestart:2m0s")
}

func TestRestartDelaysEachFailedLaunch(t *testing.T) {
	p := playRuns(t, nil)
	p.happens("exited:1", "standIn,tellRestart:1s")
	wait := time.Second
	for _, next := range []time.Duration{2, 4, 8, 16, 30, 30, 30} { // a minute passes without a run
		p.ticks(wait, "spawn")
		wait = next * time.Second
		p.happens("failed:127", "standIn,tellRestart:"+wait.String())
	}
}

func TestRestartIsForFailures(t *testing.T) {
	success := func(codes ...int) func(*machine) {
		return func(m *machine) {
			for _, code := range codes {
				m.success[code] = true
			}
		}
	}
	for _, c := range []struct {
		name   string
		set    func(*machine)
		end    string
		failed bool
	}{
		{"0", success(), "exited:0", false},
		{"1", success(), "exited:1", true},
		{"the largest code", success(), "exited:255", true},
		{"a code of -success", success(3), "exited:3", false},
		{"another", success(3), "exited:4", true},
		{"a code that looks like a clean signal", success(), "exited:143", true},
		{"HUP", success(), "exited:HUP", false},
		{"INT", success(), "exited:INT", false},
		{"TERM", success(), "exited:TERM", false},
		{"PIPE", success(), "exited:PIPE", false},
		{"QUIT", success(), "exited:QUIT", true},
		{"KILL", success(), "exited:KILL", true},
		{"SEGV", success(), "exited:SEGV", true},
		{"ABRT", success(), "exited:ABRT", true},
		{"the largest signal", success(), "exited:RTMAX", true},
		{"KILL by -success", success(137), "exited:KILL", false},
		{"the largest signal by -success", success(192), "exited:RTMAX", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := playRuns(t, c.set)
			want := closes
			if c.failed {
				want = "standIn,tellRestart:1s"
			}
			p.happens(c.end, want)

			p = playRuns(t, func(m *machine) { c.set(m); always(m) })
			p.happens(c.end, "standIn,tellRestart:1s")

			p = playRuns(t, func(m *machine) { c.set(m); onRequest(m) })
			p.happens(c.end, closes)
		})
	}
}

func TestRestartIsCancelledByASignalToEnd(t *testing.T) {
	for _, name := range []string{"TERM", "INT", "QUIT"} {
		p := playRuns(t, always)
		want, end := "kill:"+name, closes
		if name == "TERM" {
			want, end = want+",unwatchFile", "removeFile,end"
		}
		p.happens(name, want)
		p.later(time.Hour)
		p.happens("exited:1", end)
		p.ends(false, 0, statusExit(1))
	}
}

func TestRestartIsNotCancelledByOtherSignals(t *testing.T) {
	p := playRuns(t, always)
	p.happens("HUP", "kill:HUP")
	p.happens("USR1", "kill:USR1")
	p.happens("exited:HUP", "standIn,tellRestart:1s")
}

func TestRestartHeedsRewrites(t *testing.T) {
	set := func(m *machine) {
		always(m)
		m.rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGUSR1, syscall.SIGINT: 0, syscall.SIGUSR2: syscall.SIGTERM}
	}
	p := playRuns(t, set)
	p.happens("INT", "-") // dropped
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.happens("INT", "-")

	p = playRuns(t, set)
	p.happens("TERM", "kill:USR1,unwatchFile") // whatever reaches the program
	p.happens("exited:1", "removeFile,end")

	p = playRuns(t, set)
	p.happens("USR2", "kill:TERM,unwatchFile") // nobody has told pidleash to end
	p.happens("exited:TERM", "standIn,watchFile,tellRestart:1s")
	p.happens("TERM", closes)
	p.ends(false, syscall.SIGTERM, statusSignal(syscall.SIGTERM))
}

func TestRestartIsCancelledByTheTerminal(t *testing.T) {
	p := playRuns(t, always)
	p.happens("exited:^C", closes)
	p.ends(false, 0, statusSignal(syscall.SIGINT))

	p = playRuns(t, always)
	p.happens("had:INT", "-") // in pidleash's process group
	p.happens("exited:INT", closes)

	p = playRuns(t, func(m *machine) { onRequest(m); m.hasCommand = true })
	p.happens("asked", "runCommand")
	p.happens("exited:^C", "-")
	p.happens("commandDone", "survey")
	p.happens("emptied", closes)
}

func TestRestartWaitingEndsBySignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP} {
		p := playRuns(t, nil)
		p.happens("exited:3", "standIn,tellRestart:1s")
		p.happens(strings.TrimPrefix(plan.SignalName(sig), "SIG"), closes)
		p.ends(false, sig, statusExit(3))
	}
	p := playRuns(t, nil)
	p.happens("exited:3", "standIn,tellRestart:1s")
	for _, name := range []string{"USR1", "USR2", "ALRM", "WINCH", "CONT", "RTMIN+3"} {
		p.happens(name, "-")
	}
	p.ticks(time.Second, "spawn")
}

func TestRestartNeverFollowsARemoval(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		p := playRuns(t, always)
		p.happens("removed", stops+","+isRemoved)
		p.happens("exited:TERM", "survey")
		p.happens("emptied", "removeFile,end")
		p.ends(true, 0, statusSignal(syscall.SIGTERM))
	})
	t.Run("running, confirmed in back-off", func(t *testing.T) {
		p := playRuns(t, func(m *machine) { m.settle = 100 * time.Millisecond })
		p.happens("removed", "-")
		p.later(60 * time.Millisecond)
		p.happens("exited:1", "standIn,tellRestart:1s")
		p.ticks(40*time.Millisecond, "look")
		p.happens("removed", "say:removed:stop,"+closes)
		p.ends(true, 0, 0)
	})
	t.Run("back-off", func(t *testing.T) {
		p := playRuns(t, nil)
		p.happens("exited:1", "standIn,tellRestart:1s")
		p.happens("removed", "say:removed:stop,"+closes)
		p.ends(true, 0, 0)
	})
	t.Run("back-off, shortly before its end", func(t *testing.T) {
		p := playRuns(t, func(m *machine) { m.settle = 100 * time.Millisecond })
		p.happens("exited:1", "standIn,tellRestart:1s")
		p.later(950 * time.Millisecond)
		p.happens("removed", "-")
		p.ticks(100*time.Millisecond, "look") // not started before that is known
		p.happens("removed", "say:removed:stop,"+closes)
		p.ends(true, 0, 0)
	})
	t.Run("stop command for a restart", func(t *testing.T) {
		p := playRuns(t, func(m *machine) { onRequest(m); m.hasCommand = true })
		p.happens("asked", "runCommand")
		p.happens("removed", isRemoved)
		p.happens("commandDone", stops)
		p.happens("exited:TERM", "survey")
		p.happens("emptied", "removeFile,end")
		p.ends(true, 0, statusSignal(syscall.SIGTERM))
	})
	t.Run("stop command that outlives the program", func(t *testing.T) {
		p := playRuns(t, func(m *machine) { onRequest(m); m.hasCommand = true })
		p.happens("asked", "runCommand")
		p.happens("exited:TERM", "-")
		p.happens("removed", isRemoved)
		p.happens("commandDone", "survey")
		p.happens("emptied", "removeFile,end")
		p.ends(true, 0, statusSignal(syscall.SIGTERM))
	})
	t.Run("schedule for a restart", func(t *testing.T) {
		p := playRuns(t, func(m *machine) { onRequest(m); m.settle = 100 * time.Millisecond })
		p.happens("asked", stops)
		p.happens("removed", "-")
		p.ticks(100*time.Millisecond, "look")
		p.happens("removed", isRemoved)
		p.ticks(10*time.Second-100*time.Millisecond, "kill:KILL")
		p.happens("exited:KILL", "survey")
		p.happens("emptied", "removeFile,end")
		p.ends(true, 0, statusSignal(syscall.SIGKILL))
	})
	t.Run("schedule because it did not come up", func(t *testing.T) {
		p := playRuns(t, nil)
		p.happens("unready", stops)
		p.happens("removed", isRemoved)
		p.happens("exited:TERM", "survey")
		p.happens("emptied", "removeFile,end")
		p.ends(true, 0, statusSignal(syscall.SIGTERM))
	})
	t.Run("sweeping for a restart", func(t *testing.T) {
		p := playRuns(t, onRequest)
		p.happens("asked", stops)
		p.happens("exited:TERM", "survey")
		p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
		p.happens("removed", isRemoved)
		p.happens("emptied", "removeFile,end")
		p.ends(true, 0, statusSignal(syscall.SIGTERM))
	})
	t.Run("the moment of the start", func(t *testing.T) {
		p := playRuns(t, nil)
		p.happens("exited:1", "standIn,tellRestart:1s")
		p.ticks(time.Second, "spawn")
		p.happens("vanished", "say:removed:stop,"+closes)
		p.ends(true, 0, 0)
	})
}

// What only seemed to be gone delays the restart until that is known.
func TestRestartAfterAFalseAlarm(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.settle = 3 * time.Second })
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.happens("replaced", "-")
	p.ticks(3*time.Second, "look")
	p.happens("present", "-")
	p.isDue("spawn")
}

func TestRestartLimit(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Limit, m.restart.Window = 2, time.Hour })
	p.fails(time.Second)
	p.fails(2 * time.Second)
	p.happens("exited:7", "unwatchFile,sayLimit,removeFile,end")
	p.ends(false, 0, statusExit(7))
}

func TestRestartLimitSlides(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Limit, m.restart.Window = 2, 10*time.Minute })
	p.fails(time.Second)
	p.later(9 * time.Minute)
	p.fails(time.Second)
	p.later(time.Minute) // the first one is forgotten, the second is not
	p.fails(time.Second)
	p.happens("exited:7", "unwatchFile,sayLimit,removeFile,end")
}

func TestRestartLimitDoesNotCountWhatIsAsked(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Limit, m.restart.Window = 1, time.Hour })
	for range 5 {
		p.happens("asked", stops)
		p.happens("exited:TERM", "survey")
		p.happens("emptied", "standIn,tellRestart:0s")
		p.isDue("spawn")
		p.happens("started", "-")
	}
	p.fails(time.Second)
	p.happens("asked", stops)
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "standIn,tellRestart:0s")
	p.isDue("spawn")
	p.happens("started", "-")
	p.happens("exited:1", "unwatchFile,sayLimit,removeFile,end")
}

func TestRestartLimitCountsFailedLaunches(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.restart.Limit, m.restart.Window = 2, time.Hour })
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.ticks(time.Second, "spawn")
	p.happens("failed:127", "standIn,tellRestart:2s")
	p.ticks(2*time.Second, "spawn")
	p.happens("failed:127", "unwatchFile,sayLimit,removeFile,end")
	p.ends(false, 0, statusExit(127))
}

func TestRestartOnRequest(t *testing.T) {
	p := playRuns(t, onRequest)
	p.happens("asked", stops)
	p.happens("asked", "-") // it is on its way
	p.later(4 * time.Second)
	p.happens("present", "-")
	p.ticks(6*time.Second, "kill:KILL")
	p.happens("exited:KILL", "survey")
	p.happens("emptied", "standIn,tellRestart:0s")
	p.isDue("spawn")
	p.happens("started", "-")
	p.waits(0)
	p.happens("asked", stops) // from the start of the schedule
	p.ticks(10*time.Second, "kill:KILL")
	p.happens("exited:KILL", "survey")
	p.happens("emptied", "standIn,tellRestart:0s")
	p.isDue("spawn")
	p.happens("started", "-")
	p.happens("exited:1", closes) // an end of its own
	p.ends(false, 0, statusExit(1))
}

func TestRestartOnRequestByTheStopCommand(t *testing.T) {
	p := playRuns(t, func(m *machine) { onRequest(m); m.hasCommand, m.killMode = true, plan.KillProcess })
	p.happens("asked", "runCommand")
	p.happens("asked", "-")
	p.happens("exited", "-")
	p.happens("asked", "-")
	p.happens("commandDone", "standIn,tellRestart:0s")
	p.isDue("spawn")
	p.happens("started", "-")
	p.happens("asked", "runCommand") // once for each run
	p.ticks(10*time.Second, "killCommand,"+stops)
	p.happens("commandDone", "-")
	p.happens("exited:TERM", "standIn,tellRestart:0s")
}

func TestRestartOnRequestEndsTheBackOff(t *testing.T) {
	p := playRuns(t, nil)
	p.fails(time.Second)
	p.fails(2 * time.Second)
	p.happens("exited:1", "standIn,tellRestart:4s")
	p.later(time.Second)
	p.happens("asked", "spawn")
	p.happens("started", "-")
	p.waits(0)
	p.fails(time.Second) // somebody has done something about it
}

func TestRestartOnRequestIsTakenBack(t *testing.T) {
	for _, name := range []string{"TERM", "INT", "QUIT"} {
		p := playRuns(t, onRequest)
		p.happens("asked", stops)
		if name == "TERM" {
			p.happens(name, "kill:TERM,unwatchFile")
			p.happens("exited:TERM", "survey")
		} else {
			p.happens(name, "kill:"+name)
			p.happens("exited:TERM", "unwatchFile,survey")
		}
		p.happens("asked", "-")
		p.happens("emptied", "removeFile,end")
		p.ends(false, 0, statusSignal(syscall.SIGTERM))
	}

	p := playRuns(t, func(m *machine) { onRequest(m); m.hasCommand, m.killMode = true, plan.KillProcess })
	p.happens("asked", "runCommand")
	p.happens("exited:TERM", "-")
	p.happens("TERM", "-") // nobody has it, and it counts
	p.happens("commandDone", closes)
	p.ends(false, 0, statusSignal(syscall.SIGTERM))

	p = playRuns(t, onRequest)
	p.happens("asked", stops)
	p.happens("exited:TERM", "survey")
	p.happens("TERM", "kill:TERM:tree,unwatchFile")
	p.happens("emptied", "removeFile,end")
}

func TestRestartNotAfterTERM(t *testing.T) {
	p := playRuns(t, onRequest)
	p.happens("TERM", "kill:TERM,unwatchFile")
	p.happens("asked", "-")
	p.happens("exited:TERM", "removeFile,end")
}

// What is left of the former run's descendants does not run beside the next.
func TestRestartSweepsFirst(t *testing.T) {
	p := playRuns(t, onRequest)
	p.happens("asked", stops)
	p.later(9 * time.Second)
	p.happens("exited:TERM", "survey")
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.ticks(10*time.Second, "kill:KILL:tree")
	p.happens("remaining", "kill:KILL:tree")
	p.happens("emptied", "standIn,tellRestart:0s")
	p.isDue("spawn")

	p = playRuns(t, func(m *machine) { onRequest(m); m.killMode = plan.KillProcess })
	p.happens("asked", stops)
	p.happens("exited:TERM", "standIn,tellRestart:0s")

	p = playRuns(t, func(m *machine) { m.killMode = plan.KillTree })
	p.happens("exited:1", "survey") // after an end of its own, too
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.happens("emptied", "standIn,tellRestart:1s")
	p.ticks(time.Second, "spawn")
	p.happens("started", "-")
	p.happens("removed", "kill:TERM:tree,kill:CONT:tree,"+isRemoved) // the schedule from its start
}

func TestRestartNotAfterAFailedFirstLaunch(t *testing.T) {
	p := playIdle(t, always)
	p.happens("began", "spawn")
	p.happens("failed:127", "end")
}

func TestRestartAfterBeingLate(t *testing.T) {
	p := playIdle(t, func(m *machine) { m.awaits, m.limit = true, 90*time.Second })
	p.happens("began", "spawn")
	p.happens("started", "watchFile,await")
	p.happens("readied", "tellReady")
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.ticks(time.Second, "spawn")
	for _, seconds := range []time.Duration{2, 4, 8} { // it has run for more than a minute, and not well
		p.happens("started", "await")
		p.ticks(90*time.Second, "sayLate,"+stops)
		p.waits(10 * time.Second)
		p.happens("exited:TERM", "survey") // a failure all the same
		p.happens("emptied", "standIn,tellRestart:"+(seconds*time.Second).String())
		p.ticks(seconds*time.Second, "spawn")
	}
	p.happens("started", "await")
	p.happens("readied", "tellReady")
	p.waits(0)
	p.happens("exited:0", closes)
}

func TestRestartForgetsThatItWasLate(t *testing.T) {
	p := playIdle(t, func(m *machine) { onRequest(m); m.awaits, m.limit = true, 30*time.Second })
	p.happens("began", "spawn")
	p.happens("started", "watchFile,await")
	p.later(20 * time.Second)
	p.happens("asked", stops)
	p.waits(10 * time.Second)
	p.happens("unready", "-")
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "standIn,tellRestart:0s")
	p.isDue("spawn")
	p.happens("started", "await")
	p.waits(30 * time.Second)
}

// Somebody waits for the first start, and hears of its failure instead of a restart.
func TestRestartOnlyOfWhatCameUp(t *testing.T) {
	set := func(m *machine) { always(m); m.mustComeUp, m.awaits = true, true }
	p := playIdle(t, set)
	p.happens("began", "spawn")
	p.happens("started", "watchFile,await")
	p.happens("asked", "-")
	p.happens("exited:1", "unwatchFile,survey")
	p.happens("emptied", "removeFile,end")
	p.ends(false, 0, statusExit(1))

	p = playIdle(t, set)
	p.happens("began", "spawn")
	p.happens("started", "watchFile,await")
	p.happens("unready", "unwatchFile,"+stops)
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "removeFile,end")

	p = playIdle(t, set)
	p.happens("began", "spawn")
	p.happens("started", "watchFile,await")
	p.happens("readied", "reportUp,tellReady")
	p.happens("exited:1", "unwatchFile,survey") // before anybody has heard of it
	p.happens("emptied", "removeFile,end")

	p = playIdle(t, set)
	p.happens("began", "spawn")
	p.happens("started", "watchFile,await")
	p.happens("readied", "reportUp,tellReady")
	p.happens("reported", "-")
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.ticks(time.Second, "spawn")
	p.happens("started", "await")
	p.happens("exited:1", "standIn,tellRestart:2s") // once is enough
}

func TestRestartWithoutAFile(t *testing.T) {
	p := playIdle(t, func(m *machine) { m.hasFile = false })
	p.happens("began", "spawn")
	p.happens("started", "-")
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.ticks(time.Second, "spawn")
	p.happens("started", "-")
	p.happens("exited:0", "end")
}

// playWaiting is a machine that waits for a -while file.
func playWaiting(t *testing.T, set func(*machine)) *play {
	t.Helper()
	p := playIdle(t, set)
	p.happens("shut", "-")
	p.happens("began", "standIn,watchFile,tellWaiting")
	return p
}

func TestWhileWaitsForTheFile(t *testing.T) {
	p := playWaiting(t, nil)
	p.waits(0)
	p.later(1000 * time.Hour)
	p.happens("shut", "-") // a look without news
	p.happens("ticked", "-")
	p.happens("USR1", "-")
	p.happens("asked", "-")
	p.waits(0)
	p.happens("opened", "spawn")
	p.happens("started", "-")
	p.happens("opened", "-")
	p.waits(0)
}

func TestWhileWaitsForALimitedTime(t *testing.T) {
	set := func(m *machine) { m.whileLimit = 30 * time.Second }
	p := playWaiting(t, set)
	p.later(20 * time.Second)
	p.happens("shut", "-")
	p.ticks(10*time.Second, "sayLate,"+closes)
	p.ends(false, 0, 0)

	p = playWaiting(t, set)
	p.later(29 * time.Second)
	p.happens("opened", "spawn")
	p.happens("started", "-")
	p.waits(0)
	p.happens("exited:1", "standIn,tellRestart:1s") // the limit is for the first start
	p.waits(time.Second)
}

func TestWhileNeedNotWait(t *testing.T) {
	p := playIdle(t, nil)
	p.happens("opened", "-")
	p.happens("began", "spawn")
	p.happens("started", "watchFile")
}

func TestWhileWaitingEnds(t *testing.T) {
	p := playWaiting(t, nil)
	p.happens("removed", "say:removed:stop,"+closes)
	p.ends(true, 0, 0)

	p = playWaiting(t, nil)
	p.happens("HUP", closes)
	p.ends(false, syscall.SIGHUP, 0)

	p = playWaiting(t, nil)
	p.happens("unready", closes) // who wanted it has gone
	p.ends(false, 0, 0)

	p = playWaiting(t, nil)
	p.happens("failed", closes) // the path is another's
	p.ends(false, 0, 0)

	p = playWaiting(t, nil)
	p.happens("opened", "spawn")
	p.happens("failed:127", closes) // it has stood in for it
	p.ends(false, 0, 0)

	p = playWaiting(t, nil)
	p.happens("opened", "spawn")
	p.happens("vanished", "say:removed:stop,"+closes)
	p.ends(true, 0, 0)
}

// It may not be started while its own file is suspected to be gone.
func TestWhileOpenedAfterAFalseAlarm(t *testing.T) {
	p := playWaiting(t, func(m *machine) { m.settle = 100 * time.Millisecond })
	p.happens("removed", "-")
	p.happens("opened", "-")
	p.ticks(100*time.Millisecond, "look")
	p.happens("present", "-")
	p.isDue("spawn")
}

func TestWhileStopsTheProgram(t *testing.T) {
	p := playRuns(t, func(m *machine) { always(m); m.settle = 100 * time.Millisecond })
	p.happens("shut", "-")
	p.later(60 * time.Millisecond)
	p.happens("shut", "-") // does not prolong the wait
	p.ticks(40*time.Millisecond, "lookAtGates")
	p.happens("shut", stops+",sayShut,unwatchFile")
	p.happens("opened", "-") // too late
	p.happens("shut", "-")
	p.ticks(10*time.Second, "kill:KILL")
	p.happens("exited:KILL", "survey")
	p.happens("emptied", "removeFile,end")
	p.ends(true, 0, statusSignal(syscall.SIGKILL))

	p = playRuns(t, func(m *machine) { m.hasCommand = true })
	p.happens("shut", "runCommand,sayShut,unwatchFile")
}

func TestWhileForgivesAShortAbsence(t *testing.T) {
	p := playRuns(t, func(m *machine) { m.settle = 100 * time.Millisecond })
	p.happens("shut", "-")
	p.later(99 * time.Millisecond)
	p.happens("opened", "-")
	p.waits(0)
	p.later(time.Hour)
	p.happens("shut", "-") // a new absence has to last as long as the first
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("opened", "-") // of which nobody has told
	p.waits(0)
}

// Nor does it matter what else happens in that time.
func TestWhileForgivesAShortAbsenceAroundAnEnd(t *testing.T) {
	set := func(m *machine) { m.settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("shut", "-")
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.later(99 * time.Millisecond)
	p.happens("opened", "-")
	p.ticks(901*time.Millisecond, "spawn")

	p = playRuns(t, set)
	p.happens("shut", "-")
	p.happens("asked", stops)
	p.happens("opened", "-")
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "standIn,tellRestart:0s")
	p.isDue("spawn")

	p = playRuns(t, set)
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.happens("shut", "-")
	p.happens("asked", "-") // not before the file is back
	p.happens("opened", "spawn")
}

func TestWhileEndsTheBackOff(t *testing.T) {
	set := func(m *machine) { m.settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.later(950 * time.Millisecond)
	p.happens("shut", "-")
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "sayShut,"+closes) // not started in between
	p.ends(true, 0, 0)

	p = playRuns(t, set)
	p.happens("exited:1", "standIn,tellRestart:1s")
	p.happens("shut", "-")
	p.later(10 * time.Millisecond)
	p.happens("opened", "-")
	p.ticks(990*time.Millisecond, "spawn")

	p = playRuns(t, set)
	p.happens("shut", "-")
	p.happens("exited:1", "standIn,tellRestart:1s") // it has failed without the file
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "sayShut,"+closes)
	p.ends(true, 0, 0)
}

func TestWhileEndsARestart(t *testing.T) {
	set := func(m *machine) { onRequest(m); m.settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("asked", stops)
	p.happens("shut", "-")
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "sayShut,unwatchFile")
	p.happens("opened", "-")
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "removeFile,end")
	p.ends(true, 0, statusSignal(syscall.SIGTERM))

	p = playRuns(t, func(m *machine) { set(m); m.hasCommand = true })
	p.happens("asked", "runCommand")
	p.happens("shut", "-")
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "sayShut,unwatchFile")
	p.happens("commandDone", stops)
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "removeFile,end")

	p = playRuns(t, set)
	p.happens("asked", stops)
	p.happens("exited:TERM", "survey")
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.happens("shut", "-")
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "sayShut,unwatchFile")
	p.happens("emptied", "removeFile,end")
	p.ends(true, 0, statusSignal(syscall.SIGTERM))

	p = playRuns(t, func(m *machine) { m.settle = 100 * time.Millisecond })
	p.happens("unready", stops) // to be started again, as a failure
	p.happens("shut", "-")
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "sayShut,unwatchFile")
	p.happens("exited:TERM", "survey")
	p.happens("emptied", "removeFile,end")
	p.ends(true, 0, statusSignal(syscall.SIGTERM))
}

// Once for each end: the file's removal and a -while file's are told of as one.
func TestWhileAndRemovalTogether(t *testing.T) {
	set := func(m *machine) { m.settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("shut", "-")
	p.happens("removed", "-")
	p.ticks(100*time.Millisecond, "lookAtGates,look")
	p.happens("shut", stops+",sayShut,unwatchFile")
	p.waits(10 * time.Second)
	p.happens("removed", "-")

	p = playRuns(t, set)
	p.happens("removed", "-")
	p.later(time.Millisecond)
	p.happens("shut", "-")
	p.ticks(99*time.Millisecond, "look")
	p.happens("removed", stops+","+isRemoved)
	p.waits(10 * time.Second)
	p.happens("shut", "-")
	p.waits(10 * time.Second)
}

// An end of its own is no stop, although what is left is swept.
func TestWhileIsNoMatterAfterAnEndOfItsOwn(t *testing.T) {
	p := playRuns(t, func(m *machine) {
		m.restart, m.killMode, m.settle = plan.Restart{}, plan.KillTree, 100*time.Millisecond
	})
	p.happens("shut", "-")
	p.happens("exited:3", "unwatchFile,survey")
	p.happens("remaining", "kill:TERM:tree,kill:CONT:tree")
	p.ticks(100*time.Millisecond, "lookAtGates")
	p.happens("shut", "-")
	p.waits(10*time.Second - 100*time.Millisecond)
	p.happens("emptied", "removeFile,end")
	p.ends(false, 0, statusExit(3))
}

func TestIsClean(t *testing.T) {
	for _, status := range []syscall.WaitStatus{0, statusSignal(syscall.SIGHUP), statusSignal(syscall.SIGINT), statusSignal(syscall.SIGTERM), statusSignal(syscall.SIGPIPE)} {
		if !plan.IsClean(status) {
			t.Errorf("%#x is clean", status)
		}
	}
	for _, status := range []syscall.WaitStatus{statusExit(1), statusExit(255), statusExit(int(syscall.SIGTERM)), statusSignal(syscall.SIGKILL), statusSignal(syscall.SIGABRT) | 0x80} {
		if plan.IsClean(status) {
			t.Errorf("%#x is not clean", status)
		}
	}
}

// fileOf is a loop whose program was pid, with its PID file.
func fileOf(t *testing.T, pid int) *loop {
	t.Helper()
	path := t.TempDir() + "/p.pid"
	claim, err := pidfile.New(path)
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(&Config{Plan: plan.Plan{Args: []string{"program"}, PIDFile: path}, Log: hclog.NewNullLogger()}, nil)
	if l.file, err = claim.Publish(pid); err != nil {
		t.Fatal(err)
	}
	l.machine.runs = 1
	t.Cleanup(func() { _, _ = l.file.Remove() })
	return l
}

func TestStandIn(t *testing.T) {
	const pid = 123456 // nobody asks whether it runs
	l := fileOf(t, pid)
	path := l.cfg.PIDFile
	l.standIn()
	if got := pidfile.Named(path); got != os.Getpid() || !l.standing {
		t.Errorf("the file names %d, standing is %v; want %d", got, l.standing, os.Getpid())
	}
	mustDo(t, os.Remove(path))
	l.standIn()
	l.standing = false
	l.standIn()
	if _, err := os.Lstat(path); err == nil {
		t.Error("what was removed is there again")
	}
}

// The child of a launch that failed has put its PID into the file, and is gone.
func TestStandInAfterAFailedLaunch(t *testing.T) {
	const pid = 123456
	l := fileOf(t, pid)
	l.standIn() // in back-off
	claim, err := l.file.Successor()
	mustDo(t, err)
	_, err = unix.Write(claim.Write, []byte("234567\n"))
	mustDo(t, err)
	mustDo(t, unix.Renameat2(unix.AT_FDCWD, claim.Temp, unix.AT_FDCWD, claim.Path, unix.RENAME_EXCHANGE))
	l.takeBack(claim, 234567)
	if got := pidfile.Named(l.cfg.PIDFile); got != os.Getpid() {
		t.Errorf("the file names %d, want pidleash itself, %d", got, os.Getpid())
	}
}

// What the kernel sends to the whole group the program has had already, if there is one.
func TestSignalsOfTheGroup(t *testing.T) {
	for _, pid := range []int{0, 123456} {
		l := newLoop(&Config{Plan: plan.Plan{Args: []string{"program"}, SameGroup: true, Restart: plan.Restart{Policy: plan.RestartAlways}}, Log: hclog.NewNullLogger()}, nil)
		l.machine.state, l.machine.runs, l.pid = running, 1, pid
		if pid == 0 {
			l.machine.state, l.machine.spawnAt = waiting, time.Now().Add(time.Hour)
		}
		l.signaled(syscall.SIGINT, true)
		if l.sent[syscall.SIGINT] || !l.machine.ending || l.ended != (pid == 0) {
			t.Errorf("PID %d: sent %v, ending %v, ended %v", pid, l.sent[syscall.SIGINT], l.machine.ending, l.ended)
		}
	}
}

// The files of -while are waited for without end, unless somebody gives a limit; that
// of the readiness is another one.
func TestWhileHasNoLimitOfItsOwn(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Minute} {
		p := &play{t: t, now: noon, m: machine{limit: 30 * time.Second, awaits: true, whileLimit: limit}}
		p.happens("shut", "-")
		p.m.handle(noon, event{kind: began})
		p.waits(limit)
	}
}
