package machine

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/internal/plan"
)

// The runs of a program, one after the other, told with the play of machine_test.go.

// playRuns is a machine that starts its program again when that has failed, and decides
// about its file at the first look; set changes that. Its program runs.
func playRuns(t *testing.T, set func(*setup)) *play {
	t.Helper()
	p := playIdle(t, set)
	p.happens("Began", "Launch")
	if p.set.PIDFile != "" {
		p.happens("Launched", "Watch")
	} else {
		p.happens("Launched", "-")
	}
	return p
}

// playIdle is such a machine before it begins.
func playIdle(t *testing.T, set func(*setup)) *play {
	t.Helper()
	return newPlay(t, func(s *setup) {
		s.Restart = plan.Restart{Policy: plan.RestartOnFailure, Delay: time.Second}
		if set != nil {
			set(s)
		}
	})
}

// fails has the program end with a failure, and waits for the next run to begin.
func (p *play) fails(wait time.Duration) {
	p.t.Helper()
	p.happens("Ended:1", "Placeholder,Report:Restarting:"+wait.String())
	p.ticks(wait, "Launch")
	p.happens("Launched", "-")
}

func always(s *setup) { s.Restart.Policy = plan.RestartAlways }

// onRequest has no restarts but those that are asked for.
func onRequest(s *setup) { s.Restart = plan.Restart{Signal: syscall.SIGUSR2} }

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
	p := playRuns(t, func(s *setup) { s.Restart.Delay = 40 * time.Second })
	p.fails(40 * time.Second)
	p.fails(40 * time.Second)
}

func TestRestartMayComeAtOnce(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Restart.Delay = 0 })
	for range 3 {
		p.happens("Ended:1", "Placeholder,Report:Restarting:0s")
		p.launchIsDue()
		p.happens("Launched", "-")
	}
}

func TestRestartAddsJitter(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.jitter = 1 })
	p.fails(1100 * time.Millisecond)
	p.fails(2200 * time.Millisecond)
	p.set.jitter = 0.5
	p.fails(4200 * time.Millisecond)
}

// The delay is between a run's end and the next start, not between two starts.
func TestRestartDoesNotCountTheDelayAsHealth(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Restart.Delay = 2 * health })
	p.happens("Ended:1", "Placeholder,Report:Restarting:2m0s")
	p.ticks(2*health, "Launch")
	p.happens("LaunchFailed:127", "Placeholder,Report:Restarting:2m0s")
}

func TestRestartDelaysEachFailedLaunch(t *testing.T) {
	p := playRuns(t, nil)
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	wait := time.Second
	for _, next := range []time.Duration{2, 4, 8, 16, 30, 30, 30} { // a minute passes without a run
		p.ticks(wait, "Launch")
		wait = next * time.Second
		p.happens("LaunchFailed:127", "Placeholder,Report:Restarting:"+wait.String())
	}
}

func TestRestartIsForFailures(t *testing.T) {
	success := func(codes ...int) func(*setup) {
		return func(s *setup) {
			for _, code := range codes {
				s.Success[code] = true
			}
		}
	}
	for _, c := range []struct {
		name   string
		set    func(*setup)
		end    string
		failed bool
	}{
		{"0", success(), "Ended:0", false},
		{"1", success(), "Ended:1", true},
		{"the largest code", success(), "Ended:255", true},
		{"a code of -success", success(3), "Ended:3", false},
		{"another", success(3), "Ended:4", true},
		{"a code that looks like a clean signal", success(), "Ended:143", true},
		{"HUP", success(), "Ended:HUP", false},
		{"INT", success(), "Ended:INT", false},
		{"TERM", success(), "Ended:TERM", false},
		{"PIPE", success(), "Ended:PIPE", false},
		{"QUIT", success(), "Ended:QUIT", true},
		{"KILL", success(), "Ended:KILL", true},
		{"SEGV", success(), "Ended:SEGV", true},
		{"ABRT", success(), "Ended:ABRT", true},
		{"the largest signal", success(), "Ended:RTMAX", true},
		{"KILL by -success", success(137), "Ended:KILL", false},
		{"the largest signal by -success", success(192), "Ended:RTMAX", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := playRuns(t, c.set)
			want := closes
			if c.failed {
				want = "Placeholder,Report:Restarting:1s"
			}
			p.happens(c.end, want)

			p = playRuns(t, func(s *setup) { c.set(s); always(s) })
			p.happens(c.end, "Placeholder,Report:Restarting:1s")

			p = playRuns(t, func(s *setup) { c.set(s); onRequest(s) })
			p.happens(c.end, closes)
		})
	}
}

