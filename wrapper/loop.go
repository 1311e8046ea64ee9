package wrapper

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"pidleash/internal/condition"
	"pidleash/internal/fault"
	"pidleash/internal/launch"
	"pidleash/internal/machine"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
	"pidleash/internal/ready"
	"pidleash/internal/reserve"
	"pidleash/internal/sdnotify"
	"pidleash/internal/signals"
	"pidleash/internal/sys"
	"pidleash/internal/terminal"
)

// loop is the one goroutine that owns the program. It feeds the machine events and carries out its actions.
type loop struct {
	plan    *plan.Plan
	log     hclog.Logger
	role    *role
	machine *machine.Machine
	queue   []machine.Event // what is being handled, and its answers
	over    bool

	caller     *callerEnd // nil: there is none, or it has ended
	signals    *signals.Source
	program    *program
	leash      *leash
	conditions *condition.Set     // nil: none
	ready      *ready.Waiter      // nil: nothing to wait for
	logs       []*ready.Log       // the program's logs, for its last words
	terminal   *terminal.Terminal // nil: none
	relay      *sdnotify.Relay
}

// ownOf is what a start says of itself to package pidfile.
func ownOf(executable *launch.Program, caller *callerEnd) []pidfile.Own {
	own := []pidfile.Own{{PID: caller.pid()}}
	for _, path := range executable.Files() {
		own = append(own, pidfile.Own{Program: path})
	}
	return own
}

// newLoop acquires everything that stopping the program will need, before the program can use it up.
func newLoop(p *plan.Plan, s *signals.Source, log hclog.Logger, executable *launch.Program, r *role, caller *callerEnd) (*loop, error) {
	if err := canStop(p); err != nil {
		return nil, err
	}
	l := &loop{
		plan:    p,
		log:     log,
		role:    r,
		machine: machine.New(p, caller != nil, rand.Float64),
		caller:  caller,
		signals: s,
		program: newProgram(p, executable, caller),
		leash:   &leash{plan: p, log: log, own: ownOf(executable, caller), hints: make(chan struct{}, 1)},
	}
	if r.onTerminal {
		l.terminal = terminal.Open(p.SameGroup)
	}
	if !r.isParent {
		h, err := process.Hold(os.Getpid()) // a try: after the launch, a refusal would come too late
		if err != nil {
			return nil, noPidfd("pidfd_open(2), Linux 5.3", err)
		}
		defer h.Close()
		if err := h.Signal(0); err != nil {
			return nil, noPidfd("pidfd_send_signal(2), Linux 5.1", err)
		}
	}
	var err error
	if l.relay, err = newRelay(p, log, r); err != nil {
		return nil, err
	}
	l.conditions = condition.Open(p.While, p.WhileRunning, log)
	reserveThreads(p)
	return l, nil
}

// canStop reports whether this process can get the descriptors and the calls that it will need to stop a program, and
// may signal it.
func canStop(p *plan.Plan) error {
	if err := reserve.Descriptors(); err != nil {
		return err
	}
	if p.User != nil {
		if err := reserve.Right(p.User.UID); err != nil {
			return err
		}
	}
	return reserve.Calls()
}

// reserveThreads makes the threads that a keeper will need.
func reserveThreads(p *plan.Plan) {
	more := len(p.WhileRunning)
	if p.Way != plan.Foreground || p.Forking {
		more += 3 // for the end and the status of held processes
	}
	if os.Getenv("NOTIFY_SOCKET") != "" || p.Ready.Kind == plan.ReadyNotify {
		more += 3 // the relay's
	}
	if p.Ready.Kind == plan.ReadyTCP {
		more++
	}
	reserve.Threads(more)
}

