package wrapper

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
	"pidleash/internal/sdnotify"
	"pidleash/watch"
)

// loop is the one goroutine that owns the child.
type loop struct {
	cfg     *Config
	signals *Signals
	machine machine
	program *program

	children *children
	orphaned chan os.Signal // a child may have fallen to PID 1; nil: not asked for

	pid        int                     // the program's, while it has not been reaped
	pgrp       int                     // its process group, which outlives it
	neighbour  *neighbour              // the program, when it is no child; nil: it is
	former     []*neighbour            // what has handed over to it, and may live
	heirs      map[int]process.Ticks   // processes that it may be about to hand over to
	swept      map[int]process.Ticks   // descendants that had the last signal to all
	sweptBy    syscall.Signal          // which one that was
	orphan     *syscall.WaitStatus     // of a child that ended before the daemon was known
	beside     bool                    // this process is a watchdog, beside the program
	finder     finder                  // of the daemon
	readiness  *readiness              // nil: nothing to wait for
	readyMet   <-chan error            // nil: nobody waits
	logs       []*logFile              // of the program, for its last words
	launcher   *launcher               // of the watchdog; nil: none
	behind     *supervisor             // this is the supervisor's; nil: it is not
	commandPID int                     // the stop command's, likewise
	strangers  map[int]process.Ticks   // descendants that are not the program's, and their start
	sent       map[syscall.Signal]bool // what the program was sent
	terminal   *terminal               // nil: none
	relay      *sdnotify.Relay         // nil: nobody to notify
	reason     string                  // why pidleash has stopped the program, if it has

	file        *pidfile.File
	reservation *pidfile.Reservation // of a daemon's PID file; nil: none
	supervisor  *pidfile.File        // of pidleash's own PID; nil: none
	keepAlive   *time.Ticker         // of the service manager, while no program runs; nil: no need
	standing    bool                 // it names pidleash, because no program runs
	restarts    int                  // how often the program was to be started again
	gates       []*gate              // the -while files
	gateHints   chan struct{}        // nil: there are none
	watch       *watch.Watch
	hints       <-chan struct{} // nil: no watch
	followWatch *watch.Watch    // of the daemon's own PID file; nil: none
	followHints <-chan struct{} // likewise
	followLost  time.Time       // since when that does not name the program; zero: it does
	again       <-chan time.Time
	timer       *time.Timer
	queue       []event // what is still to be handled
	ended       bool
	failed      error          // why the program never ran
	whyNot      error          // why it did not come up
	told        syscall.Signal // what told a launcher to end; 0: nothing
	lookErr     error          // why the last look gave no answer
}

// Run starts the program and returns when it has ended. The error says why it
// could not be started: a *fault.Error, a *fault.Error, or another, which
// is pidleash's own failure.
func Run(cfg *Config, signals *Signals) (plan.Outcome, error) {
	if cfg.Way != plan.Foreground && os.Getpid() == 1 {
		return plan.Outcome{}, &fault.Error{Object: "process 1", Problem: "must stay, everything ends with it", Hint: "leave -daemon and -sidecar out"}
	}
	if err := cfg.check(); err != nil {
		return plan.Outcome{}, err
	}
	if _, err := os.Stat("/proc/self"); cfg.Forking && err != nil {
		return plan.Outcome{}, &fault.Error{Object: "-forking", Problem: "cannot tell the daemon without /proc", Hint: "mount /proc"}
	}
	program, err := findProgram(cfg.Args[0], cfg)
	if err != nil {
		return plan.Outcome{}, err
	}
	if cfg.Way == plan.Sidecar {
		return runSidecar(cfg, signals, program)
	}
	if cfg.Way == plan.Daemon && cfg.Stays() {
		return runLauncher(cfg, signals)
	}
	l := newLoop(cfg, signals)
	l.program = program
	return l.end(l.perform())
}

// perform runs the program, as often as it is to run. The error says that it was
// not even tried.
func (l *loop) perform() error {
	adoptOrphans()
	l.strangers = findStrangers()
	if l.cfg.Way == plan.Foreground {
		l.terminal = openTerminal()
	}
	if err := l.openRelay(); err != nil {
		return err
	}
	l.openGates()
	l.signals.prepare(l.cfg)
	l.happen(event{kind: began})
	l.run()
	l.closeGates()
	return nil
}

