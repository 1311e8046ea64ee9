package machine

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/internal/plan"
)

// FuzzMachine puts the machine into a small world of processes, a file, a clock and a caller,
// and feeds it events as the loop does: what an action asks for is answered before anything
// else happens, hints come only while they are wanted, and the deadline is kept. At the end of
// the script something ends it all. What must hold is written down here once more, and asks
// the machine for nothing but its deadline and its result.
func FuzzMachine(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "\x01",
		"\x01\x00\x00\x00\x00\x10\x03\x01\x02\x00\xff",         // removed, stopped
		"\x01\x00\x00\x00\x00\x01\x0e\x00\x50\x03\x01\x00\xff", // TERM, then the removal
		"\x01\x00\x00\x00\x00\x03\x02\x01\x0e\x03\x01\x00\xff", // the program's file, TERM, its removal
		"\x01\x00\x00\x01\x00\x02\x01\x00\xff\x02\x01\x00\xff", // two failures
		"\x01\x00\x00\x02\x04\x05\x00\x20\x02\x00\x00\xff",     // asked
		"\x01\x00\x04\x00\x00\x02\x00\x00\x08\x01\x01\x0e\x02", // a daemon
		"\x01\x00\x0a\x00\x00\x06\x00\x02\x01\x06\x00\x00\xff", // a caller
		"\x01\x00\x0b\x00\x00\x07\x01\x06\x01\x02\x01\x00\xff", // ready, then answered
		"\x09\x00\x00\x02\x20\x04\x00\x00\xff\x04\x01\x00\xff", // conditions
		"\x11\x12\x01\x05\x10\x03\x06\x00\x05\x03\x03\x00\x05", // moved, replaced
		"\x01\x0c\x00\x00\x00\x02\x00\x09\x00\x09\x00\x00\xff", // the tree
		"A00A\x0e0BNA0B\x0e",       // KILL at the look after a TERM
		"000\x050092A077777777777", // launches that fail, without a delay
		"102C00C0B\x0e7181",        // TERM to a program whose end was not heard of
		"\x03\x00\x02\x00\x00\x00\x06\x00\x00\x28\x04\x01\x02\x00\x00\x10", // a doubt, and a status that comes late
		"\x03\x00\x04\x00\x00\x00\x02\x00\x01\x03\x01\x02\x00\x00\x00\x10", // a doubt, and no successor yet
		"\x01\x80\x00\x00\x00\x02\x00\x01\x0e\x03\x01\x00\xff",             // the program ends, TERM to those who remain, the removal
		"\x01\x84\x00\x05\x04\x02\x01\x05\x09\x09\x00\xff",                 // those who remain, and a restart that somebody asks for
		"\x01\x00\x20\x00\x00\x01\x0e\x00\x50\x02\x00\x00\xff",             // TERM is kept, and forwarded
		"\x01\x00\x20\x00\x00\x01\x0e\x01\x0e\x03\x01\x00\xff",             // TERM twice, and the removal
		"\x01\x00\x24\x00\x00\x02\x00\x00\x08\x01\x0e\x02\x00\x00\x08",     // TERM is kept, and goes to the successor
		"\x01\x00\x53\x00\x00\x07\x00\x00\x08\x07\x01\x00\xff",             // a command of -ready that fails at first
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) { newWorld(t, script).run() })
}

// worldSchedules are what a byte chooses from; the last two never kill.
var worldSchedules = []string{"TERM/10s/KILL", "KILL", "INT/1s/TERM/2s/KILL", "0/TERM/0/KILL/0", "QUIT/3s/KILL/forever", "TERM/forever", "INT/1s/STOP/0/CONT"}

var worldEnds = []string{"0", "1", "3", "TERM", "SEGV", "KILL", "PIPE", "^C"}

// sent is a signal of the schedule and when it is due, or was sent.
type sent struct {
	signal syscall.Signal
	at     time.Time
}

type world struct {
	t      *testing.T
	script []byte
	log    []string
	p      plan.Plan
	m      *Machine
	now    time.Time
	doom   byte // what ends it all
	ending bool // the script is at its end

	spins   int  // ticks at this moment
	ended   bool // the machine has
	removes int  // how often it has removed the file
	queue   []Event
	outside []Event // what has happened and was not heard of

	worldProcesses
	worldDrain
	worldFile
	worldCaller
	worldStop
	worldRestarts
}

type worldProcesses struct {
	began     bool
	living    bool // the program, or what starts it
	starter   bool // what lives or has lived last is not the daemon yet
	seeking   bool // the daemon is not known
	succeeds  bool // the next daemon is not known
	known     bool // the machine has heard of it; false: of its end
	runs      int
	left      int  // descendants that live
	forkers   int  // how many of them escape a KILL once
	command   bool // the stop command runs
	unknown   bool // the exit status is not known to the machine
	got       []syscall.Signal
	kept      []syscall.Signal // to be forwarded to the daemon
	surveying bool
	status    syscall.WaitStatus
}