func TestRestartIsCancelledByASignalToEnd(t *testing.T) {
	for _, name := range []string{"TERM", "INT", "QUIT", "ABRT"} {
		p := playRuns(t, always)
		want, end := "Kill:"+name, closes
		if name == "TERM" {
			want, end = want+",Unwatch", "Remove,End"
		}
		p.happens(name, want)
		p.later(time.Hour)
		p.happens("Ended:1", end)
		p.ends(false, 0, "1")
	}
}

func TestRestartIsNotCancelledByOtherSignals(t *testing.T) {
	p := playRuns(t, always)
	p.happens("HUP", "Kill:HUP")
	p.happens("USR1", "Kill:USR1")
	p.happens("Ended:HUP", "Placeholder,Report:Restarting:1s")
}

func TestRestartHeedsRewrites(t *testing.T) {
	set := func(s *setup) {
		always(s)
		s.Rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGUSR1, syscall.SIGINT: 0, syscall.SIGUSR2: syscall.SIGTERM}
	}
	p := playRuns(t, set)
	p.happens("INT", "-") // dropped
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.happens("INT", "-")

	p = playRuns(t, set)
	p.happens("TERM", "Kill:USR1,Unwatch") // whatever reaches the program
	p.happens("Ended:1", "Remove,End")

	p = playRuns(t, set)
	p.happens("USR2", "Kill:TERM,Unwatch") // nobody has told pidleash to end
	p.happens("Ended:TERM", "Placeholder,Report:Restarting:1s")
	p.happens("TERM", "Remove,End")
	p.ends(false, syscall.SIGTERM, "TERM")
}

func TestRestartIsCancelledByTheTerminal(t *testing.T) {
	p := playRuns(t, always)
	p.happens("Ended:^C", closes)
	p.ends(false, 0, "INT")

	p = playRuns(t, always)
	p.happens("INT:delivered", "-") // in pidleash's process group
	p.happens("Ended:INT", closes)

	p = playRuns(t, func(s *setup) { onRequest(s); s.StopCommand = "command" })
	p.happens("Asked", "RunCommand")
	p.happens("Ended:^C", "-")
	p.happens("CommandEnded", "Survey")
	p.happens("NoneLeft", closes)
}

func TestRestartWaitingEndsBySignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGHUP} {
		p := playRuns(t, nil)
		p.happens("Ended:3", "Placeholder,Report:Restarting:1s")
		p.happens(strings.TrimPrefix(plan.SignalName(sig), "SIG"), closes)
		p.ends(false, sig, "3")
	}
	p := playRuns(t, nil)
	p.happens("Ended:3", "Placeholder,Report:Restarting:1s")
	for _, name := range []string{"USR1", "USR2", "ALRM", "WINCH", "CONT", "RTMIN+3"} {
		p.happens(name, "-")
	}
	p.ticks(time.Second, "Launch")
}

