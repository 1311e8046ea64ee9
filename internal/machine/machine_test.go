package machine

import (
	"go/parser"
	"go/token"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/internal/plan"
)

// One run of a program, told event by event with the play of names_test.go.

const (
	stops     = "Kill:TERM,Kill:CONT"
	isRemoved = "Report:FileRemoved,Unwatch"
	closes    = "Unwatch,Remove,End"
)

func TestConfirmsARemoval(t *testing.T) {
	p := playRunning(t, 100*time.Millisecond, "TERM/10s/KILL")
	p.happens("Removed", "-")
	p.later(60 * time.Millisecond)
	p.happens("Removed", "-") // a second look does not prolong the wait
	p.ticks(40*time.Millisecond, "Look")
	p.happens("Removed", stops+","+isRemoved)
	p.happens("USR1", "Kill:USR1") // forwarding goes on
	p.ticks(10*time.Second, "Kill:KILL")
	p.waits(never)
	p.happens("Ended:KILL", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "KILL")
}

func TestBelievesTheLaterLook(t *testing.T) {
	for look, want := range map[string]string{"Present": "-", "Rewritten": "Adopt", "Unknown": "-"} {
		p := playRunning(t, 100*time.Millisecond, "TERM")
		p.happens("Unknown", "Report:FileUnknown")
		p.happens("Removed", "-")
		p.ticks(100*time.Millisecond, "Look")
		p.happens(look, want)
		p.waits(never)
		p.later(time.Hour)
		p.happens("Removed", "-") // a new doubt has to last as long as the first
		p.waits(100 * time.Millisecond)
	}
}

// The state that is seen at the end counts, whatever was seen before.
func TestReportsTheLaterLook(t *testing.T) {
	for look, want := range map[string]string{
		"Removed": stops + "," + isRemoved, "Replaced": stops + ",Report:FileReplaced,Unwatch", "Changed": "Report:FileChanged",
	} {
		for _, first := range []string{"Removed", "Replaced", "Changed", "Unfinished"} {
			p := playRunning(t, 100*time.Millisecond, "TERM")
			p.happens(first, "-")
			p.ticks(100*time.Millisecond, "Look")
			p.happens(look, want)
		}
	}
}

func TestDecidesAtOnceWithoutSettle(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Replaced", stops+",Report:FileReplaced,Unwatch")
}

// Somebody may have moved the file away only to look whose it is.
func TestLooksAgainAtAFileThatHasAnotherName(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Removed:linked", "-")
	p.ticks(inHand, "Look")
	p.happens("Present", "-")
	p.waits(never)
	p.happens("Removed:linked", "-")
	p.ticks(inHand, "Look")
	p.happens("Removed:linked", stops+","+isRemoved)

	p = playRunning(t, 100*time.Millisecond, "TERM/10s/KILL")
	p.happens("Removed:linked", "-")
	p.ticks(100*time.Millisecond, "Look")
	p.happens("Removed", stops+","+isRemoved)
}

func TestGivesAnEmptyFileASecond(t *testing.T) {
	for _, settle := range []time.Duration{0, 100 * time.Millisecond} {
		p := playRunning(t, settle, "TERM")
		p.happens("Unfinished", "-")
		for p.now.Sub(noon) < patience {
			p.ticks(max(p.m.Deadline().Sub(p.now), time.Millisecond), "Look")
			if p.now.Sub(noon) < patience {
				p.happens("Unfinished", "-")
			}
		}
		if p.now.Sub(noon) != patience {
			t.Errorf("the last look came after %v, want %v", p.now.Sub(noon), patience)
		}
		p.happens("Unfinished", stops+",Report:FileReplaced,Unwatch")
	}
}

func TestAdoptsACompletedFile(t *testing.T) {
	p := playRunning(t, 0, "TERM")
	p.happens("Unfinished", "-")
	p.ticks(patienceStep, "Look")
	p.happens("Rewritten", "Adopt")
	p.waits(never)
	p.happens("Ended", closes)
}

func TestForwardingStartsNoSchedule(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.ticks(farewell, "Watch")
	p.happens("Present", "-")
	p.waits(never)
	p.happens("TERM", "Kill:TERM,Unwatch") // a second TERM is forwarded again
	p.happens("Ended:TERM", "Remove,End")
	p.ends(false, 0, "TERM")
}

// The leash is never cut: a removal still stops the program, from where the TERM stands.
func TestRemovalAfterTERM(t *testing.T) {
	for _, c := range []struct {
		name, stop, wait string
		at               time.Duration // of the removal, after the TERM
		actions          string        // before the report
		next             time.Duration // the next signal, after the removal
		kills            string
	}{
		{"default", "TERM/10s/KILL", "", 4 * time.Second, "", 6 * time.Second, "Kill:KILL"},
		{"at once", "TERM/10s/KILL", "", 0, "", 10 * time.Second, "Kill:KILL"},
		{"due long ago", "TERM/10s/KILL", "", time.Hour, "Kill:KILL,", never, ""},
		{"due just now", "TERM/10s/KILL", "", 10 * time.Second, "Kill:KILL,", never, ""},
		{"TERM is second", "INT/5s/TERM/10s/KILL", "", 4 * time.Second, "", 6 * time.Second, "Kill:KILL"},
		{"no TERM", "INT/5s/KILL", "", 4 * time.Second, "Kill:INT,Kill:CONT,", 5 * time.Second, "Kill:KILL"},
		{"only KILL", "KILL", "", time.Second, "Kill:KILL,", never, ""},
		{"long ago, then a wait", "TERM/1s/QUIT/10s/KILL", "", time.Hour, "Kill:QUIT,Kill:CONT,", 10 * time.Second, "Kill:KILL"},
		{"never kills", "TERM/forever", "", time.Hour, "", never, ""},
		{"at its end", "TERM", "", time.Hour, "", never, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := playRunning(t, 0, c.stop)
			p.happens("TERM", "Kill:TERM,Unwatch")
			want := c.actions + "Report:FileRemoved"
			if c.at >= farewell {
				p.ticks(farewell, "Watch")
				p.later(c.at - farewell)
				want += ",Unwatch"
			} else {
				p.later(c.at)
			}
			p.happens("Removed", want)
			if c.next == never {
				p.waits(never)
			} else {
				p.ticks(c.next, c.kills)
			}
			p.happens("Ended:KILL", "Survey")
			p.happens("NoneLeft", "Remove,End")
			p.ends(true, 0, "KILL")
		})
	}
}

