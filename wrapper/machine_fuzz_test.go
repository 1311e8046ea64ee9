package wrapper

import (
	"pidleash/internal/plan"
	"slices"
	"syscall"
	"testing"
	"time"
)

// FuzzMachine drives the machine as the loop does: an action that asks for a
// look is answered before anything else happens, hints come only while they are
// wanted, ticks at the deadline, but also late ones of a timer that has been
// set again. At the end of the script something ends it all.
func FuzzMachine(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", // started, or not, and the end
		"\x01\x01\x00\x00\x00\x02\x01\x03",                             // removed, stopped
		"\x11\x01\x00\x00\x00\x02\x01\x03\x01\x03\x03",                 // removed, confirmed, stopped
		"\x11\x01\x00\x00\x00\x02\x05\x03\x05\x03\x05",                 // an empty file
		"\x21\x01\x00\x00\x00\x01\x0f\x02\x01",                         // TERM, then the removal
		"\x11\x01\x00\x00\x00\x02\x01\x03\x06\x06\x06\x06\x06\x06\x06", // removed, then unknown
		"\x41\x01\x00\x00\x00\x02\x03\x03\x04\xff\x00",                 // replaced, late ticks
		"\x01\x01\x01\x00\x00\x09\x01",                                 // ready
		"\x01\x01\x03\x00\x00\x09\x01\x09\x01",                         // handed over
		"\x01\x01\x04\x00\x00\x05\x00\x09\x01",                         // a daemon
		"\x01\x01\x00\x05\x00\x05\x01\x03\x05\x02\x03",                 // two failures
		"\x01\x01\x00\x05\x00\x05\x01\x0a\x03",                         // removed in back-off
		"\x01\x01\x00\x05\x00\x05\x01\x01\x0f",                         // TERM in back-off
		"\x01\x03\x00\x01\x00\x0b\x05\x01\x07\x03",                     // asked, by the stop command
		"\x11\x01\x00\x2d\x00\x0c\x0d\x0c\x03",                         // a -while file comes and goes
		"\x01\x01\x01\x12\x00\x09\x01\x05\x01\x03",                     // up once, then a failure
		"\x01\x01\x01\x05\x00\x09\x00\x05\x01\x03\x00\x05\x00",         // not up, then a clean end
		"\x01\x41\x00\x06\x00\x01\x0b\x05\x03",                         // told by TERM, but not to end
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

// fuzzEnds are what a run ends with.
var fuzzEnds = []string{"exited:0", "exited:1", "exited:3", "exited:TERM", "exited:SEGV", "exited:127", "exited:^C", "exited:PIPE"}

// fuzzWorld is what the machine acts on, and what must hold there.
type fuzzWorld struct {
	t      *testing.T
	script []byte
	doom   byte // what ends it all
	m      machine
	now    time.Time

	launches, claims bool // the first launch succeeds, and the claim before it
	started, living  bool
	watched, ended   bool
	awaited, handed  bool
	removals, stops  int
	file             fuzzFile
	suspect          bool // the last look has shown something that may be the end
	command          bool // a stop command has not been reaped
	killed           bool // it was killed
	left, brood      int  // descendants that live, and that a run has
	queue            []event
	fuzzRun
	fuzzRestarts
}

// fuzzFile is what the PID file names.
type fuzzFile uint8

const (
	noFile      fuzzFile = iota // not yet
	fileProgram                 // the program, which may be dead
	fileOwn                     // pidleash
	fileGone                    // it was removed
)

// fuzzRun is about one run.
type fuzzRun struct {
	spawnedAt time.Time
	asked     bool             // to be started again
	scheduled []syscall.Signal // sent by the schedule
	late      bool
	status    syscall.WaitStatus
}

// fuzzRestarts is about all of them.
type fuzzRestarts struct {
	shut      bool // a -while file is missing
	doomed    bool // told to end, or the file is gone: nothing may be started any more
	known     bool // that it was up once is known to who waits for that
	spawns    int
	delay     time.Duration // the next one
	notBefore time.Time     // the next start
	counted   []time.Time   // restarts that count
	atLimit   bool
}

func newFuzzWorld(t *testing.T, script []byte) *fuzzWorld {
	w := &fuzzWorld{t: t, script: script, now: noon}
	first := w.next()
	second := w.next()
	w.launches, w.claims = first&1 == 1, first&2 == 0
	w.m.hasFile = second&1 == 1
	w.m.hasCommand = second&2 != 0
	w.m.killMode = plan.KillMode(second >> 2 & 3)
	w.brood = int(second >> 4 & 3)
	if second&0x40 != 0 {
		w.m.rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT, syscall.SIGUSR1: 0, syscall.SIGUSR2: syscall.SIGTERM}
	}
	if first&0x10 != 0 {
		w.m.settle = 100 * time.Millisecond
	}
	third := w.next()
	w.m.awaits, w.m.background, w.m.forking = third&1 != 0, third&2 != 0, third&4 != 0
	w.m.limit = time.Duration(third&8) * time.Second
	w.m.schedule, _ = plan.ParseSchedule(fuzzSchedules[int(first>>5)%len(fuzzSchedules)])
	fourth, fifth := w.next(), w.next()
	w.doom = fifth >> 4
	w.setRestart(fourth, fifth&0xf)
	return w
}