func TestRestartNeverFollowsARemoval(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		p := playRuns(t, always)
		p.happens("Removed", stops+","+isRemoved)
		p.happens("Ended:TERM", "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "TERM")
	})
	t.Run("running, confirmed in back-off", func(t *testing.T) {
		p := playRuns(t, func(s *setup) { s.Settle = 100 * time.Millisecond })
		p.happens("Removed", "-")
		p.later(60 * time.Millisecond)
		p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
		p.ticks(40*time.Millisecond, "Look")
		p.happens("Removed", "Report:FileRemoved,"+closes)
		p.ends(true, 0, "0")
	})
	t.Run("back-off", func(t *testing.T) {
		p := playRuns(t, nil)
		p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
		p.happens("Removed", "Report:FileRemoved,"+closes)
		p.ends(true, 0, "0")
	})
	t.Run("back-off, shortly before its end", func(t *testing.T) {
		p := playRuns(t, func(s *setup) { s.Settle = 100 * time.Millisecond })
		p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
		p.later(950 * time.Millisecond)
		p.happens("Removed", "-")
		p.ticks(100*time.Millisecond, "Look") // not started before that is known
		p.happens("Removed", "Report:FileRemoved,"+closes)
		p.ends(true, 0, "0")
	})
	t.Run("stop command for a restart", func(t *testing.T) {
		p := playRuns(t, func(s *setup) { onRequest(s); s.StopCommand = "command" })
		p.happens("Asked", "RunCommand")
		p.happens("Removed", isRemoved)
		p.happens("CommandEnded", stops)
		p.happens("Ended:TERM", "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "TERM")
	})
	t.Run("stop command that outlives the program", func(t *testing.T) {
		p := playRuns(t, func(s *setup) { onRequest(s); s.StopCommand = "command" })
		p.happens("Asked", "RunCommand")
		p.happens("Ended:TERM", "-")
		p.happens("Removed", isRemoved)
		p.happens("CommandEnded", "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "TERM")
	})
	t.Run("schedule for a restart", func(t *testing.T) {
		p := playRuns(t, func(s *setup) { onRequest(s); s.Settle = 100 * time.Millisecond })
		p.happens("Asked", stops)
		p.happens("Removed", "-")
		p.ticks(100*time.Millisecond, "Look")
		p.happens("Removed", isRemoved)
		p.ticks(10*time.Second-100*time.Millisecond, "Kill:KILL")
		p.happens("Ended:KILL", "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "KILL")
	})
	t.Run("schedule because it did not come up", func(t *testing.T) {
		p := playIdle(t, awaits)
		p.happens("Began", "Launch")
		p.happens("Launched", "Watch,Await")
		p.happens("Unready", stops)
		p.happens("Removed", isRemoved)
		p.happens("Ended:TERM", "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "TERM")
	})
	t.Run("sweeping for a restart", func(t *testing.T) {
		p := playRuns(t, onRequest)
		p.happens("Asked", stops)
		p.happens("Ended:TERM", "Survey")
		p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
		p.happens("Removed", isRemoved)
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "TERM")
	})
	t.Run("the moment of the start", func(t *testing.T) {
		p := playRuns(t, nil)
		p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
		p.ticks(time.Second, "Launch")
		p.happens("Vanished", "Report:FileRemoved,"+closes)
		p.ends(true, 0, "0")
	})
}

// A file that is in doubt delays the restart until the doubt is settled.
func TestRestartAfterAFalseAlarm(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Settle = 3 * time.Second })
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.happens("Replaced", "-")
	p.ticks(3*time.Second, "Look")
	p.happens("Present", "-")
	p.launchIsDue()
}

func TestRestartLimit(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Restart.Limit, s.Restart.Window = 2, time.Hour })
	p.fails(time.Second)
	p.fails(2 * time.Second)
	p.happens("Ended:7", "Unwatch,Report:RestartLimit,Remove,End")
	p.ends(false, 0, "7")
}

func TestRestartLimitSlides(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Restart.Limit, s.Restart.Window = 2, 10*time.Minute })
	p.fails(time.Second)
	p.later(9 * time.Minute)
	p.fails(time.Second)
	p.later(time.Minute) // the first one is forgotten, the second is not
	p.fails(time.Second)
	p.happens("Ended:7", "Unwatch,Report:RestartLimit,Remove,End")
}

func TestRestartLimitDoesNotCountWhatIsAsked(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Restart.Limit, s.Restart.Window = 1, time.Hour })
	for range 5 {
		p.happens("Asked", stops)
		p.happens("Ended:TERM", "Survey")
		p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
		p.launchIsDue()
		p.happens("Launched", "-")
	}
	p.fails(time.Second)
	p.happens("Asked", stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()
	p.happens("Launched", "-")
	p.happens("Ended:1", "Unwatch,Report:RestartLimit,Remove,End")
}

func TestRestartLimitCountsFailedLaunches(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Restart.Limit, s.Restart.Window = 2, time.Hour })
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.ticks(time.Second, "Launch")
	p.happens("LaunchFailed:127", "Placeholder,Report:Restarting:2s")
	p.ticks(2*time.Second, "Launch")
	p.happens("LaunchFailed:127", "Unwatch,Report:RestartLimit,Remove,End")
	p.ends(false, 0, "127")
}

func TestRestartOnRequest(t *testing.T) {
	p := playRuns(t, onRequest)
	p.happens("Asked", stops)
	p.happens("Asked", "-") // a restart is on its way
	p.later(4 * time.Second)
	p.happens("Present", "-")
	p.ticks(6*time.Second, "Kill:KILL")
	p.happens("Ended:KILL", "Survey")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()
	p.happens("Launched", "-")
	p.waits(never)
	p.happens("Asked", stops) // from the start of the schedule
	p.ticks(10*time.Second, "Kill:KILL")
	p.happens("Ended:KILL", "Survey")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()
	p.happens("Launched", "-")
	p.happens("Ended:1", closes) // an end of its own
	p.ends(false, 0, "1")
}