// A forwarded signal counts as sent where the schedule has it.
func TestRemovalAfterARewrittenTERM(t *testing.T) {
	rewrite := func(from, to syscall.Signal, stop string) *play {
		return playRuns(t, func(s *setup) {
			s.Restart, s.Stop = plan.Restart{}, schedule(t, stop)
			s.Rewrite = map[syscall.Signal]syscall.Signal{from: to}
		})
	}
	p := rewrite(syscall.SIGTERM, syscall.SIGQUIT, "QUIT/10s/KILL")
	p.happens("TERM", "Kill:QUIT,Unwatch")
	p.later(time.Second / 2)
	p.happens("Removed", "Report:FileRemoved")
	p.ticks(9500*time.Millisecond, "Kill:KILL")

	p = rewrite(syscall.SIGUSR1, syscall.SIGTERM, "TERM/10s/KILL")
	p.happens("USR1", "Kill:TERM,Unwatch")
	p.later(time.Second / 2)
	p.happens("Removed", "Report:FileRemoved")
	p.ticks(9500*time.Millisecond, "Kill:KILL")

	p = rewrite(syscall.SIGTERM, syscall.SIGUSR1, "TERM/10s/KILL")
	p.happens("TERM", "Kill:USR1,Unwatch")
	p.later(time.Second / 2)
	p.happens("Removed", stops+",Report:FileRemoved") // the schedule's TERM was not sent yet
	p.ticks(10*time.Second, "Kill:KILL")

	p = rewrite(syscall.SIGTERM, 0, "TERM/10s/KILL")
	p.happens("TERM", "-")
	p.happens("Removed", stops+","+isRemoved)
}

// The wait counts from the first TERM, and a removal must last as always.
func TestRemovalAfterSeveralTERMs(t *testing.T) {
	p := playRunning(t, 100*time.Millisecond, "TERM/10s/KILL")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.ticks(farewell, "Watch")
	p.happens("Removed", "-")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.ticks(100*time.Millisecond, "Look") // although no hints come
	p.happens("Removed", "Report:FileRemoved")
	p.ticks(8900*time.Millisecond, "Kill:KILL")
}

// TERM sent again and again cannot prolong the watch's rest.
func TestTheWatchRestsForASecondOnly(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.later(900 * time.Millisecond)
	p.happens("TERM", "Kill:TERM")
	p.ticks(100*time.Millisecond, "Watch")
	p.happens("Removed", "Report:FileRemoved,Unwatch")
	p.ticks(9*time.Second, "Kill:KILL")
}

// A program may clean up its own file when it was told to end, but not someone else's.
func TestOwnFileMayVanishAfterTERM(t *testing.T) {
	for _, settle := range []time.Duration{0, 100 * time.Millisecond} {
		p := playRunning(t, settle, "TERM/10s/KILL")
		p.happens("TERM", "Kill:TERM,Unwatch")
		p.happens("Removed:own", "-")
		p.ticks(farewell, "Watch")
		p.happens("Removed:own", "-")
		p.waits(never)
		p.happens("Ended:0", closes)
		p.ends(false, 0, "0")
	}

	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Removed:own", stops+","+isRemoved) // no TERM was forwarded to it

	p = playRunning(t, 0, "TERM/10s/KILL")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.happens("Replaced", "Report:FileReplaced")

	p = playRunning(t, 100*time.Millisecond, "TERM/10s/KILL")
	p.happens("Removed:own", "-")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.ticks(100*time.Millisecond, "Look")
	p.happens("Removed:own", "-")
	p.ticks(farewell-100*time.Millisecond, "Watch")
}

// What was forwarded to one run tells nothing about the next.
func TestARestartForgetsTheForwardedTERM(t *testing.T) {
	set := func(s *setup) {
		always(s)
		s.Rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGUSR2: syscall.SIGTERM}
	}
	p := playRuns(t, set)
	p.happens("USR2", "Kill:TERM,Unwatch") // nobody has told pidleash to end
	p.happens("Ended:TERM", "Placeholder,Report:Restarting:1s")
	p.happens("Removed:own", "Report:FileRemoved,Remove,End")
	p.ends(true, 0, "0")

	p = playRuns(t, set)
	p.happens("USR2", "Kill:TERM,Unwatch")
	p.happens("Ended:TERM", "Placeholder,Report:Restarting:1s")
	p.ticks(time.Second, "Watch")
	p.launchIsDue()
	p.happens("Launched", "-")
	p.happens("Removed:own", stops+","+isRemoved)
}

// Only a TERM says that the program is about to end.
func TestTakesAnotherSignalForNoFarewell(t *testing.T) {
	for _, name := range []string{"USR1", "INT", "QUIT", "HUP"} {
		p := playRunning(t, 0, "TERM/10s/KILL")
		p.happens(name, "Kill:"+name)
		p.waits(never)
		p.happens("Removed:own", stops+","+isRemoved)
	}
}

func TestKeepsTheScheduleAfterTERM(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Removed", stops+","+isRemoved)
	p.later(4 * time.Second)
	p.happens("TERM", "Kill:TERM")
	p.ticks(6*time.Second, "Kill:KILL")
}

// A later wish never lowers an earlier one.
func TestRemovalStaysTheReason(t *testing.T) {
	for _, later := range []string{"TERM", "Asked"} {
		p := playRuns(t, always)
		p.happens("Removed", stops+","+isRemoved)
		p.m.Handle(p.now, eventOf(later))
		p.happens("Ended:TERM", "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(true, 0, "TERM")
	}
	p := playRuns(t, always)
	p.happens("INT", "Kill:INT")
	p.happens("Asked", "-")
	p.happens("Ended:INT", closes)
	p.ends(false, 0, "INT")
}

func TestGoesThroughTheSchedule(t *testing.T) {
	p := playRunning(t, 0, "INT/5s/STOP/500ms/CONT/0/TERM/10s/KILL/1s")
	p.happens("Removed", "Kill:INT,Kill:CONT,"+isRemoved)
	p.ticks(5*time.Second, "Kill:STOP")
	p.ticks(500*time.Millisecond, "Kill:CONT,Kill:TERM,Kill:CONT")
	p.later(time.Second)
	p.happens("Ticked", "-") // a timer that had fired before it was set again
	p.ticks(9*time.Second, "Kill:KILL")
	p.waits(never)
}

func TestMayWaitFirst(t *testing.T) {
	p := playRunning(t, 0, "3s/TERM")
	p.happens("Removed", isRemoved)
	p.ticks(3*time.Second, stops)
	p.waits(never)
}

func TestWaitsForever(t *testing.T) {
	p := playRunning(t, 0, "TERM/forever")
	p.happens("Removed", stops+","+isRemoved)
	p.waits(never)
	p.later(1000 * time.Hour)
	p.happens("Ticked", "-")
	p.happens("Ended", "Survey")
	p.happens("NoneLeft", "Remove,End")
}

// What is left of the descendants has not had the signals of mode mixed.
func TestSweepsAfterAStop(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Removed", stops+","+isRemoved)
	p.later(4 * time.Second)
	p.happens("Ended", "Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.later(10 * time.Millisecond)
	p.happens("Left", "-") // one has ended, another is left
	p.sweeps(9990*time.Millisecond, "Kill:KILL:tree")
	p.happens("Left", "Kill:KILL:tree") // forked in that moment
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "0")
}

func TestGoesOnWithTheTree(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.KillMode = plan.KillTree })
	p.happens("Removed", "Kill:TERM:tree,Kill:CONT:tree,"+isRemoved)
	p.later(4 * time.Second)
	p.happens("Ended", "Survey")
	p.happens("Left", "-")
	p.sweeps(6*time.Second, "Kill:KILL:tree")
	p.happens("NoneLeft", "Remove,End")
}