type worldDrain struct {
	draining  bool // a TERM is kept
	pending   bool // one is to be kept for the successor
	drained   bool // one was kept
	drainDue  time.Time
	drainAs   syscall.Signal // what it is forwarded as
	remaining bool           // the program has ended, and its descendants are waited for
}

type worldFile struct {
	look    Kind // what there is at its path
	own     bool // the program has written it
	watched bool
	poll    time.Time
	back    bool // names pidleash
	gone    bool // removed for good
}

type worldCaller struct {
	waits    bool // for an answer
	answered bool // it was told, and has not left
	parting  bool // the program has ended since
	departed bool
	awaiting bool // Await was asked for
	readies  int
}

type worldStop struct {
	noMoreStarts bool // pidleash was told to end, or the file is gone
	removed      bool // that was said
	stopping     bool // the schedule is under way for the program
	swept        bool // descendants are to be gone at the end
	expect       []sent
	sent         []sent
	forward      syscall.Signal // as which a TERM was forwarded first
	at           time.Time
}

type worldRestarts struct {
	failing   bool // a condition fails
	asked     bool // somebody has asked for another run
	failed    bool // the last run was none
	delay     time.Duration
	notBefore time.Time
	launched  time.Time
	counted   []time.Time
	waiting   bool
	limited   bool
}

func newWorld(t *testing.T, script []byte) *world {
	w := &world{t: t, script: script, now: noon}
	w.look = Present
	first, second, third, fourth, fifth := w.next(), w.next(), w.next(), w.next(), w.next()
	if first&1 != 0 {
		w.p.PIDFile = "/run/program.pid"
	}
	w.p.Settle = []time.Duration{0, 100 * time.Millisecond, 3 * time.Second}[int(first>>1&3)%3]
	if first&8 != 0 {
		w.p.StopCommand = "command"
	}
	stop := worldSchedules[int(first>>4)%len(worldSchedules)]
	w.p.Stop, _ = plan.ParseSchedule(stop)
	w.p.KillMode = plan.KillMode(second & 3)
	w.left = int(second >> 2 & 3)
	w.forkers = int(second >> 4 & 1)
	switch second >> 5 & 3 {
	case 1:
		w.p.Rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: syscall.SIGQUIT, syscall.SIGUSR1: 0, syscall.SIGUSR2: syscall.SIGTERM}
	case 2:
		w.p.Rewrite = map[syscall.Signal]syscall.Signal{syscall.SIGTERM: 0, syscall.SIGHUP: syscall.SIGTERM}
	}
	w.p.Ready.Given = third&1 != 0
	w.waits = third&2 != 0
	w.p.Forking = third&4 != 0
	if w.waits {
		w.p.Way = plan.Way(1 + third>>3&1)
	}
	w.p.StartLimit = time.Duration(third&0x10) * time.Second
	if third&0x40 != 0 && w.p.Ready.Given {
		w.p.Ready.Kind = plan.ReadyCommand
	}
	w.doom = fifth >> 5
	w.setRestart(fourth, fifth&0x1f)
	if w.p.Beside() {
		w.p.Rewrite = nil
		if w.p.KillMode == plan.KillTree {
			w.p.KillMode = plan.KillMixed
		}
	}
	w.p.WaitAll = second&0x80 != 0 && !w.p.Beside() && !w.p.Forking && w.p.KillMode != plan.KillTree
	if third&0x20 != 0 && !w.p.Beside() {
		w.p.Drain = 3 * time.Second
	}
	jitter := 0.0
	if fifth&1 != 0 {
		jitter = 0.999
	}
	w.m = New(&w.p, w.waits, func() float64 { return jitter })
	if fourth&0x20 != 0 && !w.p.Forking {
		w.failing = true
		w.happen(Event{Kind: ConditionsFail})
	}
	return w
}

// setRestart is for a parent that stays, which follows no daemon.
func (w *world) setRestart(fourth, fifth byte) {
	r := &w.p.Restart
	r.Policy = plan.RestartPolicy(fourth&3) % 3
	if fourth&4 != 0 {
		r.Signal = syscall.SIGUSR2
	}
	if fourth&0x20 != 0 {
		w.p.While = []string{"/run/condition"}
	}
	if !w.p.Stays() {
		return
	}
	w.p.Forking = false
	if w.p.Way == plan.Sidecar {
		w.p.Way = plan.Daemon
	}
	r.Delay = []time.Duration{0, time.Second, 20 * time.Second, 40 * time.Second}[fourth>>3&3]
	if fourth&0x40 != 0 {
		r.Limit, r.Window = 2, 10*time.Second
	}
	w.p.Success[3] = fourth&0x80 != 0
	w.p.WhileLimit = time.Duration(fifth&8) * time.Second
	w.delay = r.Delay
}

