package wrapper

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// FuzzMachine drives the machine as the loop does: an action that asks for a
// look is answered before anything else happens, hints come only while they are
// wanted, ticks at the deadline, but also late ones of a timer that has been
// set again.
func FuzzMachine(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", // started, or not, and the end
		"\x01\x01\x02\x00\x03\x00\x03\x00",                     // removed, confirmed, stopped
		"\x11\x01\x02\x05\x03\x05\x03\x05",                     // an empty file
		"\x21\x01\x01\x0f\x02\x01",                             // TERM, then the removal
		"\x11\x01\x02\x01\x03\x06\x06\x06\x06\x06\x06\x06\x06", // removed, then unknown
		"\x41\x01\x00\x02\x03\x03\x03\x04\xff\x00",             // replaced, late ticks
		"\x01\x01\x01\x09\x01",                                 // ready
		"\x01\x01\x03\x09\x01\x09\x01",                         // handed over
		"\x01\x01\x04\x03\xf5\x09\x01",                         // a daemon
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		w := newFuzzWorld(t, script)
		w.run()
	})
}

// fuzzSchedules are what the first byte chooses from.
var fuzzSchedules = []string{"TERM/10s/KILL", "KILL", "TERM/forever", "0/TERM/0/KILL/0", "INT/1s/TERM/1s/STOP/0/CONT"}

// fuzzWorld is what the machine acts on, and what must hold there.
type fuzzWorld struct {
	t      *testing.T
	script []byte
	m      machine
	now    time.Time

	launches        bool // the launch succeeds
	started, living bool
	watched, ended  bool
	awaited, handed bool
	removals, stops int
	commands, left  int              // stop commands and descendants that live
	scheduled       []syscall.Signal // sent by the schedule
	queue           []event
}

func newFuzzWorld(t *testing.T, script []byte) *fuzzWorld {
	w := &fuzzWorld{t: t, script: script, now: noon}
	first := w.next()
	second := w.next()
	w.launches = first&1 == 1
	w.m.hasFile = second&1 == 1
	w.m.hasCommand = second&2 != 0
	w.m.killMode = KillMode(second >> 2 & 3)
	w.left = int(second >> 4 & 3)
	if second&0x40 != 0 {
		w.m.rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT, syscall.SIGUSR1: 0}
	}
	if first&0x10 != 0 {
		w.m.settle = 100 * time.Millisecond
	}
	third := w.next()
	w.m.awaits, w.m.background, w.m.forking = third&1 != 0, third&2 != 0, third&4 != 0
	w.m.limit = time.Duration(third&8) * time.Second
	w.m.schedule, _ = ParseSchedule(fuzzSchedules[int(first>>5)%len(fuzzSchedules)])
	return w
}

// next reads the script; behind its end there are zeros.
func (w *fuzzWorld) next() byte {
	if len(w.script) == 0 {
		return 0
	}
	b := w.script[0]
	w.script = w.script[1:]
	return b
}

func (w *fuzzWorld) run() {
	w.happen(event{kind: began})
	for !w.ended && len(w.script) > 0 {
		w.act(w.next())
	}
	w.exit()
	if w.m.state == finding {
		w.happen(event{kind: unready})
	}
	w.commandEnds()
	for w.left > 0 {
		w.descendantEnds()
	}
	if !w.ended {
		w.t.Fatal("the program is gone and the machine does not end")
	}
	w.checkEnd()
}

// act lets one thing happen in the world.
func (w *fuzzWorld) act(choice byte) {
	switch choice % 10 {
	case 9:
		w.comesUp(w.next()&1 != 0)
	case 0:
		w.now = w.now.Add(time.Duration(w.next()) * 10 * time.Millisecond)
	case 1:
		w.happen(event{kind: signaled, signal: syscall.Signal(1 + w.next()%64)})
	case 2:
		if w.watched {
			w.happen(w.look())
		}
	case 3:
		w.tickAtDeadline()
	case 4:
		w.happen(event{kind: ticked}) // one that was under way
	case 5:
		if choice > 200 { // seldom: it ends the script
			w.exit()
		}
	case 6:
		w.happen(event{kind: halted, signal: syscall.SIGTSTP})
	case 7:
		w.commandEnds()
	case 8:
		w.descendantEnds()
	}
}

// comesUp answers what was asked last.
func (w *fuzzWorld) comesUp(well bool) {
	switch {
	case w.m.state == finding && !well, w.awaited && !well:
		w.awaited = false
		w.happen(event{kind: unready})
	case w.m.state == finding && !w.living:
		w.living = true
		w.happen(event{kind: found})
	case w.awaited:
		w.awaited = false
		w.happen(event{kind: readied})
	}
}

func (w *fuzzWorld) commandEnds() {
	if w.commands > 0 {
		w.commands--
		w.happen(event{kind: commandDone})
		w.surveyed()
	}
}

func (w *fuzzWorld) descendantEnds() {
	if w.left > 0 {
		w.left--
		w.surveyed()
	}
}

// surveyed is what the loop does after it has waited for somebody.
func (w *fuzzWorld) surveyed() {
	if w.m.state == sweeping && !w.ended {
		w.happen(w.survey())
	}
}

func (w *fuzzWorld) survey() event {
	if w.left+w.commands > 0 {
		return event{kind: remaining}
	}
	return event{kind: emptied}
}

func (w *fuzzWorld) look() event {
	return event{kind: sighted, sight: sight(w.next()) % numSights}
}

func (w *fuzzWorld) exit() {
	if w.living {
		w.living = false
		w.happen(event{kind: exited})
	}
}

