package wrapper

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/pidfile"
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

	pid        int                     // the program's, while it has not been reaped
	commandPID int                     // the stop command's, likewise
	strangers  map[int]process.Ticks   // descendants that are not the program's, and their start
	sent       map[syscall.Signal]bool // what the program was sent
	terminal   *terminal               // nil: none
	relay      *sdnotify.Relay         // nil: nobody to notify
	reason     string                  // why pidleash has stopped the program, if it has

	file    *pidfile.File
	watch   *watch.Watch
	hints   <-chan struct{} // nil: no watch
	timer   *time.Timer
	queue   []event // what is still to be handled
	ended   bool
	failed  error // why the program never ran
	lookErr error // why the last look gave no answer
}

// Run starts the program and returns when it has ended. The error says why it
// could not be started: a *StartError, a *pidfile.HeldError, or another, which
// is pidleash's own failure.
func Run(cfg *Config, signals *Signals) (Outcome, error) {
	program, err := findProgram(cfg.Args[0])
	if err != nil {
		return Outcome{}, err
	}
	adoptOrphans()
	l := &loop{
		strangers: findStrangers(),
		terminal:  openTerminal(),
		cfg:       cfg,
		signals:   signals,
		program:   program,
		machine: machine{
			hasFile:    cfg.PIDFile != "",
			settle:     cfg.Settle,
			schedule:   cfg.Stop,
			hasCommand: cfg.StopCommand != "",
			killMode:   cfg.KillMode,
			rewrite:    cfg.Rewrite,
		},
		sent:  map[syscall.Signal]bool{},
		timer: time.NewTimer(time.Hour),
	}
	l.timer.Stop()
	l.openRelay()
	signals.wait()
	if cfg.Ignored != nil {
		signals.ignored = *cfg.Ignored
	}
	l.run()
	if l.failed != nil {
		return Outcome{}, l.failed
	}
	if l.terminal != nil {
		l.terminal.passOn()
	}
	return outcomeOf(cfg, l.machine.status, l.machine.byRemoval), nil
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
	l.happen(event{kind: began})
	for !l.ended {
		select {
		case <-l.children.ended:
			l.reap()
		case s := <-l.signals.forward:
			l.happen(event{kind: signaled, signal: s.(syscall.Signal)})
		case s := <-l.signals.groupwide:
			l.signaled(s.(syscall.Signal), true)
		case s := <-l.signals.caught:
			sig := s.(syscall.Signal)
			l.signaled(sig, canBeGroupwide(sig) && !tookSent(sig))
		case <-l.hints:
			l.happen(l.look())
		case <-l.timer.C:
			l.happen(event{kind: ticked})
		}
	}
}

// signaled forwards a signal, unless the program has had it already: in
// pidleash's process group, from the kernel. Of a terminal that hangs up only the
// leader of the session learns.
func (l *loop) signaled(sig syscall.Signal, groupwide bool) {
	if groupwide && l.cfg.SameGroup && !(sig == syscall.SIGHUP && isSessionLeader()) {
		return
	}
	l.happen(event{kind: signaled, signal: sig})
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
	case watchFile:
		l.startWatch()
	case unwatchFile:
		l.watch.Stop()
		l.hints = nil
	case look:
		l.queue = append(l.queue, l.look())
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
	case end:
		l.reapCommand()
		l.ended = true
	}
}

func (l *loop) spawn() {
	l.failed = l.start()
	if l.failed != nil {
		l.queue = append(l.queue, event{kind: failed})
		return
	}
	l.queue = append(l.queue, event{kind: started})
}

// start claims the path and launches the program, again as long as others win
// the race for the path and are gone when it looks.
func (l *loop) start() error {
	for {
		claim, err := l.claim()
		if err != nil {
			return err
		}
		pid, err := l.launch(claim)
		switch {
		case err == nil:
			// For good, and after the launch: to lock costs the runtime a thread more.
			runtime.LockOSThread()
			l.pid = pid
			if l.cfg.SameGroup {
				l.signals.sibling.Store(uint32(pid))
			}
			l.children = watchChildren()
			if l.relay != nil {
				l.relay.Start(pid)
			}
			if claim != nil {
				l.file = claim.Published(pid)
			}
			return nil
		case claim != nil:
			l.takeBack(claim, pid)
		}
		if !errors.Is(err, errLostRace) {
			return err
		}
	}
}

// launch starts the program, in the foreground if pidleash is there.
func (l *loop) launch(claim *pidfile.Claim) (pid int, err error) {
	spec := launchSpec{
		program:     l.program,
		args:        l.cfg.Args,
		env:         l.cfg.Env,
		claim:       claim,
		signals:     l.signals,
		sameGroup:   l.cfg.SameGroup,
		deathSignal: l.cfg.DeathSignal,
	}
	if t := l.terminal; t != nil && !l.cfg.SameGroup && t.interactive && t.isOurs() {
		spec.terminal, t.lent = t, true
	}
	pid, err = launch(spec)
	if err != nil && l.terminal != nil {
		l.terminal.takeBack(pid)
	}
	return pid, err
}

func (l *loop) claim() (*pidfile.Claim, error) {
	if l.cfg.PIDFile == "" {
		return nil, nil
	}
	claim, err := pidfile.New(l.cfg.PIDFile)
	if err == nil && claim.StaleReason != "" {
		l.cfg.Log.Info(fmt.Sprintf("pidfile %s: stale, replacing it: %s", claim.Path, claim.StaleReason))
	}
	return claim, err
}

// takeBack undoes a claim after a launch that failed, before or after the child
// had published its PID.
func (l *loop) takeBack(claim *pidfile.Claim, pid int) {
	if pid == 0 || !claim.Visible() {
		claim.Abandon()
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
}

// look says what is at the path of the PID file.
func (l *loop) look() event {
	state, err := l.file.Look()
	l.lookErr = err
	if state == pidfile.Present {
		if err := l.file.Touch(time.Now()); err != nil {
			l.cfg.Log.Debug(fmt.Sprintf("pidfile %s: cannot be touched: %v", l.cfg.PIDFile, err))
		}
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
	state, err := l.file.Remove()
	switch {
	case err != nil:
		l.cfg.Log.Warn(err.Error())
	case state == pidfile.Changed:
		l.cfg.Log.Warn(fmt.Sprintf("pidfile %s: left there, it names another PID", l.cfg.PIDFile))
	}
}

// group is the program's process group, which outlives it.
func (l *loop) group() int {
	if l.cfg.SameGroup {
		return unix.Getpgrp()
	}
	return l.pid
}

func (l *loop) kill(sig syscall.Signal, to target) {
	l.sent[sig] = true
	var err error
	whom := "PID " + strconv.Itoa(l.pid)
	switch to {
	case toProgram:
		err = unix.Kill(l.pid, sig)
	case toGroup:
		whom = "process group " + strconv.Itoa(l.group())
		err = unix.Kill(-l.group(), sig)
	case toTree:
		whom = "all descendants"
		err = killTree(sig, l.strangers)
	}
	l.cfg.Log.Debug(fmt.Sprintf("sending %s to %s", SignalName(sig), whom))
	if err != nil {
		l.cfg.Log.Warn(fmt.Sprintf("cannot send %s to %s: %v", SignalName(sig), whom, err))
	}
}

// say tells what has happened to the file.
func (l *loop) say(a action) {
	path := l.cfg.PIDFile
	if a.stop {
		l.reason = "PID file " + path + " " + a.sight.String()
		l.tellStatus("Stopping")
	}
	switch {
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