// next reads the script; behind its end there are zeros.
func (w *world) next() byte {
	if len(w.script) == 0 {
		return 0
	}
	b := w.script[0]
	w.script = w.script[1:]
	return b
}

func (w *world) require(ok bool, format string, args ...any) {
	w.t.Helper()
	if !ok {
		p := &w.p
		w.t.Logf("way %d, file %q, settle %v, stop %v, command %q, mode %d, forking %v, ready %v, limit %v, restart %+v\n%s",
			p.Way, p.PIDFile, p.Settle, p.Stop, p.StopCommand, p.KillMode, p.Forking, p.Ready.Given, p.StartLimit, p.Restart, strings.Join(w.log, "\n"))
		w.t.Fatalf("%v: "+format, append([]any{w.now.Sub(noon)}, args...)...)
	}
}

func (w *world) run() {
	w.began = true
	w.happen(Event{Kind: Began})
	for !w.ended && len(w.script) > 0 {
		w.act(w.next())
	}
	w.ending = true
	w.finish()
	w.require(w.ended, "it does not end")
	w.checkEnd()
}

// act lets one thing happen.
func (w *world) act(choice byte) {
	switch choice % 13 {
	case 0:
		w.pass(time.Duration(w.next()) * 50 * time.Millisecond)
		if choice >= 128 {
			w.pass(time.Minute)
		}
	case 1:
		w.signal(w.next())
	case 2:
		w.die(w.next())
	case 3:
		w.touch(w.next())
	case 4:
		w.condition(w.next()&1 == 0)
	case 5:
		w.ask()
	case 6:
		w.callerMoves(w.next())
	case 7:
		w.comesUp(w.next())
	case 8:
		w.hint()
	case 9:
		w.descendantEnds()
	case 10:
		w.commandEnds()
	case 11:
		w.hear()
	case 12:
		w.happen(Event{Kind: Ticked}) // one that was under way
	}
}

// finish has something happen that ends it all, and gives it the time that it may take. The
// program and its descendants end by nothing but KILL, if the schedule has one.
func (w *world) finish() {
	w.hear()
	if w.starter {
		w.die(0)
	}
	kills := slices.ContainsFunc(w.p.Stop, func(s plan.Step) bool { return s.Signal == syscall.SIGKILL })
	ownEnd := true // the program has to end by itself
	switch {
	case w.doom&3 == 0 && w.p.PIDFile != "" && !w.seeking && !w.succeeds:
		w.look, w.gone = Removed, true
		w.hint()
		ownEnd = !kills || w.own && w.forward != 0
	case w.doom&3 == 1 && w.runs > 0 && !w.p.Forking && !w.starter && (!w.waits || w.departed):
		w.condition(false)
		ownEnd = !kills
	default:
		w.tell()
	}
	w.hear()
	if w.answered {
		w.callerMoves(0)
	}
	if !slices.ContainsFunc(w.p.Stop, func(s plan.Step) bool { return s.Wait > 0 }) {
		w.pass(10 * time.Second)
		w.commandEnds() // nothing limits its time
		w.hear()
	}
	w.pass(2 * time.Minute)
	if !ownEnd {
		w.require(w.ended, "the file is gone, and it does not end")
		return
	}
	for range 3 {
		w.tell()
		w.die(0)
		w.hear()
		w.commandEnds()
		w.pass(time.Minute)
		for w.left > 0 {
			w.descendantEnds()
		}
		w.pass(time.Minute)
	}
}

// tell sends pidleash a signal that ends it and is not dropped.
func (w *world) tell() { w.signal(byte(syscall.SIGINT) - 1) }

// pass lets time pass. Every deadline is kept, and the file is looked at now and then.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for !w.ended {
		at := w.m.Deadline()
		if w.watched && (at.IsZero() || w.poll.Before(at)) {
			at = w.poll
		}
		if at.IsZero() || at.After(end) {
			break
		}
		if at.After(w.now) {
			w.now, w.spins = at, 0
		}
		if due := w.m.Deadline(); !due.IsZero() && !due.After(w.now) {
			w.spins++
			w.require(w.spins < 12, "ticks change nothing, the deadline stays %v in the past", w.now.Sub(due))
			w.happen(Event{Kind: Ticked})
			w.checkStop(true)
		} else {
			w.hint()
		}
		if w.ending {
			w.hear()
		}
	}
	if end.After(w.now) {
		w.now, w.spins = end, 0
	}
}

// hint has the file looked at.
func (w *world) hint() {
	if w.watched {
		w.poll = w.now.Add(5 * time.Second)
		w.happen(w.see())
	}
}

func (w *world) see() Event { return Event{Kind: w.look, Own: w.own} }

// touch does something to the file.
func (w *world) touch(how byte) {
	kinds := []Kind{Present, Removed, Rewritten, Replaced, Changed, Unfinished, Unknown, Moving}
	if w.p.PIDFile == "" || w.gone || !w.living && how%8 == 2 {
		return
	}
	w.look = kinds[how%8]
	if how < 128 {
		w.hint()
	}
}