// newRelay puts a relay between the program and the service manager. Without NOTIFY_SOCKET, or with a program that is
// not the keeper's child, only -ready notify needs one.
func newRelay(p *plan.Plan, log hclog.Logger, r *role) (*sdnotify.Relay, error) {
	asked := p.Ready.Kind == plan.ReadyNotify
	if !asked && !r.isParent {
		return &sdnotify.Relay{Env: p.Env}, nil
	}
	users := []uint32{uint32(os.Geteuid())}
	if p.User != nil {
		users = append(users, p.User.UID)
	}
	relay, err := sdnotify.NewRelay(p.Env, asked, users...)
	if err != nil && asked {
		return nil, &fault.Error{Object: "option -ready notify", Problem: err.Error()}
	}
	if err != nil {
		log.Warn(fmt.Sprintf("NOTIFY_SOCKET: the program's messages cannot be relayed: %v", err))
	}
	relay.OwnReady = p.Ready.Given && !asked
	relay.Lost = func(err error) {
		log.Warn(fmt.Sprintf("NOTIFY_SOCKET: the service manager cannot be told that the program is up: %v", err))
	}
	return relay, nil
}

func (l *loop) run() {
	defer l.conditions.Close()
	l.happen(l.lookAtConditions())
	l.happen(machine.Event{Kind: machine.Began})
	for !l.over {
		select {
		case <-l.program.reaper.C():
			l.reap()
		case <-l.program.ended():
			l.heldEnded()
		case <-l.program.reaped:
			l.explain()
		case m, attached := <-l.caller.c():
			l.hear(m, attached)
		case err := <-l.ready.C():
			e := machine.Event{Kind: machine.Ready, Err: err}
			if err != nil {
				e.Kind = machine.Unready
			}
			l.happen(e)
		case <-l.leash.hints:
			l.happen(look(l))
		case <-l.leash.again:
			l.happen(look(l))
		case <-l.conditions.C():
			l.happen(l.lookAtConditions())
		case got := <-l.role.signals(l.signals):
			l.signaled(l.signals.Read(got))
		case <-l.relay.Pings():
			l.relay.Idle()
		case <-at(l.machine.Deadline()):
			l.happen(machine.Event{Kind: machine.Ticked})
		}
	}
}

// happen gives the machine an event, does its actions, and handles their answers.
func (l *loop) happen(e machine.Event) {
	l.queue = append(l.queue[:0], e)
	for i := 0; i < len(l.queue); i++ {
		actions := l.machine.Handle(time.Now(), l.queue[i])
		if l.log.IsTrace() { // asked first: an idle pidleash allocates nothing
			traceEvent(l, l.queue[i].Kind, actions)
		}
		for _, a := range actions {
			l.do(a)
		}
	}
}

// at delivers at a time; nil: never, the time is zero.
func at(t time.Time) <-chan time.Time {
	if t.IsZero() {
		return nil
	}
	return time.After(time.Until(t))
}

// answer queues the event that answers an action.
func (l *loop) answer(e machine.Event) { l.queue = append(l.queue, e) }

func (l *loop) do(a machine.Action) {
	switch a.Do {
	case machine.Launch:
		l.answer(l.launch())
	case machine.Seek:
		seek(l)
	case machine.SeekSuccessor:
		seekSuccessor(l)
	case machine.Await:
		l.await()
	case machine.KillProbe:
		l.program.killProbe()
	case machine.Answer:
		l.answerCaller()
	case machine.ReportReady:
		l.leaveDirectory(true)
		l.relay.ReportReady()
	case machine.Late:
		l.answer(machine.Event{Kind: machine.Unready, Err: late(l)})
	case machine.Watch:
		l.leash.startWatch()
	case machine.Unwatch:
		l.leash.stopWatch()
	case machine.Look:
		l.answer(look(l))
	case machine.LookAtConditions:
		l.answer(l.lookAtConditions())
	case machine.Adopt:
		l.leash.adopt()
	case machine.Placeholder:
		l.placeholder()
	case machine.Linger:
		l.leash.linger()
	case machine.Remove:
		l.leash.remove()
	case machine.Kill:
		l.kill(a.Signal, a.Target)
	case machine.Suspend: // pidleash too, because job control has stopped the program
		if l.terminal.Suspended(l.program.pid(), a.Signal, l.signals.StopSelf) {
			l.kill(syscall.SIGCONT, machine.ToGroup)
		}
	case machine.RunCommand:
		pid, err := startCommand(l, l.plan.StopCommand)
		if err != nil {
			l.log.Warn(fmt.Sprintf("stop command: %v", err))
			l.answer(machine.Event{Kind: machine.CommandEnded})
		}
		l.program.command = pid
	case machine.KillCommand:
		l.program.killCommand(l.log)
	case machine.Survey:
		l.answer(l.program.survey())
	case machine.Report:
		report(l, a)
	case machine.End:
		l.over = true
	}
}