// tickAtDeadline asks for progress: however often the machine wants to be
// ticked at once, time must be able to go on.
func (w *fuzzWorld) tickAtDeadline() {
	for range len(w.m.schedule) + 3 {
		at := w.m.deadline()
		if at.IsZero() || w.ended {
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		w.happen(event{kind: ticked})
		if w.m.deadline().After(w.now) {
			return
		}
	}
	if at := w.m.deadline(); !at.IsZero() && !w.ended {
		w.t.Fatalf("ticks at %v change nothing, the deadline stays %v before: the loop would spin", w.now, w.now.Sub(at))
	}
}

func (w *fuzzWorld) happen(e event) {
	w.queue = append(w.queue, e)
	for len(w.queue) > 0 {
		e, w.queue = w.queue[0], w.queue[1:]
		before := w.m.state
		for _, a := range w.m.handle(w.now, e) {
			w.do(before, e, a)
		}
	}
}

func (w *fuzzWorld) do(before state, e event, a action) {
	w.require(!w.ended, "an action after the end: %s", actionText([]action{a}))
	switch a.kind {
	case spawn:
		w.require(before == idle, "spawned in state %s", stateNames[before])
		w.launch()
	case seek:
		w.require(before == finding, "seeks in state %s", stateNames[before])
	case await:
		w.awaited = true
	case tellReady:
		w.require(w.living && w.m.up, "ready, and not up")
	case sayLate:
		w.require(!w.m.up, "late, and up")
	case handOver:
		w.require(w.m.background && w.living && !w.watched, "hands over what it watches, or has not")
		w.handed = true
		w.queue = append(w.queue, event{kind: handedOver})
	case watchFile:
		w.require(w.m.hasFile && !w.watched, "watched twice, or without a file")
		w.watched = true
	case unwatchFile:
		w.require(w.watched, "unwatched what was not watched")
		w.watched = false
	case look:
		w.require(w.watched, "a look at a file that does not matter any more")
		w.queue = append(w.queue, w.look())
	case adoptFile:
		w.require(w.watched && e.sight == rewritten, "adopted at the sight %s", e.sight)
	case removeFile:
		w.require(w.m.hasFile && w.started && (!w.living || w.m.gaveUp), "removed without a file or a program, or before its end")
		w.require(before != sweeping || w.left == 0, "removed while %d descendants are left", w.left)
		w.removals++
	case kill:
		w.kill(before, e, a)
	case suspend:
		w.require(before == running && e.kind == halted, "suspended in state %s", stateNames[before])
	case runCommand:
		w.require(w.living && w.m.hasCommand, "a stop command without a program, or none was given")
		w.commands++
	case killCommand:
		w.require(w.commands == 1, "killed a stop command that does not run")
	case survey:
		w.require(!w.living || w.m.gaveUp, "a survey of a program that runs")
		w.queue = append(w.queue, w.survey())
	case say:
		w.require(e.kind == sighted && a.sight == e.sight, "says %s at the sight %s", a.sight, e.sight)
		if a.stop {
			w.stops++
		}
	case end:
		w.ended = true
	}
}

func (w *fuzzWorld) launch() {
	if w.launches {
		w.started, w.living = true, true
		w.queue = append(w.queue, event{kind: started})
	} else {
		w.queue = append(w.queue, event{kind: failed})
	}
}

func (w *fuzzWorld) kill(before state, e event, a action) {
	name := SignalName(a.signal)
	w.require(w.living || a.target == toTree, "%s to a program that does not run", name)
	w.require(before != idle && before != starting && before != over, "%s in state %s", name, stateNames[before])
	w.require(a.target == toProgram || w.m.killMode != KillProcess || w.m.gaveUp, "%s to more than the program", name)
	if e.kind == signaled {
		want, rewritten := w.m.rewrite[e.signal]
		if !rewritten {
			want = e.signal
		}
		w.require(a.signal == want && want != 0, "%s forwarded as %s", SignalName(e.signal), name)
		return
	}
	if e.kind == found {
		return // it was kept for the daemon
	}
	if w.living && w.m.state != sweeping {
		w.scheduled = append(w.scheduled, a.signal)
	}
}

func (w *fuzzWorld) checkEnd() {
	wanted := 0
	if w.m.hasFile && w.started && !w.handed {
		wanted = 1
	}
	w.require(w.removals == wanted, "%d removals of the file, want %d", w.removals, wanted)
	w.require(!w.watched, "the watch is still on")
	w.require(w.stops <= 1, "the program was stopped %d times", w.stops)
	w.require(w.m.byRemoval == (w.stops == 1), "stopped %d times, byRemoval is %v", w.stops, w.m.byRemoval)
	all := allKills(w.m.schedule)
	w.require(len(w.scheduled) <= len(all) && slices.Equal(w.scheduled, all[:len(w.scheduled)]),
		"the schedule %v was sent as %v", all, w.scheduled)
	w.require(w.stops == 1 || w.m.gaveUp || len(w.scheduled) == 0, "schedule signals to the program without a stop")
	for kind := range numEventKinds {
		for _, a := range w.m.handle(w.now, event{kind: kind}) {
			w.require(false, "after the end: %s", actionText([]action{a}))
		}
	}
}

// allKills is what a schedule sends when nothing interrupts it.
func allKills(s Schedule) []syscall.Signal {
	var all []syscall.Signal
	for _, step := range s {
		if step.Signal == 0 {
			continue
		}
		all = append(all, step.Signal)
		if step.Signal != syscall.SIGKILL && step.Signal != syscall.SIGSTOP && step.Signal != syscall.SIGCONT {
			all = append(all, syscall.SIGCONT)
		}
	}
	return all
}

func (w *fuzzWorld) require(ok bool, format string, args ...any) {
	w.t.Helper()
	if !ok {
		w.t.Fatalf(format, args...)
	}
}