func (w *world) condition(holds bool) {
	if w.p.Forking || !w.began || w.runs == 0 && !w.waiting {
		return
	}
	w.failing = !holds
	if holds {
		w.happen(Event{Kind: ConditionsHold})
	} else {
		w.happen(Event{Kind: ConditionsFail})
	}
}

// signal has pidleash receive one, or its whole process group.
func (w *world) signal(how byte) {
	if w.ended {
		return
	}
	sig := syscall.Signal(1 + how%64)
	to, rewritten := w.p.Rewrite[sig]
	if !rewritten {
		to = sig
	}
	had := how >= 128 && w.living
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT:
		w.noMoreStarts = w.noMoreStarts || to != 0
	case syscall.SIGHUP:
		w.noMoreStarts = w.noMoreStarts || to != 0 && w.waiting
	}
	if to == 0 || had {
		had = true
	}
	w.got = nil
	e := Event{Kind: Signaled, Signal: sig, Delivered: had && to != 0, ToGroup: how >= 64 && !w.p.Forking}
	if w.p.Drain > 0 && sig == syscall.SIGTERM && !had && w.isUp() && w.forward == 0 && !w.drained {
		w.drained = true
		w.draining, w.drainDue, w.drainAs = true, w.now.Add(w.p.Drain), to
		w.happen(e)
		w.require(len(w.got) == 0, "%v was sent, and is to be kept", w.got)
		return
	}
	if w.p.Drain > 0 && sig == syscall.SIGTERM && !had && w.succeeds && w.forward == 0 && !w.drained && !slices.Contains(w.kept, syscall.SIGTERM) {
		w.drained, w.pending, w.drainAs = true, true, to
		w.happen(e)
		return
	}
	w.draining = w.draining && sig != syscall.SIGTERM
	w.pending = w.pending && sig != syscall.SIGTERM
	w.happenForwarded(e, to)
	switch {
	case had:
		w.require(len(w.got) == 0, "%v was sent, and is not to be", w.got)
	case w.seeking || w.succeeds:
		w.kept = append(w.kept, to)
	case w.known && !w.seeking && !w.succeeds:
		w.require(!w.living || slices.Equal(w.got, []syscall.Signal{to}), "signal %v: the program got %v", to, w.got)
		if w.starter {
			w.kept = append(w.kept, to)
		}
	}
}

// isUp reports a program that runs, is up, and has no caller that waits.
func (w *world) isUp() bool {
	return w.known && !w.starter && !w.seeking && !w.succeeds && !w.awaiting && !w.callerWaits() && !w.isStopping()
}

func (w *world) isStopping() bool { return w.stopping || w.command || w.surveying }

// happenForwarded records a TERM before the machine acts on it.
func (w *world) happenForwarded(e Event, to syscall.Signal) {
	if !e.Delivered && to != 0 && (e.Signal == syscall.SIGTERM || to == syscall.SIGTERM) && w.forward == 0 &&
		(w.known || w.surveying) && w.runs > 0 && !w.seeking && !w.waiting {
		w.forward, w.at = to, w.now
	}
	w.happen(e)
}

// die ends the program. The machine may hear of that later.
func (w *world) die(how byte) {
	if !w.living {
		return
	}
	w.living = false
	if w.starter && w.left == 0 {
		w.left = 1
	}
	detail := worldEnds[how%8]
	e := eventOf("Ended:" + detail)
	if w.p.Beside() && !w.starter {
		e.Known, e.Signal = false, 0
	}
	if w.starter {
		e.Signal = 0
	}
	w.status, w.unknown = e.Status, !e.Known
	if !e.Known {
		w.outside = append(w.outside, Event{Kind: Ended}, Event{Kind: Explained, Known: how&16 != 0, Status: e.Status})
	} else {
		w.outside = append(w.outside, Event{Kind: Died}, e)
	}
	if how&32 == 0 {
		w.hear()
	}
}

// hear lets the machine know what has happened. An exit status may come later than the end.
func (w *world) hear() {
	for i := 0; len(w.outside) > 0 && !w.ended; i++ {
		e := w.outside[0]
		if e.Kind == Explained && i > 0 && !w.ending {
			return
		}
		w.outside = w.outside[1:]
		if e.Kind == Ended {
			w.hearEnd(e)
		}
		w.happen(e)
	}
}

func (w *world) hearEnd(e Event) {
	if e.Signal != 0 {
		w.noMoreStarts = true
	}
	w.known, w.awaiting = false, false
	if w.p.WaitAll && !w.isStopping() && !w.callerWaits() && !w.removed {
		w.remaining, w.forward = true, 0
		if w.draining { // what was kept is for those who remain
			w.forward, w.at = w.drainAs, w.now
		}
	}
	switch {
	case w.starter && w.surveying:
		w.starter = false
	case w.starter:
		w.starter = false
		w.seeking = e.Status == 0
		if !w.seeking {
			w.swept = true
		}
	case w.stopping || w.command:
	case w.answered:
		w.parting = true
	default:
		w.mayBeSucceeded()
	}
	w.draining = w.draining && w.succeeds
	if w.stopping && w.sweepsAfterStop() || w.p.KillMode == plan.KillTree {
		w.swept = true
	}
	w.stopping = false
}