func TestSweepsTheTreeAfterAnEndOfItsOwn(t *testing.T) {
	p := playRuns(t, func(s *setup) { s.KillMode = plan.KillTree })
	p.happens("Ended", "Unwatch,Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.happens("TERM", "Kill:TERM:tree")
	p.happens("NoneLeft", "Remove,End")
}

// An end of its own leaves the descendants alone in the other modes, also after a TERM.
func TestLeavesDescendantsAlone(t *testing.T) {
	for _, mode := range []plan.KillMode{plan.KillMixed, plan.KillProcess, plan.KillGroup} {
		p := playRuns(t, func(s *setup) { s.KillMode = mode })
		p.happens("Ended", closes)

		p = playRuns(t, func(s *setup) { s.KillMode = mode })
		group := map[plan.KillMode]string{plan.KillGroup: ":group"}[mode]
		p.happens("TERM", "Kill:TERM"+group+",Unwatch")
		p.happens("Ended", "Remove,End")
	}
	for _, mode := range []plan.KillMode{plan.KillProcess, plan.KillGroup} {
		p := playRuns(t, func(s *setup) { s.KillMode = mode })
		group := map[plan.KillMode]string{plan.KillGroup: ":group"}[mode]
		p.happens("Removed", "Kill:TERM"+group+",Kill:CONT"+group+","+isRemoved)
		p.happens("Ended", "Remove,End")
	}
}

// What the terminal sends is for the whole job, but with the mode that names the program only.
func TestKeysReachTheGroup(t *testing.T) {
	targets := map[plan.KillMode]string{plan.KillMixed: ":group", plan.KillProcess: "", plan.KillGroup: ":group", plan.KillTree: ":tree"}
	for mode, target := range targets {
		p := playRuns(t, func(s *setup) { s.KillMode = mode })
		p.happens("INT:group", "Kill:INT"+target)
	}
}

// No event reports the last descendant's end: the machine polls.
func TestSweepingLooksAgain(t *testing.T) {
	p := playRunning(t, 0, "TERM/forever")
	p.happens("Removed", stops+","+isRemoved)
	p.happens("Ended", "Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	began := p.now
	for range 200 {
		wait := min(max(p.now.Sub(began)/10, 50*time.Millisecond), 5*time.Second)
		p.ticks(wait, "Survey")
		p.happens("Left", "-")
	}
	p.waits(5 * time.Second)
	p.happens("NoneLeft", "Remove,End")
}

func TestAsksTheCommandFirst(t *testing.T) {
	p := playRuns(t, withCommand)
	p.happens("Removed", "RunCommand,"+isRemoved)
	p.later(3 * time.Second)
	p.waits(7 * time.Second)
	p.happens("CommandEnded", stops)
	p.ticks(10*time.Second, "Kill:KILL")
}

func withCommand(s *setup) { s.StopCommand = "command" }

func TestGivesTheCommandTheFirstWait(t *testing.T) {
	p := playRuns(t, withCommand)
	p.happens("Removed", "RunCommand,"+isRemoved)
	p.ticks(10*time.Second, "KillCommand,"+stops)
	p.happens("CommandEnded", "-")
	p.ticks(10*time.Second, "Kill:KILL")

	p = playRuns(t, func(s *setup) { withCommand(s); s.Stop = schedule(t, "TERM/forever") })
	p.happens("Removed", "RunCommand,"+isRemoved)
	p.waits(never)
}

// The program may end before its stop command, which then has the rest of its time.
func TestOutlivesTheProgram(t *testing.T) {
	p := playRuns(t, withCommand)
	p.happens("Removed", "RunCommand,"+isRemoved)
	p.later(3 * time.Second)
	p.happens("Ended:3", "-")
	p.ticks(7*time.Second, "KillCommand,Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "3")
}

// A TERM while the stop command runs, or before it, moves the schedule that follows.
func TestCommandAfterTERM(t *testing.T) {
	p := playRuns(t, withCommand)
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.later(time.Second / 2)
	p.happens("Removed", "RunCommand,Report:FileRemoved")
	p.later(2500 * time.Millisecond)
	p.happens("CommandEnded", "-")
	p.ticks(7*time.Second, "Kill:KILL")

	p = playRuns(t, withCommand)
	p.happens("Removed", "RunCommand,"+isRemoved)
	p.later(3 * time.Second)
	p.happens("TERM", "Kill:TERM")
	p.happens("CommandEnded", "-")
	p.ticks(10*time.Second, "Kill:KILL")
}

func TestRewritesWhatItForwards(t *testing.T) {
	set := func(s *setup) {
		s.Rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT, syscall.SIGUSR1: 0}
	}
	p := playRuns(t, set)
	p.happens("USR1", "-")
	p.happens("TERM", "Kill:QUIT,Unwatch") // still a farewell
	p.happens("Removed:own", "-")

	p = playRuns(t, set)
	p.happens("Removed", stops+","+isRemoved) // not of the schedule
}

func TestSaysChangedAndUnknownOnce(t *testing.T) {
	p := playRunning(t, 0, "TERM")
	p.happens("Unknown", "Report:FileUnknown")
	p.happens("Changed", "Report:FileChanged")
	p.happens("Present", "-")
	p.happens("Unknown", "-")
	p.happens("Changed", "-")
	p.waits(never)
	p.happens("Ended", closes)
}

func TestSuspendsAsAJob(t *testing.T) {
	p := playRunning(t, 0, "TERM")
	p.happens("Halted", "Suspend:TSTP")
}

// playStarted is a machine whose program has been launched, and is not up yet.
func playStarted(t *testing.T, set func(*setup), actions string) *play {
	t.Helper()
	p := newPlay(t, func(s *setup) { s.StartLimit = 30 * time.Second; set(s) })
	p.happens("Began", "Launch")
	p.happens("Launched", actions)
	return p
}

func awaits(s *setup) { s.Ready.Given = true }

func TestTellsThatTheProgramIsReady(t *testing.T) {
	p := playStarted(t, awaits, "Watch,Await")
	p.waits(30 * time.Second)
	p.later(time.Second)
	p.happens("Ready", "ReportReady")
	p.waits(never)
	p.happens("Ended", closes)
}

// The limit is for what has to come up, not for a program that is up when it runs.
func TestNoLimitForWhatIsUpAtOnce(t *testing.T) {
	p := playStarted(t, func(*setup) {}, "Watch")
	p.waits(never)

	p = playStarted(t, func(s *setup) { awaits(s); s.StartLimit = 0 }, "Watch,Await")
	p.waits(never)
}

func TestGivesUpAfterTheStartTimeout(t *testing.T) {
	p := playStarted(t, awaits, "Watch,Await")
	p.ticks(30*time.Second, "Late")
	p.waits(never) // the owner's answer comes next
	p.happens("Unready", "Unwatch,"+stops)
	p.happens("Ready", "-") // too late
	p.ticks(10*time.Second, "Kill:KILL")
	p.happens("Ended", "Survey") // nothing that came of it stays
	p.happens("NoneLeft", "Remove,End")
	if p.m.Result().Err != (failure{}) {
		t.Error("it is not known why")
	}
}

func TestConfirmsWhileItWaits(t *testing.T) {
	p := playStarted(t, func(s *setup) { awaits(s); s.Settle = time.Minute }, "Watch,Await")
	p.happens("Removed", "-")
	p.ticks(30*time.Second, "Late") // the earlier deadline
	p.waits(30 * time.Second)

	p = playStarted(t, func(s *setup) { awaits(s); s.Settle = time.Second }, "Watch,Await")
	p.happens("Removed", "-")
	p.ticks(time.Second, "Look")
	p.happens("Removed", stops+","+isRemoved)
	p.waits(10 * time.Second) // the start has no limit any more
}

// A TERM before the program is up is forwarded, and the start goes on.
func TestForwardsWhileRising(t *testing.T) {
	p := playStarted(t, awaits, "Watch,Await")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.ticks(farewell, "Watch")
	p.happens("Ready", "ReportReady")
	p.happens("Ended", closes)
}

// A caller waits for one answer.

// beside is a program beside its keeper, as with -daemon.
func beside(s *setup) { s.answers, s.Way = true, plan.Daemon }

func playBeside(t *testing.T) *play {
	t.Helper()
	return playStarted(t, beside, "Watch,Answer")
}

func (p *play) isUp(want bool) {
	p.t.Helper()
	if got := p.m.Result().Up; got != want {
		p.t.Errorf("up is %v, want %v", got, want)
	}
}

func TestAnswersTheCaller(t *testing.T) {
	p := playBeside(t)
	p.isUp(false) // the caller may not have heard it
	p.waits(never)
	p.happens("Answered", "-")
	p.isUp(true)
	p.later(earlyEnd)
	p.happens("Ended:3", closes)
	p.ends(false, 0, "3")

	p = playStarted(t, func(s *setup) { beside(s); awaits(s) }, "Watch,Await")
	p.isUp(false)
	p.happens("Ready", "Answer,ReportReady")
	p.happens("Answered", "-")
	p.isUp(true)

	p = playRunning(t, 0, "TERM") // nobody waits
	p.isUp(true)
}

// The caller has left before the end could be seen: the start was a success.
func TestPartsFromACallerThatLeaves(t *testing.T) {
	p := playBeside(t)
	p.happens("Ended:3", "-")
	p.waits(never)
	p.happens("Answered", "Unwatch,Linger,Watch")
	p.isUp(true)
	p.ticks(linger, "Unwatch,Remove,End")
	p.ends(false, 0, "3")
}

// The caller has seen the end, and stays to report a failure: nothing is left behind.
func TestPartsFromACallerThatStays(t *testing.T) {
	p := playBeside(t)
	p.happens("Ended:3", "-")
	p.happens("Refused", "Unwatch,Survey")
	p.isUp(false)
	p.happens("NoneLeft", "Remove,End")
	p.isUp(false)
	p.ends(false, 0, "3")

	p = playBeside(t) // in the other order
	p.happens("Refused", "-")
	p.waits(never)
	p.happens("Ended:3", "Unwatch,Survey")
	p.happens("NoneLeft", "Remove,End")
	p.isUp(false)
	p.ends(false, 0, "3")
}

// The status may come after the end, and before or after the caller's word.
func TestPartingIsExplained(t *testing.T) {
	p := playBeside(t)
	p.happens("Ended:?", "-")
	p.happens("Explained:3", "-")
	p.happens("Answered", "Unwatch,Linger,Watch")
	p.ticks(linger, "Unwatch,Remove,End")
	p.ends(false, 0, "3")

	p = playBeside(t)
	p.happens("Ended:?", "-")
	p.happens("Answered", "Unwatch,Linger,Watch")
	p.happens("Explained:3", "-")
	p.ticks(linger, "Unwatch,Remove,End")
	p.ends(false, 0, "3")
}

// Whoever wants the end while a caller makes up its mind has it.
func TestPartingHeedsTERM(t *testing.T) {
	p := newPlay(t, func(s *setup) { beside(s); always(s) })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Answer")
	p.happens("Ended:1", "-")
	p.happens("TERM", "-") // nobody is there to have it
	p.happens("Answered", "Unwatch,Linger,Watch")
	p.ticks(linger, "Unwatch,Remove,End")
	p.ends(false, 0, "1")
}

// The file names pidleash while those who remain are waited for, whenever the program has ended.
func TestPartingKeepsPlace(t *testing.T) {
	p := newPlay(t, func(s *setup) {
		s.Way, s.answers, s.WaitAll, s.Restart.Policy = plan.Daemon, true, true, plan.RestartOnFailure
	})
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Answer")
	p.happens("Ended", "-")
	p.happens("Answered", "Survey,Placeholder")
}

// The conditions of a program that is to be started again matter meanwhile, too.
func TestPartingHeedsConditions(t *testing.T) {
	p := newPlay(t, func(s *setup) { beside(s); always(s); s.Restart.Delay = time.Second; s.Settle = 100 * time.Millisecond })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Answer")
	p.happens("Ended:1", "-")
	p.happens("ConditionsFail", "-")
	p.happens("Answered", "Placeholder,Report:Restarting:1s")
	p.ticks(100*time.Millisecond, "LookAtConditions")
	p.happens("ConditionsFail", "Report:ConditionFailed,"+closes)
}

// No deadline stays in the past while the caller makes up its mind.
func TestPartingDoesNotSpin(t *testing.T) {
	p := playStarted(t, func(s *setup) { beside(s); s.Settle = 100 * time.Millisecond }, "Watch,Answer")
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.happens("Removed", "-")
	p.happens("Ended:TERM", "-")
	p.later(time.Hour)
	p.settles("Removed")
	p.happens("Answered", "Remove,End")
	p.ends(true, 0, "TERM")
}

// settles ticks until no deadline is in the past any more; looks at the file see always the
// same.
func (p *play) settles(look string) {
	p.t.Helper()
	for range 4 {
		at := p.m.Deadline()
		if at.IsZero() || at.After(p.now) {
			return
		}
		for _, a := range p.m.Handle(p.now, eventOf("Ticked")) {
			switch a.Do {
			case Look:
				p.m.Handle(p.now, eventOf(look))
			case LookAtConditions:
				p.m.Handle(p.now, eventOf("ConditionsFail"))
			}
		}
	}
	p.t.Fatalf("the deadline stays %v in the past", p.now.Sub(p.m.Deadline()))
}

// What the states that do not look at the file have been left with must not make them spin.
func TestDoubtsDoNotSpinInTheEnd(t *testing.T) {
	set := func(s *setup) { s.Restart, s.Settle = plan.Restart{}, 100*time.Millisecond }
	p := playRuns(t, set)
	p.happens("ConditionsFail", "-")
	p.happens("Ended:?", "Unwatch,Remove") // closing
	p.later(500 * time.Millisecond)
	p.waits(500 * time.Millisecond)

	p = playBeside(t)
	p.set.Settle = 100 * time.Millisecond
	p.happens("Answered", "-")
	p.happens("ConditionsFail", "-")
	p.happens("Ended:0", "Unwatch,Linger,Watch") // lingering
	p.later(200 * time.Millisecond)
	p.waits(linger - 200*time.Millisecond)
}

func TestCallerGoesBeforeItIsAnswered(t *testing.T) {
	p := playStarted(t, func(s *setup) { beside(s); awaits(s); always(s) }, "Watch,Await")
	p.happens("CallerGone", "Report:BrokenOff,Unwatch,"+stops)
	p.ticks(10*time.Second, "Kill:KILL")
	p.happens("Ended:KILL", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.isUp(false)

	p = newPlay(t, beside)
	p.happens("ConditionsFail", "-")
	p.happens("Began", "Placeholder,Watch,Report:WaitingFor")
	p.happens("CallerGone", "Report:BrokenOff,"+closes)
	p.isUp(false)

	for _, ended := range []bool{false, true} {
		p = playStarted(t, func(s *setup) { beside(s); s.Forking = true }, "-")
		if ended {
			p.happens("Ended:0", "Seek")
		}
		p.happens("CallerGone", "Report:BrokenOff,Survey")
		p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
		if !ended {
			p.happens("Ended:TERM", "-")
		}
		p.happens("NoneLeft", "Remove,End")
	}
}

// With -sidecar the caller becomes the program, or cannot.
func TestCallerCannotBecomeTheProgram(t *testing.T) {
	p := playStarted(t, func(s *setup) { s.answers, s.Way = true, plan.Sidecar }, "Watch,Answer")
	p.happens("LaunchFailed:126", closes)
	p.isUp(false)
	p.ends(false, 0, "126")
}

// A removal before the caller has heard of anything, or while it leaves.
func TestRemovalWhileAnswering(t *testing.T) {
	p := playBeside(t)
	p.happens("Removed", stops+","+isRemoved)
	p.happens("Answered", "-")
	p.isUp(true)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End") // it does not linger
	p.ends(true, 0, "TERM")
}

// Without a PID file nobody has to stay beside a program; its parent stays.
func TestLeavesAProgramWithoutAFile(t *testing.T) {
	p := playStarted(t, func(s *setup) { beside(s); s.PIDFile = "" }, "Answer")
	p.happens("Answered", "End")
	p.isUp(true)
	p.ends(false, 0, "0")

	p = playStarted(t, func(s *setup) { beside(s); s.PIDFile = ""; always(s) }, "Answer")
	p.happens("Answered", "-")
	p.happens("Ended:1", "Placeholder,Report:Restarting:0s")
}

func TestLingers(t *testing.T) {
	answered := func(set func(*setup)) *play {
		p := playStarted(t, func(s *setup) { beside(s); set(s) }, "Watch,Answer")
		p.happens("Answered", "-")
		return p
	}
	p := answered(func(*setup) {})
	p.later(earlyEnd - 1)
	p.happens("Ended:1", "Unwatch,Linger,Watch")
	p.happens("LaunchFailed", "-") // the file was taken away in between
	p.happens("TERM", "-")
	p.ticks(linger, "Unwatch,Remove,End")

	for _, taken := range []string{"Removed", "Replaced"} { // by systemd, which has read it, or by the next start
		p = answered(func(*setup) {})
		p.happens("Ended:1", "Unwatch,Linger,Watch")
		p.happens("Present", "-")
		p.happens(taken, "Unwatch,Remove,End")
	}

	p = answered(func(*setup) {})
	p.later(earlyEnd)
	p.happens("Ended:1", closes)

	p = answered(func(s *setup) { s.Way = plan.Sidecar })
	p.happens("Ended:1", closes)

	p = answered(func(*setup) {})
	p.happens("Removed", stops+","+isRemoved)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End")

	p = playStarted(t, func(s *setup) { s.answers, s.Way, s.PIDFile = true, plan.Daemon, ""; always(s) }, "Answer")
	p.happens("Answered", "-")
	p.happens("TERM", "Kill:TERM")
	p.happens("Ended:0", "End")
}

// The status of a program that has another parent is learned after its end.
func TestWaitsForTheStatus(t *testing.T) {
	closing := func() *play {
		p := playBeside(t)
		p.happens("Answered", "-")
		p.later(time.Hour)
		p.happens("Ended:?", "Unwatch,Remove")
		return p
	}
	p := closing()
	p.happens("Explained:3", "End")
	p.ends(false, 0, "3")

	p = closing()
	p.happens("Explained:?", "End") // nobody will say
	p.ends(false, 0, "0")
	if p.m.Result().Known {
		t.Error("the status is known, and nobody has said it")
	}

	p = closing()
	p.happens("TERM", "-")
	p.ticks(ReapLimit, "End")
	p.ends(false, 0, "0")

	p = playBeside(t) // also when it ends early, and when it is swept
	p.happens("Answered", "-")
	p.happens("Ended:?", "Unwatch,Linger,Watch")
	p.ticks(linger, "Unwatch,Remove")
	p.happens("Explained:KILL", "End")
	p.ends(false, 0, "KILL")

	p = playBeside(t)
	p.happens("Answered", "-")
	p.happens("Removed", stops+","+isRemoved)
	p.happens("Ended:?", "Survey")
	p.happens("Explained:TERM", "-")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "TERM")
}

// In the background an end before the program is up is a failure, after which nothing is
// left; in the foreground it is the program's own end.
func TestSweepsAfterAFailedStart(t *testing.T) {
	p := playStarted(t, func(s *setup) { beside(s); awaits(s) }, "Watch,Await")
	p.happens("Ended", "Unwatch,Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.happens("NoneLeft", "Remove,End")

	p = playStarted(t, awaits, "Watch,Await")
	p.happens("Ended", closes)
}

func forks(s *setup) { s.Forking = true }

func TestFollowsADaemon(t *testing.T) {
	p := playStarted(t, forks, "-")
	p.happens("Removed", "-") // nothing is watched yet
	p.happens("Ticked", "-")  // what was started has not ended
	p.happens("USR1", "Kill:USR1")
	p.happens("Ended", "Seek")
	p.happens("Found", "Watch,Kill:USR1")
	p.happens("Ended", "SeekSuccessor")
}

func TestSeeksTheDaemon(t *testing.T) {
	p := playStarted(t, forks, "-")
	p.happens("USR1", "Kill:USR1")
	p.happens("Ended", "Seek")
	p.happens("USR2", "-") // kept: nobody is there to have it
	p.happens("USR2:delivered", "-")
	p.ticks(seekFast, "Seek")
	p.ticks(seekFast, "Seek")
	p.ticks(2*seekFast, "Seek")
	p.ticks(4*seekFast, "Seek")
	p.ticks(seekSlow, "Seek")
	p.ticks(seekSlow, "Seek")
	p.happens("Found", "Watch,Kill:USR1,Kill:USR2")
	p.waits(never)
	p.happens("Found", "-")
	p.happens("USR1", "Kill:USR1")
}

// A TERM that what makes the daemon was sent is for the daemon, too.
func TestTERMWhileDetaching(t *testing.T) {
	p := playStarted(t, forks, "-")
	p.happens("TERM", "Kill:TERM")
	p.happens("Ended:0", "Seek")
	p.happens("Found", "Watch,Kill:TERM,Unwatch")
	p.later(time.Second / 2)
	p.happens("Removed", "Report:FileRemoved") // no second TERM
	p.ticks(9500*time.Millisecond, "Kill:KILL")
}

// A file that the program was told to write names the daemon before what was started has ended, or because that is
// the daemon itself: it has had its signals.
func TestFoundWhileDetaching(t *testing.T) {
	for event, forwarded := range map[string]string{"Found": ",Kill:USR1", "Found:own": ""} {
		p := playStarted(t, func(s *setup) { forks(s); s.Follow = "/run/own.pid" }, "-")
		p.happens("USR1", "Kill:USR1")
		p.ticks(seekFast, "Seek")
		p.ticks(seekFast, "Seek")
		p.happens(event, "Watch"+forwarded)
		p.waits(never)
	}
}

// A daemon that executes itself removes its own file for a moment.
func TestOwnFileOfADaemon(t *testing.T) {
	p := playDaemon(t, func(s *setup) { s.Settle, s.OwnSettle = time.Second/10, time.Second })
	p.happens("Removed:own", "-")
	p.ticks(time.Second, "Look")
	p.happens("Removed:own", stops+","+isRemoved)
	p = playDaemon(t, func(s *setup) { s.Settle, s.OwnSettle = time.Second/10, time.Second })
	p.happens("Removed", "-")
	p.ticks(time.Second/10, "Look")
}

// Before a daemon is known, a signal that ends a program ends the start.
func TestTERMWhileFinding(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT} {
		p := playStarted(t, forks, "-")
		p.happens("Ended:0", "Seek")
		p.happens(name, "Survey")
		p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
		p.happens("NoneLeft", "Remove,End")
		p.ends(false, sig, "0")
	}
	p := playStarted(t, func(s *setup) { forks(s); s.Rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: 0} }, "-")
	p.happens("Ended:0", "Seek")
	p.happens("TERM", "-") // dropped
	p.happens("Found", "Watch")
}

func TestFindsNoDaemon(t *testing.T) {
	for _, late := range []bool{false, true} {
		p := playStarted(t, func(s *setup) { forks(s); s.KillMode = plan.KillProcess }, "-")
		if late {
			p.ticks(30*time.Second, "Late")
			p.waits(never)
		}
		p.happens("Unready", "Survey")
		p.happens("Ended", "-") // what was started
		p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
		p.sweeps(10*time.Second, "Kill:KILL:tree")
		p.happens("NoneLeft", "Remove,End")
		if p.m.Result().Err == nil {
			t.Error("it is not known why")
		}
	}
	p := playStarted(t, forks, "-")
	p.happens("Ended:0", "Seek")
	p.happens("Unready", "Survey")
	p.happens("NoneLeft", "Remove,End")
}

// What was started may be the last of all to end.
func TestStarterEndsLast(t *testing.T) {
	p := playStarted(t, forks, "-")
	p.happens("Unready", "Survey")
	p.happens("NoneLeft", "Remove")
	p.happens("Ended:TERM", "End")
	p.ends(false, 0, "TERM")
}

func TestTakesAFailureOfTheStarter(t *testing.T) {
	for _, status := range []string{"3", "SEGV"} {
		p := playStarted(t, forks, "-")
		p.happens("Ended:"+status, "Survey")
		p.happens("NoneLeft", "Remove,End")
		p.ends(false, 0, status)
	}
}

// playDaemon is a machine that follows a daemon, which is up.
func playDaemon(t *testing.T, set func(*setup)) *play {
	t.Helper()
	p := playStarted(t, func(s *setup) { forks(s); set(s) }, "-")
	p.happens("Ended:0", "Seek")
	p.happens("Found", "Watch")
	return p
}

// Another process may take a daemon's place. What was sent meanwhile is for it.
func TestSuccession(t *testing.T) {
	p := playDaemon(t, func(*setup) {})
	p.happens("Ended:1", "SeekSuccessor")
	p.happens("HUP", "-")
	p.happens("TERM", "-")
	p.happens("TERM:delivered", "-")
	p.ticks(successionStep, "SeekSuccessor")
	p.happens("Succeeded", "Look,Kill:HUP,Kill:TERM,Unwatch")
	p.later(time.Second / 2)
	p.happens("Removed", "Report:FileRemoved")
	p.ticks(9500*time.Millisecond, "Kill:KILL")
	p.happens("Ended:KILL", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "KILL")

	p = playDaemon(t, func(*setup) {}) // and again
	for range 3 {
		p.happens("Ended:?", "SeekSuccessor")
		p.happens("Explained:1", "-")
		p.happens("Succeeded", "Look")
		p.happens("Present", "-")
		p.waits(never)
	}
	p.happens("Ended:0", "SeekSuccessor")
	p.happens("NoSuccessor", closes)
	p.ends(false, 0, "0")
}

func TestNoSuccession(t *testing.T) {
	p := playDaemon(t, func(*setup) {})
	p.happens("Ended:1", "SeekSuccessor")
	for range succession/successionStep - 1 {
		p.ticks(successionStep, "SeekSuccessor")
	}
	p.ticks(successionStep, closes) // without an answer
	p.ends(false, 0, "1")

	p = playDaemon(t, func(*setup) {})
	p.happens("Removed", stops+","+isRemoved)
	p.happens("Ended:TERM", "Survey") // it was stopped

	p = playStarted(t, func(s *setup) { forks(s); s.PIDFile = "" }, "-")
	p.happens("Ended:0", "Seek")
	p.happens("Found", "-")
	p.happens("Ended:1", "End") // nothing would name the successor
}

// A removal that is seen between a daemon's end and its caller's means whoever takes its place, too.
func TestSuccessionAfterARemoval(t *testing.T) {
	removed := func() *play {
		p := newPlay(t, func(s *setup) { beside(s); forks(s) })
		p.happens("Began", "Launch")
		p.happens("Launched", "-")
		p.happens("Ended:0", "Seek")
		p.happens("Found", "Watch,Answer")
		p.happens("Ended:0", "-")
		p.happens("Removed", isRemoved)
		p.happens("Answered", "SeekSuccessor")
		return p
	}
	p := removed()
	p.happens("Succeeded", "Look,"+stops)
	p.happens("Ended:TERM", "Survey")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "TERM")

	p = removed() // who is left is stopped, whoever it is
	p.happens("NoSuccessor", "Survey")
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "0")
}