func TestRestartOnRequestByTheStopCommand(t *testing.T) {
	p := playRuns(t, func(s *setup) { onRequest(s); s.StopCommand, s.KillMode = "command", plan.KillProcess })
	p.happens("Asked", "RunCommand")
	p.happens("Asked", "-")
	p.happens("Ended", "-")
	p.happens("Asked", "-")
	p.happens("CommandEnded", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()
	p.happens("Launched", "-")
	p.happens("Asked", "RunCommand") // once for each run
	p.ticks(10*time.Second, "KillCommand,"+stops)
	p.happens("CommandEnded", "-")
	p.happens("Ended:TERM", "Placeholder,Report:Restarting:0s")
}

func TestRestartOnRequestEndsTheBackOff(t *testing.T) {
	p := playRuns(t, nil)
	p.fails(time.Second)
	p.fails(2 * time.Second)
	p.happens("Ended:1", "Placeholder,Report:Restarting:4s")
	p.later(time.Second)
	p.happens("Asked", "Launch")
	p.happens("Launched", "-")
	p.waits(never)
	p.fails(time.Second) // a request resets the delay
}

func TestRestartOnRequestIsTakenBack(t *testing.T) {
	for _, name := range []string{"TERM", "INT", "QUIT", "ABRT"} {
		p := playRuns(t, onRequest)
		p.happens("Asked", stops)
		if name == "TERM" {
			p.happens(name, "Kill:TERM,Unwatch")
			p.happens("Ended:TERM", "Survey")
		} else {
			p.happens(name, "Kill:"+name)
			p.happens("Ended:TERM", "Unwatch,Survey")
		}
		p.happens("Asked", "-")
		p.happens("NoneLeft", "Remove,End")
		p.ends(false, 0, "TERM")
	}

	p := playRuns(t, func(s *setup) { onRequest(s); s.StopCommand, s.KillMode = "command", plan.KillProcess })
	p.happens("Asked", "RunCommand")
	p.happens("Ended:TERM", "-")
	p.happens("TERM", "-") // no program gets it, but it cancels the restart
	p.happens("CommandEnded", closes)
	p.ends(false, 0, "TERM")

	p = playRuns(t, onRequest)
	p.happens("Asked", stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("TERM", "Kill:TERM:tree,Unwatch")
	p.happens("NoneLeft", "Remove,End")
}

func TestRestartNotAfterTERM(t *testing.T) {
	p := playRuns(t, onRequest)
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.happens("Asked", "-")
	p.happens("Ended:TERM", "Remove,End")
}

// What is left of the last run's descendants does not run beside the next.
func TestRestartSweepsFirst(t *testing.T) {
	p := playRuns(t, onRequest)
	p.happens("Asked", stops)
	p.later(9 * time.Second)
	p.happens("Ended:TERM", "Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.sweeps(10*time.Second, "Kill:KILL:tree")
	p.happens("Left", "Kill:KILL:tree")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()

	p = playRuns(t, func(s *setup) { onRequest(s); s.KillMode = plan.KillProcess })
	p.happens("Asked", stops)
	p.happens("Ended:TERM", "Placeholder,Report:Restarting:0s")

	p = playRuns(t, func(s *setup) { s.KillMode = plan.KillTree })
	p.happens("Ended:1", "Survey") // after an end of its own, too
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:1s")
	p.ticks(time.Second, "Launch")
	p.happens("Launched", "-")
	p.happens("Removed", "Kill:TERM:tree,Kill:CONT:tree,"+isRemoved) // the schedule from its start
}

func TestRestartNotAfterAFailedFirstLaunch(t *testing.T) {
	p := playIdle(t, always)
	p.happens("Began", "Launch")
	p.happens("LaunchFailed:127", "Remove,End")
}

func TestRestartAfterBeingLate(t *testing.T) {
	p := playIdle(t, func(s *setup) { s.Ready.Given, s.StartLimit = true, 90*time.Second })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Ready", "ReportReady")
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.ticks(time.Second, "Launch")
	for _, seconds := range []time.Duration{2, 4, 8} { // it has run for more than a minute, and not well
		p.happens("Launched", "Await")
		p.ticks(90*time.Second, "Late")
		p.happens("Unready", stops)
		p.waits(10 * time.Second)
		p.happens("Ended:TERM", "Survey") // a failure all the same
		p.happens("NoneLeft", "Placeholder,Report:Restarting:"+(seconds*time.Second).String())
		p.ticks(seconds*time.Second, "Launch")
	}
	p.happens("Launched", "Await")
	p.happens("Ready", "ReportReady")
	p.waits(never)
	p.happens("Ended:0", closes)
}

func TestRestartForgetsThatItWasLate(t *testing.T) {
	p := playIdle(t, func(s *setup) { onRequest(s); s.Ready.Given, s.StartLimit = true, 30*time.Second })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.later(20 * time.Second)
	p.happens("Asked", stops)
	p.waits(10 * time.Second)
	p.happens("Unready", "-")
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()
	p.happens("Launched", "Await")
	p.waits(30 * time.Second)
}

// Somebody waits for the first start, and hears of its failure instead of a restart.
func TestRestartOnlyOfWhatCameUp(t *testing.T) {
	set := func(s *setup) { always(s); s.answers, s.Ready.Given = true, true }
	p := playIdle(t, set)
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Asked", "-")
	p.happens("Ended:1", "Unwatch,Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(false, 0, "1")

	p = playIdle(t, set)
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Unready", "Unwatch,"+stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End")

	p = playIdle(t, set)
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Ready", "Answer,ReportReady")
	p.happens("Ended:1", "-") // before anybody has heard of it
	p.happens("Refused", "Unwatch,Survey")
	p.happens("NoneLeft", "Remove,End")

	p = playIdle(t, set)
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Ready", "Answer,ReportReady")
	p.happens("Answered", "-")
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.ticks(time.Second, "Launch")
	p.happens("Launched", "Await")
	p.happens("Ended:1", "Placeholder,Report:Restarting:2s") // once is enough
}

// Who asks has seen the caller leave, which the keeper may hear of later than of the signal.
func TestRestartAskedWhileTheCallerLeaves(t *testing.T) {
	p := playIdle(t, func(s *setup) { onRequest(s); s.answers = true })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Answer")
	p.happens("Asked", "-")
	p.happens("Answered", stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
}

func TestRestartWithoutAFile(t *testing.T) {
	p := playIdle(t, func(s *setup) { s.PIDFile = "" })
	p.happens("Began", "Launch")
	p.happens("Launched", "-")
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.ticks(time.Second, "Launch")
	p.happens("Launched", "-")
	p.happens("Ended:0", "End")
}

// playWaiting is a machine that waits for a -while file.
func playWaiting(t *testing.T, set func(*setup)) *play {
	t.Helper()
	p := playIdle(t, set)
	p.happens("ConditionsFail", "-")
	p.happens("Began", "Placeholder,Watch,Report:WaitingFor")
	return p
}

func TestWhileWaitsForTheFile(t *testing.T) {
	p := playWaiting(t, nil)
	p.waits(never)
	p.later(1000 * time.Hour)
	p.happens("ConditionsFail", "-") // a look without news
	p.happens("Ticked", "-")
	p.happens("USR1", "-")
	p.happens("Asked", "-")
	p.waits(never)
	p.happens("ConditionsHold", "Launch")
	p.happens("Launched", "-")
	p.happens("ConditionsHold", "-")
	p.waits(never)
}

func TestWhileWaitsForALimitedTime(t *testing.T) {
	set := func(s *setup) { s.WhileLimit = 30 * time.Second }
	p := playWaiting(t, set)
	p.later(20 * time.Second)
	p.happens("ConditionsFail", "-")
	p.ticks(10*time.Second, "Late")
	p.waits(never) // the owner's answer comes next
	p.happens("Unready", closes)
	p.ends(false, 0, "0")

	p = playWaiting(t, set)
	p.later(29 * time.Second)
	p.happens("ConditionsHold", "Launch")
	p.happens("Launched", "-")
	p.waits(never)
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s") // the limit is for the first start
	p.waits(time.Second)
}

func TestWhileNeedNotWait(t *testing.T) {
	p := playIdle(t, nil)
	p.happens("ConditionsHold", "-")
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch")
}

func TestWhileWaitingEnds(t *testing.T) {
	p := playWaiting(t, nil)
	p.happens("Removed", "Report:FileRemoved,"+closes)
	p.ends(true, 0, "0")

	p = playWaiting(t, nil)
	p.happens("HUP", closes)
	p.ends(false, syscall.SIGHUP, "0")

	p = playWaiting(t, nil)
	p.happens("Unready", closes) // the caller has gone
	p.ends(false, 0, "0")

	p = playWaiting(t, nil)
	p.happens("LaunchFailed", closes) // another process holds the path
	p.ends(false, 0, "0")

	p = playWaiting(t, nil)
	p.happens("ConditionsHold", "Launch")
	p.happens("LaunchFailed:127", closes) // a restart: the file was a placeholder
	p.ends(false, 0, "127")

	p = playWaiting(t, nil)
	p.happens("ConditionsHold", "Launch")
	p.happens("Vanished", "Report:FileRemoved,"+closes)
	p.ends(true, 0, "0")
}

// It may not be started while its own file is suspected to be gone.
func TestWhileOpenedAfterAFalseAlarm(t *testing.T) {
	p := playWaiting(t, func(s *setup) { s.Settle = 100 * time.Millisecond })
	p.happens("Removed", "-")
	p.happens("ConditionsHold", "-")
	p.ticks(100*time.Millisecond, "Look")
	p.happens("Present", "-")
	p.launchIsDue()
}

func TestWhileStopsTheProgram(t *testing.T) {
	p := playRuns(t, func(s *setup) { always(s); s.Settle = 100 * time.Millisecond })
	p.happens("ConditionsFail", "-")
	p.later(60 * time.Millisecond)
	p.happens("ConditionsFail", "-") // does not prolong the wait
	p.ticks(40*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", stops+",Report:ConditionFailed,Unwatch")
	p.happens("ConditionsHold", "-") // too late
	p.happens("ConditionsFail", "-")
	p.ticks(10*time.Second, "Kill:KILL")
	p.happens("Ended:KILL", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "KILL")

	p = playRuns(t, func(s *setup) { s.StopCommand = "command" })
	p.happens("ConditionsFail", "RunCommand,Report:ConditionFailed,Unwatch")
}

func TestWhileForgivesAShortAbsence(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.Settle = 100 * time.Millisecond })
	p.happens("ConditionsFail", "-")
	p.later(99 * time.Millisecond)
	p.happens("ConditionsHold", "-")
	p.waits(never)
	p.later(time.Hour)
	p.happens("ConditionsFail", "-") // a new absence has to last as long as the first
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsHold", "-") // which was never reported
	p.waits(never)
}

// Nor does it matter what else happens in that time.
func TestWhileForgivesAShortAbsenceAroundAnEnd(t *testing.T) {
	set := func(s *setup) { s.Settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("ConditionsFail", "-")
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.later(99 * time.Millisecond)
	p.happens("ConditionsHold", "-")
	p.ticks(901*time.Millisecond, "Launch")

	p = playRuns(t, set)
	p.happens("ConditionsFail", "-")
	p.happens("Asked", stops)
	p.happens("ConditionsHold", "-")
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Placeholder,Report:Restarting:0s")
	p.launchIsDue()

	p = playRuns(t, set)
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.happens("ConditionsFail", "-")
	p.happens("Asked", "-") // not before the file is back
	p.happens("ConditionsHold", "Launch")
}

func TestWhileEndsTheBackOff(t *testing.T) {
	set := func(s *setup) { s.Settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.later(950 * time.Millisecond)
	p.happens("ConditionsFail", "-")
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,"+closes) // not started in between
	p.ends(true, 0, "0")

	p = playRuns(t, set)
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.happens("ConditionsFail", "-")
	p.later(10 * time.Millisecond)
	p.happens("ConditionsHold", "-")
	p.ticks(990*time.Millisecond, "Launch")

	p = playRuns(t, set)
	p.happens("ConditionsFail", "-")
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s") // it failed while the file was missing
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,"+closes)
	p.ends(true, 0, "0")
}

func TestWhileEndsARestart(t *testing.T) {
	set := func(s *setup) { onRequest(s); s.Settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("Asked", stops)
	p.happens("ConditionsFail", "-")
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,Unwatch")
	p.happens("ConditionsHold", "-")
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "TERM")

	p = playRuns(t, func(s *setup) { set(s); s.StopCommand = "command" })
	p.happens("Asked", "RunCommand")
	p.happens("ConditionsFail", "-")
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,Unwatch")
	p.happens("CommandEnded", stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End")

	p = playRuns(t, set)
	p.happens("Asked", stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.happens("ConditionsFail", "-")
	p.sweeps(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,Unwatch")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "TERM")

	p = playIdle(t, func(s *setup) { awaits(s); s.Settle = 100 * time.Millisecond })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Unready", stops) // to be started again, as a failure
	p.happens("ConditionsFail", "-")
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,Unwatch")
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "TERM")
}

// One message for each end, even if the PID file and a -while file go together.
func TestWhileAndRemovalTogether(t *testing.T) {
	set := func(s *setup) { s.Settle = 100 * time.Millisecond }
	p := playRuns(t, set)
	p.happens("ConditionsFail", "-")
	p.happens("Removed", "-")
	p.ticks(100*time.Millisecond, "LookAtConditions,Look")
	p.happens("ConditionsFail", stops+",Report:ConditionFailed,Unwatch")
	p.waits(10 * time.Second)
	p.happens("Removed", "-")

	p = playRuns(t, set)
	p.happens("Removed", "-")
	p.later(time.Millisecond)
	p.happens("ConditionsFail", "-")
	p.ticks(99*time.Millisecond, "Look")
	p.happens("Removed", stops+","+isRemoved)
	p.waits(10 * time.Second)
	p.happens("ConditionsFail", "-")
	p.waits(10 * time.Second)
}

// An end of its own is no stop, although what is left is swept.
func TestWhileIsNoMatterAfterAnEndOfItsOwn(t *testing.T) {
	p := playRuns(t, func(s *setup) {
		s.Restart, s.KillMode, s.Settle = plan.Restart{}, plan.KillTree, 100*time.Millisecond
	})
	p.happens("ConditionsFail", "-")
	p.happens("Ended:3", "Unwatch,Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.sweeps(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "-")
	p.sweeps(9900*time.Millisecond, "Kill:KILL:tree")
	p.happens("NoneLeft", "Remove,End")
	p.ends(false, 0, "3")
}

// The files of -while are waited for without end, unless somebody gives a limit; that of the
// readiness is another one.
func TestWhileHasNoLimitOfItsOwn(t *testing.T) {
	for _, limit := range []time.Duration{0, time.Minute} {
		p := playWaiting(t, func(s *setup) { awaits(s); s.StartLimit, s.WhileLimit = 30*time.Second, limit })
		if limit == 0 {
			limit = never
		}
		p.waits(limit)
	}
}

// A placeholder that fails is not tried again and again.
func TestRestartNeedsThePlaceholder(t *testing.T) {
	p := playRuns(t, always)
	p.happens("Ended:1", "Placeholder,Report:Restarting:1s")
	p.happens("LaunchFailed:125", closes)
	p.ends(false, 0, "125")
}

// Before the ended program is reaped, the file names pidleash if it is to be
// started again: from then on its PID may be another process's.
func TestPlaceholderBeforeTheProgramIsReaped(t *testing.T) {
	for _, c := range []struct {
		name, before, want string
		set                func(*setup)
	}{
		{"always", "", "Placeholder", always},
		{"on failure", "", "Placeholder", func(*setup) {}},
		{"on request", "", "-", onRequest},
		{"asked", "Asked", "Placeholder", onRequest},
		{"told to end", "INT", "-", always},
		{"told to end, TERM", "TERM", "-", always},
		{"removed", "Removed", "-", always},
		{"without a file", "", "-", func(s *setup) { always(s); s.PIDFile = "" }},
		{"not started again", "", "-", func(s *setup) { s.Restart = plan.Restart{} }},
		{"late", "Unready", "Placeholder", always},
		{"command", "Asked", "Placeholder", func(s *setup) { onRequest(s); withCommand(s) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := playIdle(t, func(s *setup) { c.set(s); awaits(s) })
			p.m.Handle(p.now, eventOf("Began"))
			p.m.Handle(p.now, eventOf("Launched"))
			p.m.Handle(p.now, eventOf("Ready"))
			if c.before == "Unready" {
				p = playIdle(t, func(s *setup) { c.set(s); awaits(s) })
				p.m.Handle(p.now, eventOf("Began"))
				p.m.Handle(p.now, eventOf("Launched"))
			}
			if c.before != "" {
				p.m.Handle(p.now, eventOf(c.before))
			}
			p.happens("Died", c.want)
		})
	}
	p := playIdle(t, func(s *setup) { always(s); beside(s); awaits(s) })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Died", "-") // somebody waits for this start
}
