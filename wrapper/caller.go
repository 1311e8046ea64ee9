package wrapper

import (
	"cmp"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/atstart"
	"pidleash/internal/fault"
	"pidleash/internal/launch"
	"pidleash/internal/link"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
	"pidleash/internal/reserve"
	"pidleash/internal/signals"
)

// caller is the process that was started with -daemon or -sidecar: it starts a keeper in the background and waits for
// the keeper's answer.
//
// With -daemon -forking a starter stands between the two, and adopts the orphans of the program. If the caller adopted
// them, and were killed, they would become children of init, and nobody could tell them from init's other children. To
// the caller the starter is the keeper; to the keeper the starter is the caller.
type caller struct {
	plan    *plan.Plan
	log     hclog.Logger
	signals *signals.Source
	program *launch.Program
	above   *callerEnd // of a starter: the link to its caller; nil: this process is the first one

	conn     *link.Conn
	keeper   int // the PID of the keeper or starter
	messages <-chan message
	reaper   *process.Reaper
	family   *process.Family
	endedBy  syscall.Signal // the signal that told the caller to end; 0: none
	isUp     bool           // the starter has said that the program is up: the starter's end comes next

	// If the keeper dies before it answers, the caller stops the program and its descendants.
	cursor plan.Cursor
	again  <-chan time.Time // when to look again who is left
	result error            // what the caller ends with
	done   bool
}

// call returns when the program is up, or has failed to come up.
func call(p *plan.Plan, s *signals.Source, log hclog.Logger, program *launch.Program) (plan.Outcome, error) {
	if err := canStop(p); err != nil {
		return plan.Outcome{}, err
	}
	if process.IsForeign() { // the keeper could not tell when no descendant is left
		return plan.Outcome{}, &fault.Error{Object: "keeper", Problem: "/proc is that of another PID namespace", Hint: "mount /proc"}
	}
	received := s.C()
	if p.Way == plan.Sidecar {
		// This comes first: from now on signals sent to this process are for the program.
		if sig := s.Release(); sig != 0 {
			return plan.BySignal(sig), nil
		}
		received = nil
	} else if err := adoptOrphans(); err != nil { // the program becomes a child of this process
		return plan.Outcome{}, err
	}
	c := newCaller(p, s, log)
	c.program = program
	if err := c.startKeeper(); err != nil {
		return plan.Outcome{}, err
	}
	c.wait(received)
	if c.endedBy == 0 && c.result != nil && received != nil {
		c.endedBy = s.Late(lateLimit, breaksOff)
	}
	if c.endedBy != 0 && c.result != nil {
		return plan.BySignal(c.endedBy), nil
	}
	return plan.Outcome{}, c.result
}

// StandBy is a starter's whole life. The caller is at the other end of fd. The error is for the log.
func StandBy(p *plan.Plan, s *signals.Source, log hclog.Logger, fd int) error {
	signals.Outlive()
	nameItself()
	above, err := attach(fd)
	if above == nil {
		return err
	}
	c := newCaller(p, s, log)
	c.above = above
	c.result = cmp.Or(adoptOrphans(), canStop(p))
	if c.result == nil {
		c.result = c.startKeeper()
	}
	if c.result == nil {
		c.wait(nil)
	}
	if c.result != nil {
		above.fail(c.result)
	}
	return nil
}

// newCaller notes the earlier children of this process.
func newCaller(p *plan.Plan, s *signals.Source, log hclog.Logger) *caller {
	return &caller{plan: p, log: log, signals: s, reaper: process.NewReaper(), family: process.NewFamily(os.Getpid())}
}

// lateLimit is how long a signal sent to the whole control group may take to reach this process after others have
// ended by it.
const lateLimit = 50 * time.Millisecond

// startKeeper starts the binary again. The keeper inherits only the standard descriptors, the sockets from the
// service manager, and the link.
func (c *caller) startKeeper() error {
	reserve.Threads(1) // a starter has two links: to the keeper, and to its own caller
	ours, theirs, err := link.Pair()
	if err != nil {
		return err
	}
	fd := plan.FirstFD
	if c.plan.Way == plan.Daemon {
		fd += launch.PassedSockets()
	}
	ignored, blocked := c.signals.Program(nil)
	c.keeper, err = launch.Start(&launch.Spec{
		Program:   launch.Self(),
		Args:      append([]string{fmt.Sprintf("%s:%d", c.nextName(), fd)}, c.plan.CommandLine...),
		Env:       atstart.Environ(),
		Ignored:   ignored,
		Blocked:   blocked,
		Detached:  true,
		Inherit:   []launch.Descriptor{{FD: theirs.FD(), To: fd}},
		CloseFrom: fd + 1,
	})
	theirs.Close()
	if err != nil {
		ours.Close()
		return &fault.Error{Object: "keeper", Problem: "cannot be started", Err: err, Hint: fault.Hint(err)}
	}
	c.conn, c.messages = ours, listen(ours)
	return nil
}

// nextName is argument 0 of the process that this one starts: it says which part that process has.
func (c *caller) nextName() string {
	switch {
	case c.plan.Stays():
		return plan.SupervisorName
	case c.plan.Forking && c.above == nil:
		return plan.StarterName
	}
	return plan.WatchdogName
}