// A file in doubt is judged when it is known who has it.
func TestSuccessionDoesNotSpin(t *testing.T) {
	p := playDaemon(t, func(s *setup) { s.Settle = 100 * time.Millisecond })
	p.happens("Removed", "-")
	p.happens("Ended:0", "SeekSuccessor")
	p.later(500 * time.Millisecond)
	p.settles("Removed")
	p.happens("Succeeded", "Look")
	p.happens("Rewritten", "Adopt")
	p.waits(never)
}

func TestWaitsForAFileThatIsMoved(t *testing.T) {
	p := playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Moving", "-")
	p.waits(moveStep)
	p.later(movePatience - 1)
	p.happens("Moving", "-")
	p.ticks(patienceStep, "Look")
	p.happens("Moving", stops+","+isRemoved)

	p = playRunning(t, 0, "TERM/10s/KILL")
	p.happens("Moving", "-")
	p.ticks(moveStep, "Look")
	p.happens("Rewritten", "Adopt")
	p.waits(never)
}

// What comes after the move has to last as long as what comes without one.
func TestDoubtsAfterAMove(t *testing.T) {
	for _, c := range []struct {
		look string
		wait time.Duration
	}{{"Removed", 100 * time.Millisecond}, {"Replaced", 100 * time.Millisecond}, {"Unfinished", patience}} {
		p := playRunning(t, 100*time.Millisecond, "TERM/10s/KILL")
		p.happens("Moving", "-")
		p.later(5 * time.Second)
		p.happens("Moving", "-")
		p.ticks(patienceStep, "Look")
		since := p.now
		p.happens(c.look, "-")
		for p.now.Before(since.Add(c.wait)) {
			p.ticks(p.m.Deadline().Sub(p.now), "Look")
			if p.now.Before(since.Add(c.wait)) {
				p.happens(c.look, "-")
			}
		}
		if got := actionText(p.m.Handle(p.now, eventOf(c.look))); !strings.HasPrefix(got, stops) {
			t.Errorf("%s: got %s, want the stop after %v", c.look, got, c.wait)
		}
	}
}