// mayBeSucceeded is called at a daemon's end: a successor is expected, unless a caller still waits.
func (w *world) mayBeSucceeded() { w.succeeds = w.p.Forking && w.p.PIDFile != "" && !w.callerWaits() }

// sweepsAfterStop reports that a stop of the program reaches its descendants, too.
func (w *world) sweepsAfterStop() bool {
	return w.p.KillMode == plan.KillMixed || w.p.KillMode == plan.KillTree || w.p.WaitAll
}

// callerWaits reports whether there is a caller that was not seen to leave.
func (w *world) callerWaits() bool { return w.answered || w.waits && !w.departed }

func (w *world) ask() {
	if w.p.Forking || w.p.Restart.Signal == 0 {
		return
	}
	if !w.noMoreStarts && w.runs > 0 {
		switch {
		case w.answered && w.known:
			w.asked = true // the caller may have left already: it counts when that is seen
		case w.callerWaits():
		case w.waiting:
			w.asked = true
		case w.remaining:
			w.asked = true
		case w.known && !w.stopping && !w.command && !w.surveying:
			w.asked = true
			w.stops()
		}
	}
	w.happen(Event{Kind: Asked})
}

// stops begins to expect the stop of the program, by the command or the schedule.
func (w *world) stops() {
	if w.stopping || w.command || w.surveying || !w.known {
		return
	}
	if w.p.StopCommand == "" {
		w.beginSchedule()
	}
}

// beginSchedule writes down what is to be sent, and when.
func (w *world) beginSchedule() {
	w.stopping, w.sent, w.expect, w.draining = true, nil, nil, false
	at := w.now
	steps := w.p.Stop
	for i, s := range steps {
		if w.forward != 0 && s.Signal == w.forward {
			steps, at = steps[i+1:], w.at
			break
		}
	}
	for _, s := range steps {
		switch {
		case s.Forever:
			return
		case s.Signal == 0:
			at = at.Add(s.Wait)
			continue
		case at.Before(w.now):
			at = w.now
		}
		w.expect = append(w.expect, sent{s.Signal, at})
		if s.Signal != syscall.SIGKILL && s.Signal != syscall.SIGSTOP && s.Signal != syscall.SIGCONT {
			w.expect = append(w.expect, sent{syscall.SIGCONT, at})
		}
	}
}

// checkStop compares what was sent by the schedule; after a tick nothing may be missing.
func (w *world) checkStop(ticked bool) {
	w.require(!ticked || !w.draining || w.succeeds || w.now.Before(w.drainDue), "the TERM is due since %v", w.drainDue.Sub(noon))
	if !w.stopping {
		return
	}
	w.require(len(w.sent) <= len(w.expect), "the schedule sent %v, want %v", w.sent, w.expect)
	for i, s := range w.sent {
		w.require(s == w.expect[i], "the schedule sent %v, want %v", w.sent, w.expect)
	}
	if ticked && len(w.sent) < len(w.expect) {
		due := w.expect[len(w.sent)].at
		w.require(due.After(w.now), "%v is due since %v", w.expect[len(w.sent)].signal, due.Sub(noon))
	}
}

func (w *world) commandEnds() {
	if !w.command {
		return
	}
	w.command = false
	w.afterCommand()
	w.happen(Event{Kind: CommandEnded})
}

func (w *world) afterCommand() {
	if w.known {
		w.beginSchedule()
	} else if w.sweepsAfterStop() {
		w.swept = true
	}
}

func (w *world) descendantEnds() {
	if w.left > 0 {
		w.left--
		if w.surveying {
			w.happen(w.survey())
		}
	}
}

func (w *world) survey() Event {
	if w.left > 0 || w.living || len(w.outside) > 0 && w.starter {
		return Event{Kind: Left}
	}
	return Event{Kind: NoneLeft}
}

// callerMoves: it leaves, or finds that the program has ended; or breaks off.
func (w *world) callerMoves(how byte) {
	switch {
	case w.answered && how&1 != 0 && !w.living && w.runs > 0 && w.p.Way == plan.Daemon:
		w.answered = false
		w.happen(Event{Kind: Refused})
	case w.answered && how&2 != 0 && w.p.Way == plan.Sidecar && w.living && !w.stopping && !w.command:
		w.answered, w.living, w.noMoreStarts = false, false, true
		w.status = 126 << 8
		w.happen(Event{Kind: LaunchFailed, Status: w.status, Err: failure{}})
	case w.answered:
		w.answered, w.departed = false, true
		if w.asked && !w.noMoreStarts {
			w.stops()
		}
		if w.parting {
			w.mayBeSucceeded()
		}
		w.happen(Event{Kind: Answered})
	case w.waits && !w.departed && how&4 != 0 && (w.waiting || w.living || w.seeking) && w.runs <= 1 && !w.stopping && !w.command && w.readies == 0 && (w.p.Ready.Given || w.waiting || w.starter || w.seeking):
		w.waits, w.noMoreStarts = false, true
		w.departed = false
		if w.living && w.known && !w.starter && !w.surveying {
			w.beginSchedule() // without the stop command
		}
		w.seeking = false
		w.happen(Event{Kind: CallerGone})
	}
}