// end is how pidleash ends, when the loop has.
func (l *loop) end(err error) (plan.Outcome, error) {
	if err != nil {
		return plan.Outcome{}, err
	}
	return l.outcome()
}

func newLoop(cfg *Config, signals *Signals) *loop {
	l := &loop{
		cfg:       cfg,
		signals:   signals,
		strangers: map[int]process.Ticks{},
		machine: machine{
			hasFile:    cfg.PIDFile != "",
			forking:    cfg.Forking,
			awaits:     cfg.Ready.Given,
			background: cfg.Way == plan.Daemon,
			limit:      cfg.StartLimit,
			settle:     cfg.Settle,
			schedule:   cfg.Stop,
			hasCommand: cfg.StopCommand != "",
			killMode:   cfg.KillMode,
			rewrite:    cfg.Rewrite,
			restart:    cfg.Restart,
			success:    cfg.Success,
			whileLimit: cfg.WhileLimit,
			jitter:     rand.Float64,
		},
		sent:  map[syscall.Signal]bool{},
		timer: time.NewTimer(time.Hour),
	}
	l.timer.Stop()
	return l
}

func (l *loop) outcome() (plan.Outcome, error) {
	handedOver := l.machine.up && l.cfg.Way == plan.Daemon
	if !handedOver {
		l.launcher.dismiss()
		if l.file == nil {
			l.reservation.Discard()
		}
		l.release()
	}
	if l.cfg.Way == plan.Daemon && !handedOver && l.told == 0 && l.failed == nil {
		l.told = l.signals.late()
	}
	if l.told != 0 && !handedOver {
		return plan.BySignal(l.told), nil
	}
	if sig := l.machine.endedBy; sig != 0 {
		return l.cfg.OutcomeOf(syscall.WaitStatus(sig), false), nil
	}
	removed := l.machine.byRemoval && l.cfg.Way == plan.Foreground
	if err := l.failedStart(); err != nil && !removed {
		return plan.Outcome{}, err
	}
	if handedOver {
		return plan.Outcome{}, nil
	}
	if l.terminal != nil {
		l.terminal.passOn()
	}
	return l.cfg.OutcomeOf(l.machine.status, l.machine.byRemoval), nil
}