func TestHasNoFile(t *testing.T) {
	p := newPlay(t, func(s *setup) { s.PIDFile = "" })
	p.happens("Began", "Launch")
	p.happens("Launched", "-")
	p.happens("TERM", "Kill:TERM")
	p.waits(never)
	p.happens("Ended", "End")
}

func TestFirstLaunchFails(t *testing.T) {
	p := newPlay(t, nil)
	p.happens("Began", "Launch")
	p.happens("LaunchFailed:127", "Remove,End")
	p.ends(false, 0, "127")
	if r := p.m.Result(); r.Err == nil || !r.Known {
		t.Error("it is not known why")
	}

	p = newPlay(t, nil)
	p.happens("Began", "Launch")
	p.happens("Vanished", "Report:FileRemoved,Remove,End")
	p.ends(true, 0, "0")
}

// The machine decides; who touches processes, files and clocks is the loop. Otherwise no test
// could try every sequence.
func TestImportsNothing(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			checkImports(t, name)
		}
	}
}

func checkImports(t *testing.T, name string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		switch path := spec.Path.Value; path {
		case `"time"`, `"syscall"`, `"pidleash/internal/plan"`:
		default:
			t.Errorf("%s imports %s: only time, syscall and the plan keep it pure", name, path)
		}
	}
}