// comesUp has the program say that it is ready, or not.
func (w *world) comesUp(how byte) {
	if !w.awaiting || !w.living || w.stopping || w.command {
		return
	}
	if w.p.Ready.Kind == plan.ReadyCommand {
		w.awaiting = how&1 == 0
		w.happen(Event{Kind: Probed, Status: map[bool]syscall.WaitStatus{true: 1 << 8, false: 0}[w.awaiting]})
		return
	}
	w.awaiting = false
	if how&1 != 0 {
		w.happen(Event{Kind: Ready})
		return
	}
	w.unready()
}

func (w *world) unready() {
	w.failed, w.awaiting = true, false
	if w.known && !w.starter && !w.stopping && !w.command && !w.surveying {
		w.beginSchedule()
	}
	w.seeking = false
	if w.runs == 0 {
		w.noMoreStarts = true
	}
	w.happen(Event{Kind: Unready, Err: failure{}})
}

func (w *world) happen(e Event) {
	w.queue = append(w.queue, e)
	for len(w.queue) > 0 {
		e, w.queue = w.queue[0], w.queue[1:]
		actions := w.m.Handle(w.now, e)
		w.log = append(w.log, w.now.Sub(noon).String()+" "+kindNames[e.Kind]+" "+e.Signal.String()+": "+actionText(actions))
		w.begins(actions)
		for _, a := range actions {
			w.require(!w.ended, "an action after the end")
			w.do(e, a)
		}
		if e.Kind == Found || e.Kind == Succeeded {
			w.require(len(w.kept) == 0, "%v was kept for the daemon, and is lost", w.kept)
			w.stopsSuccessor()
		}
		w.checkStop(false)
	}
}

// stopsSuccessor: what has removed the file stops whoever takes the daemon's place, too, once it has had what was kept.
func (w *world) stopsSuccessor() {
	if w.removed {
		w.stops()
	}
}

// begins looks for the reason of a stop before it checks the signals, which precede the
// message.
func (w *world) begins(actions []Action) {
	for _, a := range actions {
		if a.Do == Report && (a.Topic == FileRemoved || a.Topic == FileReplaced || a.Topic == ConditionFailed) {
			w.noMoreStarts, w.removed = true, true
			w.stops()
		}
		if a.Do == KillCommand {
			w.require(w.command, "killed a stop command that does not run")
			w.command = false
			w.afterCommand()
		}
	}
}

func (w *world) do(e Event, a Action) {
	switch a.Do {
	case Launch:
		w.launch()
	case Seek:
		w.require(w.seeking, "seeks what is known")
		w.seek()
	case SeekSuccessor:
		w.require(w.succeeds, "seeks a successor")
		w.seekSuccessor()
	case Await:
		w.require(w.p.Ready.Given && (w.living || len(w.outside) > 0), "awaits nothing")
		w.awaiting = true
	case KillProbe:
		w.require(w.p.Ready.Kind == plan.ReadyCommand, "kills a command of -ready, and there is none")
	case Answer:
		w.require(w.waits && !w.answered && !w.departed, "answers nobody")
		w.answered = true
		w.readies++
	case ReportReady:
		w.require(w.p.Ready.Given && w.known, "ready, and does not run")
	case Late:
		w.lateNow()
	case Watch:
		w.require(w.p.PIDFile != "" && !w.watched, "watched twice, or without a file")
		w.watched, w.poll = true, w.now // the first hint comes at once
	case Unwatch:
		w.require(w.watched, "unwatched twice")
		w.watched = false
	case Look:
		w.queue = append(w.queue, w.see())
	case LookAtConditions:
		w.queue = append(w.queue, map[bool]Event{true: {Kind: ConditionsFail}, false: {Kind: ConditionsHold}}[w.failing])
	case Adopt:
		w.require(w.look == Rewritten, "adopts what was not written")
		w.look, w.own = Present, true
	case Placeholder, Linger:
		w.require(!w.living, "the file names pidleash while a program runs")
		w.back, w.own = true, false
	case Remove:
		w.removes++
		w.require(!w.living && w.p.PIDFile != "", "removes the file of a program that lives")
	case Kill:
		w.kill(e, a)
	case Suspend:
		w.require(e.Kind == Halted, "suspended")
	case RunCommand:
		w.require(w.p.StopCommand != "" && w.known && !w.command, "runs the stop command")
		w.command, w.draining = true, false
	case KillCommand:
	case Survey:
		w.surveying, w.seeking = true, false
		w.swept = true
		w.queue = append(w.queue, w.survey())
	case Report:
		w.report(a)
	case End:
		w.ended = true
	}
}