// setRestart is for a parent that stays, and knows its program from the start.
func (w *fuzzWorld) setRestart(fourth, fifth byte) {
	if fourth|fifth == 0 {
		return
	}
	w.m.background, w.m.forking = false, false
	w.m.restart.Policy = plan.RestartPolicy(fourth&3) % 3
	w.m.restart.Delay = []time.Duration{0, time.Second, 20 * time.Second, 40 * time.Second}[fourth>>2&3]
	w.m.mustComeUp = fourth&0x10 != 0
	if fourth&0x20 != 0 {
		w.happen(event{kind: shut})
		w.shut = true
	}
	if fourth&0x40 != 0 {
		w.m.restart.Limit, w.m.restart.Window = 2, 10*time.Second
	}
	w.m.success[3] = fourth&0x80 != 0
	w.m.whileLimit = time.Duration(fifth&8) * time.Second
	if fifth&1 != 0 {
		w.m.jitter = func() float64 { return 0.999 }
	}
	w.delay = w.m.restart.Delay
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
	for range 10 { // the end of a run, and more than all steps that may follow it
		w.finish()
	}
	if !w.ended {
		w.t.Fatalf("the program is gone and the machine does not end, its state is %s", stateNames[w.m.state])
	}
	w.checkEnd()
}

// finish has something happen that ends it all, and lets the world follow.
func (w *fuzzWorld) finish() {
	if w.ended {
		return
	}
	switch {
	case w.doom%3 == 0:
		w.signal(byte(syscall.SIGTERM) - 1)
	case w.doom%3 == 1 && w.watched:
		w.remove()
		w.happen(w.look())
	case w.doom%3 == 2 && w.started:
		w.shut = true
		w.happen(event{kind: shut})
	default: // there is nothing else to remove
		w.signal(byte(syscall.SIGINT) - 1)
	}
	for range 3 { // the time for a look and its confirmation
		w.tickAtDeadline()
	}
	w.exit(0)
	if w.m.state == finding {
		w.happen(event{kind: unready})
	}
	w.commandEnds()
	for w.left > 0 {
		w.descendantEnds()
	}
}

// act lets one thing happen in the world.
func (w *fuzzWorld) act(choice byte) {
	switch choice % 14 {
	case 0:
		w.now = w.now.Add(time.Duration(w.next()) * 10 * time.Millisecond)
		if choice >= 128 {
			w.now = w.now.Add(health)
		}
	case 1:
		w.signal(w.next())
	case 2:
		if w.watched {
			w.happen(w.look())
		}
	case 3:
		w.tickAtDeadline()
	case 4:
		w.happen(event{kind: ticked}) // one that was under way
	case 5:
		w.exit(w.next())
	case 6:
		w.happen(event{kind: halted, signal: syscall.SIGTSTP})
	case 7:
		w.commandEnds()
	case 8:
		w.descendantEnds()
	case 9:
		w.comesUp(w.next()&1 != 0)
	case 10:
		w.remove()
	case 11:
		w.ask()
	case 12:
		w.shut = false
		if choice < 128 || !w.started { // else nobody tells
			w.happen(event{kind: opened})
		}
	case 13:
		if !w.m.background && !w.m.forking {
			w.shut = true
			w.happen(event{kind: shut})
		}
	}
}