// -drain keeps the first TERM, and nothing else.
func TestDrains(t *testing.T) {
	drains := func() *play {
		return playRuns(t, func(s *setup) { s.Drain, s.Restart = 5*time.Second, plan.Restart{} })
	}
	p := drains()
	p.happens("TERM", "Report:TermKept")
	p.happens("USR1", "Kill:USR1")
	p.ticks(5*time.Second, "Kill:TERM,Unwatch")
	p.happens("TERM", "Kill:TERM") // the program has been told
	p.happens("Ended:TERM", "Remove,End")
	p.ends(false, 0, "TERM")

	p = drains()
	p.happens("TERM", "Report:TermKept")
	p.later(time.Second)
	p.happens("TERM", "Kill:TERM,Unwatch")
	p.ticks(farewell, "Watch") // and no second TERM
	p.waits(never)
	p.happens("Ended", closes)

	p = drains()
	p.happens("TERM", "Report:TermKept")
	p.happens("Removed", stops+","+isRemoved) // at once: that is no TERM
	p.happens("Ended:TERM", "Survey")

	p = drains()
	p.happens("TERM:delivered", "-") // the program has had it
	p.waits(never)

	p = drains()
	p.happens("TERM", "Report:TermKept")
	p.happens("TERM:delivered", "-")
	p.waits(never)
	p.happens("TERM", "Kill:TERM,Unwatch") // at once

	p = playRuns(t, func(s *setup) {
		s.Drain, s.Rewrite = 5*time.Second, map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT}
		s.Restart = plan.Restart{Policy: plan.RestartAlways}
	})
	p.happens("TERM", "Report:TermKept")
	p.ticks(5*time.Second, "Kill:QUIT,Unwatch")
	p.happens("Ended", "Remove,End") // and no restart
}