// adoptOrphans makes this process the one that the descendants of the program
// fall to when their parent ends, so that somebody waits for them. As PID 1 it
// is that anyway.
func adoptOrphans() {
	if os.Getpid() != 1 {
		// Fails only before Linux 3.4, PR_SET_CHILD_SUBREAPER(2const).
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
}

func (l *loop) run() {
	for !l.ended {
		select {
		case <-l.children.ends():
			l.reap()
		case <-l.orphaned:
			l.watchChildren()
		case <-l.neighbour.ends():
			l.neighbourEnded()
		case err := <-l.readyMet:
			l.noteReady(err)
		case <-l.followHints:
			l.happen(l.look())
		case <-l.again:
			l.happen(l.look())
		case s := <-l.signals.forward:
			l.tell(s.(syscall.Signal))
		case s := <-l.signals.groupwide:
			l.signaled(s.(syscall.Signal), true)
		case s := <-l.signals.caught:
			sig := s.(syscall.Signal)
			l.signaled(sig, canBeGroupwide(sig) && !tookSent(sig))
		case <-l.hints:
			l.happen(l.look())
		case <-l.gateHints:
			l.happen(l.lookAtGates())
		case <-l.pings():
			l.relay.Send("WATCHDOG=1")
		case <-l.behind.launcherGone():
			l.abandon()
		case <-l.timer.C:
			l.happen(event{kind: ticked})
		}
	}
}

// signaled forwards a signal, unless the program has had it already: in
// pidleash's process group, from the kernel. Of a terminal that hangs up only the
// leader of the session learns.
func (l *loop) signaled(sig syscall.Signal, groupwide bool) {
	if groupwide && l.cfg.SameGroup && l.pid != 0 && !(sig == syscall.SIGHUP && isSessionLeader()) {
		l.happen(event{kind: signaled, signal: sig, had: true})
		return
	}
	l.tell(sig)
}

// tell passes a signal to the machine. Where there is no program to have it, or
// none yet that is up in the background, it ends the start.
func (l *loop) tell(sig syscall.Signal) {
	nobody := l.machine.state == finding && l.pid == 0
	switch sig {
	case l.cfg.Restart.Signal:
		l.happen(event{kind: asked})
		return
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
		if nobody || l.cfg.Way == plan.Daemon {
			l.giveUp(sig)
			return
		}
	case syscall.SIGHUP:
		if l.cfg.Way == plan.Daemon {
			l.giveUp(sig)
			return
		}
	}
	l.happen(event{kind: signaled, signal: sig})
}

func (l *loop) giveUp(sig syscall.Signal) {
	if l.told == 0 {
		l.told = sig
	}
	l.happen(event{kind: unready})
}

func isSessionLeader() bool {
	session, err := unix.Getsid(0)
	return err == nil && session == os.Getpid()
}

// happen lets the machine decide about an event and about everything that
// follows from it.
func (l *loop) happen(e event) {
	l.queue = append(l.queue, e)
	for len(l.queue) > 0 {
		e, l.queue = l.queue[0], l.queue[1:]
		for _, a := range l.machine.handle(time.Now(), e) {
			l.do(a)
		}
	}
	l.arm()
}

// arm sets the one timer to the machine's deadline.
func (l *loop) arm() {
	if at := l.machine.deadline(); at.IsZero() {
		l.timer.Stop()
	} else {
		l.timer.Reset(time.Until(at))
	}
}

func (l *loop) do(a action) {
	switch a.kind {
	case spawn:
		l.spawn()
	case seek:
		l.seek()
	case await:
		l.awaitReady()
	case tellReady:
		l.tellReady()
	case handOver:
		l.handOver()
	case sayLate:
		l.sayLate()
	case watchFile:
		l.startWatch()
	case unwatchFile:
		l.stopWatch()
	case look:
		l.queue = append(l.queue, l.look())
	case lookAtGates:
		l.queue = append(l.queue, l.lookAtGates())
	case adoptFile:
		l.adopt()
	case removeFile:
		l.removeFile()
	case kill:
		l.kill(a.signal, a.target)
	case suspend:
		l.suspend(a.signal)
	case runCommand:
		l.runCommand()
	case killCommand:
		l.killCommand()
	case survey:
		l.queue = append(l.queue, l.survey())
	case say:
		l.say(a)
	case standIn:
		l.standIn()
	case reportUp:
		l.reportUp()
	case tellWaiting:
		l.tellWaiting()
	case tellRestart:
		l.forgetReadiness()
		l.tellRestart(a.wait)
	case sayShut:
		l.sayShut()
	case sayLimit:
		l.cfg.Log.Warn(fmt.Sprintf("not restarting: %d restarts within %v", l.cfg.Restart.Limit, l.cfg.Restart.Window))
	case end:
		l.reapCommand()
		l.endRelay()
		l.ended = true
	}
}

func (l *loop) spawn() {
	err := l.start()
	switch {
	case err == nil:
		l.queue = append(l.queue, event{kind: started})
	case errors.Is(err, pidfile.ErrRemoved):
		l.queue = append(l.queue, event{kind: vanished})
	default:
		l.failed = err
		l.queue = append(l.queue, event{kind: failed, status: codeOfStart(err) << 8})
	}
}

// start claims the path and launches the program, again as long as others win
// the race for the path and are gone when it looks.
func (l *loop) start() error {
	for {
		claim, err := l.claim()
		if err != nil {
			return err
		}
		pid, err := l.prepareAndLaunch(claim)
		switch {
		case err == nil:
			l.started(claim, pid)
			return nil
		case claim != nil && pid == 0:
			claim.Abandon()
		}
		if !errors.Is(err, pidfile.ErrLostRace) {
			return err
		}
	}
}

// started takes note of a program that runs.
func (l *loop) started(claim *pidfile.Claim, pid int) {
	// For good, and after the launch: to lock costs the runtime a thread more.
	runtime.LockOSThread()
	l.pid, l.pgrp = pid, pid
	clear(l.sent)
	l.stopPings()
	l.swept, l.sweptBy, l.failed, l.whyNot, l.standing = nil, 0, nil, nil, false
	if l.cfg.SameGroup {
		l.pgrp = unix.Getpgrp()
		l.signals.sibling.Store(uint32(pid))
	}
	l.watchChildren()
	if l.relay != nil {
		l.relay.Start(pid)
	}
	switch {
	case claim == nil:
	case claim.Successor:
		l.file.Succeed(claim, pid)
		l.renewWatch()
	default:
		l.file = claim.Published(pid)
	}
	l.tellStarted()
}

// prepareAndLaunch opens the program's files, starts the watchdog that is to have
// it, and launches it.
func (l *loop) prepareAndLaunch(claim *pidfile.Claim) (pid int, err error) {
	opened, err := l.cfg.open()
	if err != nil {
		return 0, err
	}
	defer opened.close()
	if err := l.superviseFrom(opened); err != nil {
		return 0, err
	}
	if l.cfg.Way == plan.Daemon || l.behind != nil {
		if _, err := opened.fillStdio(); err != nil {
			return 0, err
		}
	}
	return l.launch(claim, opened)
}

// superviseFrom starts the watchdog, if one is to take the program over, and
// publishes the PID of who looks after the program.
func (l *loop) superviseFrom(opened *surroundings) (err error) {
	if l.launcher != nil || l.supervisor != nil {
		return nil // at an earlier try
	}
	var claim *pidfile.Claim
	if l.cfg.Supervisor != "" && (l.cfg.Way == plan.Foreground || l.cfg.PIDFile != "") {
		if claim, err = pidfile.New(l.cfg.Supervisor); err != nil {
			return err
		}
	}
	switch {
	case l.cfg.Way == plan.Daemon && l.cfg.PIDFile != "":
		l.launcher, err = startWatchdog(l.cfg, l.signals, opened, claim)
		if err == nil {
			l.noteStranger(l.launcher.pid)
		}
	case claim != nil:
		l.supervisor, err = claim.Publish(os.Getpid())
	}
	return err
}

// launch starts the program, in the foreground if pidleash is there.
func (l *loop) launch(claim *pidfile.Claim, opened *surroundings) (pid int, err error) {
	spec := launchSpec{
		program:   l.program,
		args:      l.cfg.Args,
		env:       l.cfg.Env,
		claim:     claim,
		signals:   l.signals,
		sameGroup: l.cfg.SameGroup,
		around:    opened,
		detached:  l.cfg.Way == plan.Daemon,
	}
	if l.cfg.Way == plan.Foreground && !l.cfg.Forking {
		spec.deathSignal = l.cfg.DeathSignal
	}
	if spec.inherit, err = l.prepareReady(); err != nil {
		return 0, err
	}
	if l.reservation != nil {
		if err := l.reservation.Clear(); err != nil {
			return 0, err
		}
	}
	if t := l.terminal; t != nil && !l.cfg.SameGroup && t.interactive && t.isOurs() {
		spec.terminal, t.lent = t, true
	}
	if claim != nil {
		spec.takeBack = func(pid int) { l.takeBack(claim, pid) }
	}
	pid, err = launch(spec)
	l.readiness.launched()
	if err != nil && l.terminal != nil {
		l.terminal.takeBack(pid)
	}
	return pid, err
}

// prepareReady comes before the program can write a word.
func (l *loop) prepareReady() (inherit []descriptor, err error) {
	paths := append([]string{l.cfg.Stderr, l.cfg.Stdout}, l.cfg.ReadyFiles...)
	l.logs = noteLogs(paths)
	if !l.cfg.Ready.Given {
		return nil, nil
	}
	l.forgetReadiness() // of a try before
	l.readiness, err = prepareReady(&l.cfg.Ready, noteLogs(paths))
	if err == nil && l.readiness.pipe[1] != nil {
		inherit = []descriptor{{l.readiness.pipe[1].Fd(), uintptr(l.cfg.Ready.FD)}}
	}
	return inherit, err
}

// forgetReadiness is for what has not been met by a run that is over.
func (l *loop) forgetReadiness() {
	l.readiness.close()
	l.readiness = nil
	if l.cfg.Ready.Kind == plan.ReadyNotify {
		l.relay.ForgetReady()
	}
}

func (l *loop) sayLate() {
	if l.machine.runs == 0 && l.gates != nil {
		l.whyNot = fmt.Errorf("was not started: after %v still waiting for %s", l.cfg.WhileLimit, l.missing())
		return
	}
	l.whyNot = fmt.Errorf("is not up after %v", l.cfg.StartLimit)
	if l.cfg.Forking && l.file == nil && l.pid != 0 {
		l.whyNot = fmt.Errorf("has not gone to the background after %v; hint: without -forking it may stay in the foreground", l.cfg.StartLimit)
	}
}

func (l *loop) awaitReady() {
	awaitReady(&l.cfg.Ready, l.readiness)
	l.readyMet = l.readiness.met
	if l.cfg.Ready.Kind == plan.ReadyNotify {
		l.readyMet = l.relay.Ready()
	}
}

func (l *loop) noteReady(err error) {
	l.readyMet = nil
	if err != nil {
		if l.machine.state != running || l.sent[syscall.SIGTERM] {
			return // it is ending anyway
		}
		l.whyNot = err
		l.happen(event{kind: unready})
		return
	}
	l.happen(event{kind: readied})
}

// claim reserves the path of the PID file, or claims it; nil: the path is reserved,
// or there is none.
func (l *loop) claim() (claim *pidfile.Claim, err error) {
	var reason string
	switch {
	case l.cfg.PIDFile == "" || l.reservation != nil:
		return nil, nil
	case l.file != nil:
		return l.file.Successor()
	case l.cfg.Forking:
		if l.reservation, err = pidfile.Reserve(l.cfg.PIDFile); err == nil {
			reason = l.reservation.StaleReason
		}
	default:
		if claim, err = pidfile.New(l.cfg.PIDFile); err == nil {
			reason = claim.StaleReason
		}
	}
	if reason != "" {
		l.cfg.Log.Info(fmt.Sprintf("pidfile %s: stale, replacing it: %s", l.cfg.PIDFile, reason))
	}
	return claim, err
}

// release gives free what is beside the PID file.
func (l *loop) release() {
	l.reservation.Release()
	if l.supervisor == nil {
		return
	}
	if _, err := l.supervisor.Remove(); err != nil {
		l.cfg.Log.Warn(err.Error())
	}
	l.supervisor = nil
}

// takeBack undoes a claim after a launch that failed, before or after the child
// had published its PID.
func (l *loop) takeBack(claim *pidfile.Claim, pid int) {
	if !claim.Visible() {
		claim.Abandon()
		return
	}
	if claim.Successor {
		l.file.Succeed(claim, pid)
		l.standing = false // the file names the child that has failed
		l.standIn()
		return
	}
	if _, err := claim.Published(pid).Remove(); err != nil {
		l.cfg.Log.Warn(err.Error())
	}
}

func (l *loop) startWatch() {
	l.watch = watch.New(l.cfg.PIDFile)
	l.hints = l.watch.Hints()
	if err := l.watch.Err(); err != nil {
		l.cfg.Log.Info(fmt.Sprintf("pidfile %s: looking every %v: %v", l.cfg.PIDFile, watch.FastPoll, err))
	}
	if l.cfg.Follow != "" && l.cfg.Follow != l.cfg.PIDFile {
		l.followWatch = watch.New(l.cfg.Follow)
		l.followHints = l.followWatch.Hints()
	}
}

// renewWatch follows the file to its new inode.
func (l *loop) renewWatch() {
	if l.hints != nil {
		l.watch.Renew()
	}
}

func (l *loop) stopWatch() {
	l.watch.Stop()
	l.hints = nil
	if l.followWatch != nil {
		l.followWatch.Stop()
		l.followHints = nil
	}
}

// look says what is at the path of the PID file.
func (l *loop) look() event {
	if l.followWatch != nil && l.handedOver() {
		return l.takeOver()
	}
	l.again = l.followSoon(time.Now())
	state, err := l.file.Look()
	l.lookErr = err
	switch {
	case state == pidfile.Present:
		if err := l.file.Touch(time.Now()); err != nil {
			l.cfg.Log.Debug(fmt.Sprintf("pidfile %s: cannot be touched: %v", l.cfg.PIDFile, err))
		}
	case (state == pidfile.Replaced || state == pidfile.Changed) && l.handedOver():
		return l.takeOver()
	case state == pidfile.Removed && l.handingOver():
		return event{kind: sighted, sight: moving}
	}
	return event{kind: sighted, sight: sights[state]}
}

// sights translates what package pidfile sees into the machine's words, which
// may not import it.
var sights = [...]sight{
	pidfile.Present:    present,
	pidfile.Removed:    removed,
	pidfile.Rewritten:  rewritten,
	pidfile.Replaced:   replaced,
	pidfile.Changed:    changed,
	pidfile.Unfinished: unfinished,
	pidfile.Unknown:    unknown,
}

func (l *loop) adopt() {
	if err := l.file.Adopt(); err != nil {
		l.cfg.Log.Warn(err.Error())
	}
	l.watch.Renew()
}

func (l *loop) removeFile() {
	if l.file == nil {
		return // no daemon has been found for it
	}
	state, err := l.file.Remove()
	switch {
	case err != nil:
		l.cfg.Log.Warn(err.Error())
	case state == pidfile.Changed:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: left there, it names another PID", l.cfg.PIDFile))
	}
}

func (l *loop) kill(sig syscall.Signal, to target) {
	l.sent[sig] = true
	whom, err := l.send(sig, to)
	l.cfg.Log.Debug(fmt.Sprintf("sending %s to %s", plan.SignalName(sig), whom))
	if err == unix.ESRCH && l.neighbour != nil {
		return // it has ended, and the loop will hear of it
	}
	if err != nil {
		l.cfg.Log.Warn(fmt.Sprintf("cannot send %s to %s: %v", plan.SignalName(sig), whom, err))
	}
}

func (l *loop) send(sig syscall.Signal, to target) (whom string, err error) {
	switch {
	case to == toGroup:
		return "process group " + strconv.Itoa(l.pgrp), unix.Kill(-l.pgrp, sig)
	case to == toTree:
		return "all descendants", l.killDescendants(sig)
	case l.neighbour != nil:
		return "PID " + strconv.Itoa(l.pid), l.neighbour.Signal(sig)
	}
	return "PID " + strconv.Itoa(l.pid), unix.Kill(l.pid, sig)
}

// killDescendants reaches, of a neighbour, its process group.
func (l *loop) killDescendants(sig syscall.Signal) error {
	if l.beside {
		members, err := l.groupMembers()
		for pid, start := range members {
			killExactly(pid, start, sig)
		}
		return err
	}
	reached, err := killTree(sig, l.strangers)
	if sig != syscall.SIGCONT {
		l.swept, l.sweptBy = reached, sig
	}
	return err
}

// say tells what has happened to the file.
func (l *loop) say(a action) {
	path := l.cfg.PIDFile
	if a.stop {
		l.reservation.Release() // another start need not wait
		l.reason = "PID file " + path + " " + a.sight.String()
		l.tellStatus("Stopping")
	}
	switch {
	case a.stop && l.pid == 0 && l.machine.runs == 0:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: %s, not starting", path, a.sight))
	case a.stop && l.pid == 0:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: %s, not starting again", path, a.sight))
	case a.stop && a.sight == removed:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: removed, stopping PID %d", path, l.pid))
	case a.stop:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: replaced by another file, stopping PID %d", path, l.pid))
	case a.sight == changed:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: names another PID than %d now, going on", path, l.pid))
	case a.sight == unknown:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: cannot be looked at, going on: %v", path, l.lookErr))
	default:
		l.cfg.Log.Info(fmt.Sprintf("pidfile %s: %s after TERM, waiting for PID %d to end", path, a.sight, l.pid))
	}
}