func (w *world) report(a Action) {
	switch a.Topic {
	case Restarting:
		w.restart(a.Wait)
	case WaitingFor:
		w.require(w.failing && w.runs == 0, "waits for what is there")
		w.waiting = true
	case RestartLimit:
		w.require(w.p.Restart.Limit > 0 && w.recent() >= w.p.Restart.Limit, "at the limit after %d", w.recent())
		w.limited = true
	case FileRemoved, FileReplaced:
		w.require(w.look != Present && w.look != Unknown && w.look != Changed && w.look != Rewritten, "says that it is gone, and it is not")
		w.require(!(w.own && w.look == Removed && w.forward != 0), "the program's own clean-up was taken for a removal")
	case ConditionFailed:
		w.require(w.failing && w.runs > 0, "no condition fails")
	}
}

func (w *world) lateNow() {
	w.require(w.awaiting || w.starter || w.seeking || w.waiting && w.failing, "late, and nothing was awaited")
	w.failed, w.awaiting = true, false
	if w.runs == 0 {
		w.noMoreStarts = true
	}
	if w.known && !w.starter && !w.stopping && !w.command && !w.surveying {
		w.beginSchedule()
	}
	w.seeking = false
	w.queue = append(w.queue, Event{Kind: Unready, Err: failure{}})
}

func (w *world) launch() {
	w.require(!w.living && !w.known, "a second program beside the first")
	w.require(!w.noMoreStarts, "started after what was to be its end")
	w.require(!w.failing, "started while a condition fails")
	w.require(w.asked || !w.now.Before(w.notBefore), "started %v too early", w.notBefore.Sub(w.now))
	w.require(w.runs == 0 || w.p.PIDFile == "" || w.back, "the file did not name pidleash")
	if w.asked {
		w.delay = w.p.Restart.Delay
	}
	w.spins = 0 // a launch is progress, also without a delay
	w.waiting, w.asked, w.failed, w.launched = false, false, false, w.now
	w.surveying, w.swept, w.forward, w.back, w.remaining = false, false, 0, false, false
	switch {
	case w.gone || w.look == Removed && w.runs > 0:
		w.look, w.gone = Removed, true
		w.queue = append(w.queue, Event{Kind: Vanished})
	case !w.ending && w.next()&3 == 3:
		w.failed, w.status = true, 127<<8
		if w.runs == 0 {
			w.noMoreStarts = true
		}
		w.queue = append(w.queue, Event{Kind: LaunchFailed, Status: w.status, Err: failure{}})
	default:
		w.runs++
		w.living, w.known, w.starter = true, true, w.p.Forking
		w.look, w.own = Present, false
		w.left = max(w.left, int(w.doom>>2))
		w.queue = append(w.queue, Event{Kind: Launched})
	}
}

// seek finds the daemon, as the script says.
func (w *world) seek() {
	switch b := w.next(); {
	case w.ending || b&7 == 7:
		w.failed, w.seeking = true, false
		w.queue = append(w.queue, Event{Kind: Unready, Err: failure{}})
	case b&1 == 1 && w.left > 0:
		w.takeOver(Found)
		w.seeking, w.forward = false, 0 // that TERM went to what was started
	}
}

func (w *world) seekSuccessor() {
	switch b := w.next(); {
	case w.left > 0 && b&3 == 1:
		w.takeOver(Succeeded)
		w.succeeds = false
		if w.pending {
			w.draining, w.pending, w.drainDue = true, false, w.now.Add(w.p.Drain)
		}
	case b&3 == 2:
		w.succeeds, w.draining, w.pending = false, false, false
		w.queue = append(w.queue, Event{Kind: NoSuccessor})
	}
}

// takeOver makes one of the descendants the program.
func (w *world) takeOver(k Kind) {
	w.left--
	w.living, w.known, w.got = true, true, nil
	if w.look == Removed && !w.gone || w.look == Moving || w.look == Unfinished {
		w.look = Present // named in one step
	}
	w.queue = append(w.queue, Event{Kind: k})
}