// A TERM that was kept when the program ended is for those who remain.
func TestDrainsForThoseWhoRemain(t *testing.T) {
	p := playRuns(t, func(s *setup) {
		s.Drain, s.WaitAll, s.KillMode, s.Restart = 5*time.Second, true, plan.KillProcess, plan.Restart{}
	})
	p.happens("TERM", "Report:TermKept")
	p.happens("Died", "Placeholder")
	p.happens("Ended", "Survey,Kill:TERM:tree,Unwatch")
	p.happens("NoneLeft", "Remove,End")
}

// A TERM that was kept when a daemon made way for its successor is the successor's.
func TestDrainsForTheSuccessor(t *testing.T) {
	p := playDaemon(t, func(s *setup) { s.Drain = 5 * time.Second })
	p.happens("TERM", "Report:TermKept")
	p.later(2 * time.Second)
	p.happens("Ended", "SeekSuccessor")
	p.happens("Succeeded", "Look")
	p.ticks(3*time.Second, "Kill:TERM,Unwatch")
}

// The second TERM ends the drain, also when it comes while the successor is looked for; the first one begins it.
func TestDrainsFromTheSuccession(t *testing.T) {
	p := playDaemon(t, func(s *setup) { s.Drain = 5 * time.Second })
	p.happens("Ended", "SeekSuccessor")
	p.happens("TERM", "-")
	p.happens("Succeeded", "Look,Report:TermKept")
	p.happens("Ended", "SeekSuccessor")
	p.happens("TERM", "-")
	p.happens("Succeeded", "Look,Kill:TERM,Unwatch")
}