// wait returns when the keeper has answered, or is gone with nothing left behind. When a signal breaks the start off,
// or the caller above a starter has ended, the link is closed for writing: to the keeper that is the caller's end.
func (c *caller) wait(received <-chan os.Signal) {
	for !c.done {
		select {
		case m, attached := <-c.messages:
			if attached {
				c.hear(m)
			} else {
				c.messages = nil
				c.keeperGone()
			}
		case got := <-received:
			c.signaled(c.signals.Read(got).Signal)
		case _, attached := <-c.above.c():
			if !attached {
				c.above.messages = nil
				c.conn.CloseWrite()
			}
		case <-c.reaper.C():
			c.reap()
		case <-c.again:
			c.sweep()
		}
	}
}

func (c *caller) hear(m message) {
	switch m.Kind {
	case started:
		c.reaper.Watch()
	case up:
		c.leave(m.PID)
	case failed:
		c.result = m.err()
	}
}

func (c *caller) signaled(sig syscall.Signal) {
	c.log.Debug("received", "signal", plan.SignalName(sig))
	if breaksOff(sig) {
		c.endedBy = sig
		c.conn.CloseWrite()
	}
}

// breaksOff reports whether a signal to the caller breaks the start off.
func breaksOff(sig syscall.Signal) bool { return plan.TellsToEnd(sig) || sig == syscall.SIGHUP }

// reap reaps this process's children and reports their exit statuses to the keeper.
func (c *caller) reap() {
	for pid := c.reaper.Next(); pid != 0; pid = c.reaper.Next() {
		if status, ok := c.reaper.Wait(pid); ok && !status.Stopped() {
			_ = c.conn.Send(message{Kind: ended, PID: pid, Status: status}) // the keeper may be gone
		}
		c.done = c.done || c.isUp && pid == c.keeper
	}
	c.reaper.Done()
	if c.messages == nil && !c.isUp {
		c.sweep()
	}
}

// leave ends the caller with success, unless the program has ended meanwhile: systemd would wait for an ended program
// until the start timeout.
func (c *caller) leave(pid int) {
	if c.plan.Way == plan.Sidecar {
		c.become()
		return
	}
	if c.nextName() == plan.StarterName {
		// When the starter has ended, its child, the program, is this process's. Only then may this process end, too:
		// the program falls to the service manager.
		c.isUp = true
		c.reaper.Watch()
		return
	}
	switch p, err := process.Read(pid); {
	case err != nil || p.Dead():
		_ = c.conn.Send(message{Kind: refused}) // a keeper that is gone closes the link
	case c.conn.Gone(): // wait will see that the channel is closed
	default:
		c.done = true
		if c.above != nil {
			_ = c.above.conn.Send(message{Kind: up, PID: pid}) // a caller that is gone needs no answer
		}
	}
}

// become makes this process the program. If that fails, the keeper removes the file and ends.
func (c *caller) become() {
	if c.conn.Gone() {
		return
	}
	files, err := launch.Open(&c.plan.Context)
	if err == nil {
		ignored, blocked := c.signals.Program(c.plan.Ignored)
		err = launch.Become(&launch.Spec{
			Program: c.program,
			Args:    c.plan.Args,
			Env:     c.plan.Env,
			Context: &c.plan.Context,
			Files:   files,
			Ignored: ignored,
			Blocked: blocked,
		})
		files.Close()
	}
	c.result = err
	_ = c.conn.Send(failedMessage(err)) // a keeper that is gone holds no file
}

// keeperGone handles the keeper's end. A keeper that has not answered was killed: the caller then stops the program
// and its descendants, and removes the keeper's files.
func (c *caller) keeperGone() {
	if c.result != nil || c.isUp {
		c.done = !c.isUp // the starter's end as a process comes next
		return
	}
	c.result = &fault.Error{Problem: "the watchdog has ended before it was watching"}
	c.cursor = c.plan.Stop.Begin()
	c.reaper.Watch()
	c.sweep()
}

// sweep carries out the stop schedule until no descendant is left.
func (c *caller) sweep() {
	if _, none := c.family.Left(); none {
		c.removeLeft()
		c.done = true
		return
	}
	var unseen error
	for _, sig := range c.cursor.Step(time.Now()) {
		c.log.Debug("sending", "signal", plan.SignalName(sig), "to", "what the keeper has left")
		unseen = c.family.Kill(sig)
		if plan.NeedsCont(sig) {
			_ = c.family.Kill(syscall.SIGCONT) // if this fails, so has the signal before it
		}
	}
	next, due := time.Now().Add(sweepInterval), c.cursor.Due()
	if unseen != nil && due.IsZero() { // no signal is left to try
		c.result = &fault.Error{Problem: "the watchdog has ended before it was watching, and nobody can tell whom it has left", Err: unseen}
		c.done = true
	}
	if !due.IsZero() && due.Before(next) {
		next = due
	}
	c.again = at(next)
}

// sweepInterval is the time between two looks for descendants whose end no event reports.
const sweepInterval = time.Second

// removeLeft removes the files that a killed keeper has left.
func (c *caller) removeLeft() {
	for _, path := range []string{c.plan.PIDFile, c.plan.Supervisor} {
		if path != "" {
			if err := pidfile.RemoveStale(path, pidfile.Own{PID: os.Getpid()}); err != nil {
				c.log.Warn(err.Error())
			}
		}
	}
}