// restart checks whether there may be one, and when.
func (w *world) restart(wait time.Duration) {
	w.waiting = true
	w.require(!w.noMoreStarts && w.runs > 0 && !w.callerWaits(), "a restart that may not be")
	w.require(!w.swept || w.left == 0, "a restart while %d descendants are left", w.left)
	w.require(w.p.PIDFile == "" || w.back || w.gone, "the file does not name pidleash")
	if w.asked {
		w.require(wait == 0, "waits %v for what was asked for", wait)
		w.delay, w.notBefore = w.p.Restart.Delay, w.now
		return
	}
	w.require(w.wants(), "a restart after %s", plan.Describe(w.status))
	if !w.failed && w.now.Sub(w.launched) >= time.Minute {
		w.delay = w.p.Restart.Delay
	}
	w.require(wait >= w.delay && wait <= w.delay+w.delay/10, "a restart in %v, want %v", wait, w.delay)
	w.notBefore = w.now.Add(w.delay)
	w.delay = min(2*w.delay, max(30*time.Second, w.p.Restart.Delay))
	w.counted = append(w.counted, w.now)
	w.require(w.p.Restart.Limit == 0 || w.recent() <= w.p.Restart.Limit, "the limit is exceeded")
}

// wants says whether the policy asks for a restart.
func (w *world) wants() bool {
	switch w.p.Restart.Policy {
	case plan.RestartAlways:
		return true
	case plan.RestartOnFailure:
		clean := slices.Contains([]string{"0x0", "HUP", "INT", "TERM", "PIPE"}, map[bool]string{true: strings.TrimPrefix(plan.SignalName(w.status.Signal()), "SIG"), false: "0x" + string(rune('0'+min(w.status.ExitStatus(), 9)))}[w.status.Signaled()])
		return w.failed || !clean && !(w.p.Success[3] && w.status == 3<<8)
	}
	return false
}

// recent is how many restarts that count were within the window.
func (w *world) recent() (n int) {
	for _, at := range w.counted {
		if w.now.Sub(at) < w.p.Restart.Window {
			n++
		}
	}
	return n
}

func (w *world) kill(e Event, a Action) {
	follows := e.Kind == Found || e.Kind == Succeeded
	if follows && len(w.kept) == 0 {
		w.stopsSuccessor()
		follows = !w.stopping
	}
	if follows {
		w.require(len(w.kept) > 0 && w.kept[0] == a.Signal, "sends %v to the daemon, want %v", a.Signal, w.kept)
		w.kept = w.kept[1:]
		if a.Signal == syscall.SIGTERM && w.forward == 0 {
			w.forward, w.at = a.Signal, w.now
		}
	}
	if w.draining && e.Kind == Ticked {
		w.require(!w.now.Before(w.drainDue) && a.Signal == w.drainAs, "the TERM came as %v at %v", a.Signal, w.now.Sub(noon))
		w.draining = false
		if w.forward == 0 { // else another signal was rewritten to TERM meanwhile
			w.forward, w.at = a.Signal, w.now
		}
	}
	w.got = append(w.got, a.Signal)
	if a.Target != ToTree {
		w.require(w.known, "%v to a program that does not run", a.Signal)
		toGroup := w.p.KillMode == plan.KillGroup || w.p.KillMode == plan.KillMixed && e.ToGroup
		w.require((a.Target == ToGroup) == toGroup, "%v to the wrong target", a.Signal)
	} else {
		w.require(w.surveying || w.p.KillMode == plan.KillTree, "%v to the tree", a.Signal)
	}
	if w.stopping && e.Kind != Signaled && !follows {
		w.sent = append(w.sent, sent{a.Signal, w.now})
	}
	if a.Signal != syscall.SIGKILL {
		return
	}
	if a.Target == ToTree {
		w.left, w.forkers = min(w.left, w.forkers), 0
	}
	if w.living {
		w.dieByKill()
	}
}

// dieByKill ends the program at a KILL; its event comes after the machine's actions.
func (w *world) dieByKill() {
	w.living = false
	w.status, w.unknown = syscall.WaitStatus(syscall.SIGKILL), w.p.Beside() && !w.starter
	if w.unknown {
		w.outside = append(w.outside, Event{Kind: Ended}, Event{Kind: Explained, Known: true, Status: w.status})
		return
	}
	w.outside = append(w.outside, Event{Kind: Died}, Event{Kind: Ended, Known: true, Status: w.status})
}

func (w *world) checkEnd() {
	alone := w.p.Beside() && w.p.PIDFile == "" && w.departed
	if alone {
		return
	}
	r := w.m.Result()
	w.require(!w.living, "it ends before the program")
	w.require(!w.swept || w.left == 0, "it ends while %d descendants are left", w.left)
	w.require((w.removes == 1) == (w.p.PIDFile != ""), "removed the file %d times", w.removes)
	w.require(!w.watched, "the watch is still on")
	w.require(r.Removed == w.removed, "removed is %v, and it was said: %v", r.Removed, w.removed)
	w.require(w.noMoreStarts || w.limited || w.callerWaits() || !w.wants() && !w.asked, "no restart after %s", plan.Describe(w.status))
	w.require(w.m.Deadline().IsZero(), "it has a deadline after the end")
	for k := range numKinds {
		w.require(len(w.m.Handle(w.now, Event{Kind: k, Signal: syscall.SIGTERM})) == 0, "something happens after the end")
	}
}