// What was seen of a daemon's file says nothing about its successor's, which may make way at once, too.
func TestSuccessorHasDoubtsOfItsOwn(t *testing.T) {
	p := playDaemon(t, func(s *setup) { s.OwnSettle = time.Second })
	p.happens("Removed:own", "-") // the daemon ends
	p.happens("Ended", "SeekSuccessor")
	p.later(2 * time.Second)
	p.happens("Succeeded", "Look")
	p.happens("Removed:own", "-") // the successor ends, too
	p.happens("Ended", "SeekSuccessor")
	p.happens("Succeeded", "Look")
	p.happens("Removed:own", "-")
	p.ticks(time.Second, "Look")
	p.happens("Removed:own", stops+","+isRemoved)
}

// With -wait-all the run is over when the last descendant is gone, and the file names pidleash until then.
func TestWaitsForAll(t *testing.T) {
	waits := func() *play {
		return playRuns(t, func(s *setup) { s.WaitAll, s.Restart = true, plan.Restart{} })
	}
	p := waits()
	p.happens("Died", "Placeholder")
	p.happens("Ended:3", "Survey")
	p.happens("Left", "-")
	p.ticks(surveyFast, "Survey")
	p.happens("Left", "-")
	p.happens("TERM", "Kill:TERM:tree,Unwatch")
	p.happens("NoneLeft", "Remove,End")
	p.ends(false, 0, "3")

	p = waits()
	p.happens("TERM", "Kill:TERM,Unwatch") // it has not reached the descendants
	p.happens("Died", "Placeholder")
	p.happens("Ended:TERM", "Survey")
	p.later(farewell)
	p.happens("Ticked", "Watch,Survey")
	p.happens("Removed", "Survey,"+isRemoved)
	p.happens("Left", "Kill:TERM:tree,Kill:CONT:tree")
	p.later(10 * time.Second)
	p.happens("Left", "Kill:KILL:tree")
	p.happens("NoneLeft", "Remove,End")
	p.ends(true, 0, "TERM")

	p = waits()
	p.happens("Ended", "Survey")
	p.happens("TERM", "Kill:TERM:tree,Unwatch")
	p.later(9 * time.Second)
	p.happens("Removed", "Survey,Report:FileRemoved")
	p.happens("Left", "-") // the schedule goes on from that TERM
	p.later(time.Second)
	p.happens("Left", "Kill:KILL:tree")
}

// The command of -ready is started again until it ends with 0.
func TestAsksACommandWhetherItIsReady(t *testing.T) {
	p := newPlay(t, func(s *setup) { s.Ready = plan.Ready{Given: true, Kind: plan.ReadyCommand} })
	p.happens("Began", "Launch")
	p.happens("Launched", "Watch,Await")
	p.happens("Probed:1", "-")
	p.ticks(probePause, "Await")
	p.happens("Probed:KILL", "-")
	p.ticks(probePause, "Await")
	p.happens("Probed", "KillProbe,ReportReady")
	p.happens("Probed:1", "-") // nobody asks any more
	p.waits(never)
}