func (l *loop) lookAtConditions() machine.Event {
	if l.conditions.Look() {
		return machine.Event{Kind: machine.ConditionsHold}
	}
	return machine.Event{Kind: machine.ConditionsFail}
}

// signaled handles a received signal. If the kernel has sent the signal to pidleash's process group, a program in that
// group has received the signal, too, except for a HUP: at the hang-up of a terminal only the session leader gets it.
// If the program has a group of its own, pidleash forwards the signal to that whole group: bash ignores a ^C that the
// child for which it waits has not received. The group of a daemon is left out: no terminal is meant to reach it.
func (l *loop) signaled(r signals.Received) {
	l.log.Debug("received", "signal", plan.SignalName(r.Signal))
	if r.Signal == l.plan.Restart.Signal {
		l.happen(machine.Event{Kind: machine.Asked})
		return
	}
	session, _ := unix.Getsid(0)
	hangup := r.Signal == syscall.SIGHUP && session == os.Getpid()
	delivered := r.ToGroup && l.plan.SameGroup && l.program.held != nil && !hangup
	toGroup := r.ToGroup && !l.plan.SameGroup && !l.plan.Forking
	l.happen(machine.Event{Kind: machine.Signaled, Signal: r.Signal, Delivered: delivered, ToGroup: toGroup})
}

func (l *loop) kill(sig syscall.Signal, to machine.Target) {
	whom, err := l.program.send(sig, to)
	l.log.Debug("sending", "signal", plan.SignalName(sig), "to", whom)
	mayBeGone := l.plan.Forking || !l.role.isParent // an event will report its end
	if err != nil && !(mayBeGone && errors.Is(err, unix.ESRCH)) {
		l.log.Warn(fmt.Sprintf("cannot send %s to %s: %v", plan.SignalName(sig), whom, err))
	}
}

// await begins to wait until the program is up. Only the loop may wait for children, so it runs the command of -ready
// itself.
func (l *loop) await() {
	if l.plan.Ready.Kind != plan.ReadyCommand {
		l.ready.Await(l.relay.Ready())
		return
	}
	pid, err := startCommand(l, l.plan.Ready.Command)
	if err != nil {
		l.answer(machine.Event{Kind: machine.Unready, Err: fmt.Errorf("the command of -ready: %w", err)})
	}
	l.program.probe = pid
}

// placeholder makes the PID file name the keeper while no program runs.
func (l *loop) placeholder() {
	l.relay.Idle()
	l.program.reaper.WatchOrphans()
	if l.leash.file != nil {
		l.leash.placeholder()
	} else if err := l.leash.begin(); err != nil {
		l.answer(failedLaunch(err))
	}
}

// launch starts the program and returns the event that answers Launch.
func (l *loop) launch() machine.Event {
	err := startProgram(l)
	if errors.Is(err, pidfile.ErrRemoved) {
		return machine.Event{Kind: machine.Vanished}
	}
	if err != nil {
		return failedLaunch(err)
	}
	l.relay.Start(l.program.pid())
	reportLaunch(l)
	l.leaveDirectory(false)
	return machine.Event{Kind: machine.Launched}
}

// leaveDirectory leaves the first working directory, if nothing more starts there: then nobody needs its file system.
func (l *loop) leaveDirectory(isUp bool) {
	probes := !isUp && l.plan.Ready.Kind == plan.ReadyCommand
	if l.plan.Dir != "" || !probes && !l.plan.Stays() && l.plan.StopCommand == "" {
		_ = sys.Chdir("/")
	}
}

// failedLaunch is a failed launch, with the status of a program that exits with the error's code.
func failedLaunch(err error) machine.Event {
	return machine.Event{Kind: machine.LaunchFailed, Err: err, Known: true, Status: syscall.WaitStatus(fault.Code(err) << 8)}
}