// signal sends one to pidleash, or to its whole process group.
func (w *fuzzWorld) signal(how byte) {
	sig := syscall.Signal(1 + how%64)
	before := w.m.state
	switch to, rewritten := w.m.rewrite[sig]; {
	case rewritten && to == 0:
	case sig == syscall.SIGTERM, sig == syscall.SIGINT, sig == syscall.SIGQUIT, sig == syscall.SIGHUP && before == waiting:
		w.doomed = true
	}
	had := w.living && how >= 128
	w.happen(event{kind: signaled, signal: sig, had: had})
	w.require(before != waiting || w.ended == w.doomed, "%s in back-off: doomed %v, ended %v", plan.SignalName(sig), w.doomed, w.ended)
}

func (w *fuzzWorld) ask() {
	if w.m.background || w.m.forking {
		return
	}
	if before := w.m.state; before == running && !w.doomed && w.mayRestart() || before == waiting {
		w.asked = true
	}
	w.happen(event{kind: asked})
}

// mayRestart is false as long as somebody waits for the first start.
func (w *fuzzWorld) mayRestart() bool { return !w.m.mustComeUp || w.known }

// remove takes the PID file away.
func (w *fuzzWorld) remove() {
	if w.file != noFile {
		w.file = fileGone
	}
}

// comesUp answers what was asked last.
func (w *fuzzWorld) comesUp(well bool) {
	switch {
	case w.m.state == finding && !well, w.awaited && !well:
		w.awaited, w.late = false, true
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
	if w.command {
		w.command = false
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
	if w.left > 0 || w.command {
		return event{kind: remaining}
	}
	return event{kind: emptied}
}

// look sees anything, but a file that was removed does not come back.
func (w *fuzzWorld) look() event {
	seen := sight(w.next()) % numSights
	if w.file == fileGone {
		seen = removed
	}
	switch seen {
	case present, rewritten, changed, unknown:
		w.suspect = false
	case removed, replaced, unfinished, moving:
		w.suspect = true
	}
	return event{kind: sighted, sight: seen}
}

func (w *fuzzWorld) lookAtGates() event {
	if w.shut {
		return event{kind: shut}
	}
	return event{kind: opened}
}

func (w *fuzzWorld) exit(how byte) {
	if !w.living {
		return
	}
	e := eventOf(fuzzEnds[int(how)%len(fuzzEnds)])
	if w.m.state == finding {
		e.signal = 0 // the terminal is the daemon's no more
	}
	w.living, w.awaited, w.status = false, false, e.status
	if e.signal != 0 {
		w.doomed = true
	}
	if m := &w.m; how&0x40 == 0 && m.state != finding && w.file == fileProgram && !m.ending && !m.byRemoval && (m.again || m.restart.Policy != plan.RestartNo) {
		w.file = fileOwn // before it is reaped, see standInEarly
	}
	w.happen(e)
}

// tickAtDeadline asks for progress: however often the machine wants to be
// ticked at once, time must be able to go on.
func (w *fuzzWorld) tickAtDeadline() {
	spawns := w.spawns
	for range len(w.m.schedule) + 3 {
		at := w.m.deadline()
		if at.IsZero() || w.ended {
			return
		}
		if at.After(w.now) {
			w.now = at
		}
		w.happen(event{kind: ticked})
		if w.m.deadline().After(w.now) || w.spawns > spawns {
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
	if w.m.state == waiting {
		w.require(!w.living, "waits, and the program runs")
		w.require(!w.m.hasFile || w.watched, "waits without a watch")
		w.require(!w.m.hasFile || w.file == fileOwn || w.file == fileGone, "the file does not name pidleash while no program runs")
		w.require(w.shut || !w.m.deadline().IsZero(), "waits for nothing")
	}
}

func (w *fuzzWorld) do(before state, e event, a action) {
	w.require(!w.ended, "an action after the end: %s", actionText([]action{a}))
	switch a.kind {
	case spawn:
		w.require(before == idle || before == waiting, "spawned in state %s", stateNames[before])
		w.launch()
	case seek:
		w.require(before == finding, "seeks in state %s", stateNames[before])
	case await:
		w.awaited = true
	case tellReady:
		w.require(w.living && w.m.state == running, "ready, and does not run")
	case reportUp:
		w.require(w.living && w.m.mustComeUp && !w.known, "reported without need")
		if w.next()&1 == 0 { // it has not ended meanwhile
			w.known = true
			w.queue = append(w.queue, event{kind: reported})
		}
	case sayLate:
		w.require(w.awaited || w.m.forking || !w.started && w.shut, "late, and nothing was awaited")
		w.awaited, w.late = false, true
	case handOver:
		w.require(w.m.background && w.living && !w.watched, "hands over what it watches, or has not")
		w.handed = true
		w.queue = append(w.queue, event{kind: handedOver})
	case watchFile:
		w.require(w.m.hasFile && !w.watched, "watched twice, or without a file")
		w.watched = true
	case unwatchFile:
		w.require(w.watched, "unwatched what was not watched")
		w.watched, w.suspect = false, false
	case look:
		w.require(w.watched, "a look at a file that does not matter any more")
		w.queue = append(w.queue, w.look())
	case lookAtGates:
		w.require(w.started, "looks for files before the first start")
		w.queue = append(w.queue, w.lookAtGates())
	case adoptFile:
		w.require(w.watched && e.sight == rewritten, "adopted at the sight %s", e.sight)
	case removeFile:
		w.require(w.m.hasFile && w.file != noFile && (!w.living || w.m.gaveUp), "removed without a file, or before the program's end")
		w.require(before != sweeping || w.left == 0, "removed while %d descendants are left", w.left)
		w.removals++
	case kill:
		w.kill(before, e, a)
	case suspend:
		w.require(before == running && e.kind == halted, "suspended in state %s", stateNames[before])
	case runCommand:
		w.require(w.living && w.m.hasCommand, "a stop command without a program, or none was given")
		w.command, w.killed = true, false
	case killCommand:
		w.require(w.command && !w.killed, "killed a stop command that does not run")
		w.killed = true
	case survey:
		w.require(!w.living || w.m.gaveUp, "a survey of a program that runs")
		w.queue = append(w.queue, w.survey())
	case say:
		w.say(e, a)
	case sayShut:
		w.require(w.shut && w.started, "a -while file is gone, and is not")
		w.doomed = true
		w.stops++
	case standIn:
		w.standIn()
	case tellWaiting:
		w.require(before == idle && w.shut, "waits for what is there")
	case tellRestart:
		w.restart(before, a.wait)
	case sayLimit:
		w.require(w.m.restart.Limit > 0 && w.countedAt(w.now) == w.m.restart.Limit, "at the limit after %d", w.countedAt(w.now))
		w.atLimit = true
	case end:
		w.ended = true
	}
}

func (w *fuzzWorld) say(e event, a action) {
	if e.kind == vanished {
		w.require(w.file == fileGone && a.sight == removed, "says %s, and it is there", a.sight)
	} else {
		tooLong := e.sight == moving && a.sight == removed
		w.require(e.kind == sighted && (a.sight == e.sight || tooLong), "says %s at the sight %s", a.sight, e.sight)
	}
	if a.stop {
		w.doomed = true
		w.stops++
	}
}

// launch fails now and then, as the script says, but for the first time.
func (w *fuzzWorld) launch() {
	w.require(!w.living, "a second program beside the first")
	w.require(!w.doomed, "started after what was to be its end")
	w.require(!w.shut, "started without its -while file")
	w.require(!w.suspect, "started while the PID file is suspected to be gone")
	w.require(!w.now.Before(w.notBefore) || w.asked, "started %v too early", w.notBefore.Sub(w.now))
	if w.asked {
		w.delay = w.m.restart.Delay
	}
	succeeds := w.launches
	if w.spawns > 0 {
		succeeds = w.next()&1 == 0
	}
	w.spawns++
	w.fuzzRun = fuzzRun{spawnedAt: w.now}
	switch {
	case w.file == fileGone:
		w.queue = append(w.queue, event{kind: vanished})
	case !succeeds:
		w.status = statusExit(127)
		w.queue = append(w.queue, event{kind: failed, status: w.status})
	default:
		w.started, w.living, w.left = true, true, w.brood
		if w.m.hasFile {
			w.file = fileProgram
		}
		w.queue = append(w.queue, event{kind: started})
	}
}

// standIn fails when the path is another's.
func (w *fuzzWorld) standIn() {
	w.require(!w.living, "stands in for a program that runs")
	switch {
	case !w.m.hasFile || w.file == fileGone:
	case w.file == noFile && !w.claims:
		w.queue = append(w.queue, event{kind: failed})
		w.file = fileGone // it never was
	default:
		w.file = fileOwn
	}
}

// restart checks whether there may be one, and when.
func (w *fuzzWorld) restart(before state, wait time.Duration) {
	w.require(!w.doomed && w.started && w.mayRestart(), "a restart that may not be")
	w.require(before != sweeping || w.left == 0, "a restart while %d descendants are left", w.left)
	if w.asked {
		w.require(wait == 0, "waits %v for what was asked for", wait)
		w.asked, w.delay, w.notBefore = false, w.m.restart.Delay, w.now
		return
	}
	w.require(w.wants(), "a restart after %v", plan.Describe(w.status))
	if !w.late && w.now.Sub(w.spawnedAt) >= health {
		w.delay = w.m.restart.Delay
	}
	w.require(wait >= w.delay && wait <= w.delay+w.delay/10, "a restart in %v, want %v", wait, w.delay)
	w.notBefore = w.now.Add(w.delay)
	w.delay = min(2*w.delay, max(restartDelayLimit, w.m.restart.Delay))
	w.counted = append(w.counted, w.now)
	w.require(w.m.restart.Limit == 0 || w.countedAt(w.now) <= w.m.restart.Limit, "the limit is exceeded")
}

// wants says whether the policy asks for a restart.
func (w *fuzzWorld) wants() bool {
	switch w.m.restart.Policy {
	case plan.RestartAlways:
		return true
	case plan.RestartOnFailure:
		return w.late || !plan.IsClean(w.status) && !(w.m.success[3] && w.status == statusExit(3))
	}
	return false
}

func (w *fuzzWorld) countedAt(now time.Time) int {
	n := 0
	for _, at := range w.counted {
		if now.Sub(at) < w.m.restart.Window {
			n++
		}
	}
	return n
}

func (w *fuzzWorld) kill(before state, e event, a action) {
	name := plan.SignalName(a.signal)
	w.require(w.living || a.target == toTree, "%s to a program that does not run", name)
	w.require(before != idle && before != waiting && before != starting && before != over, "%s in state %s", name, stateNames[before])
	w.require(e.kind != signaled || !e.had, "%s, which it has had", name)
	w.require(a.target == toProgram || w.m.killMode != plan.KillProcess || w.m.gaveUp, "%s to more than the program", name)
	if e.kind == signaled {
		want, rewritten := w.m.rewrite[e.signal]
		if !rewritten {
			want = e.signal
		}
		w.require(a.signal == want && want != 0, "%s forwarded as %s", plan.SignalName(e.signal), name)
		return
	}
	if e.kind == found {
		return // it was kept for the daemon
	}
	if w.living && w.m.state != sweeping {
		w.scheduled = append(w.scheduled, a.signal)
		w.checkSchedule()
	}
}

func (w *fuzzWorld) checkSchedule() {
	all := allKills(w.m.schedule)
	w.require(len(w.scheduled) <= len(all) && slices.Equal(w.scheduled, all[:len(w.scheduled)]),
		"the schedule %v was sent as %v", all, w.scheduled)
	w.require(w.doomed || w.asked || w.late || w.m.byRemoval, "schedule signals to the program without a stop")
}

func (w *fuzzWorld) checkEnd() {
	wanted := 0
	if w.file != noFile && !w.handed && (w.started || w.claims) {
		wanted = 1
	}
	w.require(w.removals == wanted || w.removals == 1 && !w.claims, "%d removals of the file, want %d", w.removals, wanted)
	w.require(!w.watched, "the watch is still on")
	w.require(w.stops <= 1, "the program was stopped %d times", w.stops)
	w.require(w.m.byRemoval == (w.stops == 1), "stopped %d times, byRemoval is %v", w.stops, w.m.byRemoval)
	if w.started && !w.doomed && !w.atLimit && w.mayRestart() {
		w.require(!w.asked, "no restart, and it was asked for")
		w.require(!w.wants(), "no restart after %s", plan.Describe(w.status))
	}
	for kind := range numEventKinds {
		for _, a := range w.m.handle(w.now, event{kind: kind}) {
			w.require(false, "after the end: %s", actionText([]action{a}))
		}
	}
}

// allKills is what a schedule sends when nothing interrupts it.
func allKills(s plan.Schedule) []syscall.Signal {
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
