package wrapper

import (
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/launch"
	"pidleash/internal/link"
	"pidleash/internal/machine"
	"pidleash/internal/plan"
	"pidleash/internal/sys"
)

// The messages between a keeper in the background and its caller; docs/architecture.md draws their order. The caller
// reaps nothing before "started": until then the keeper does not hold the program, and a reaped PID could become
// another process's.

// message is one message on the link.
type message struct {
	Kind   messageKind
	PID    int                // in started, ended and up
	Status syscall.WaitStatus // in ended
	Text   string             // in failed
	Hint   string             // in failed
	Code   int                // in failed: the exit code
	Own    bool               // in failed: the code is the program's own
}

type messageKind string

const (
	started messageKind = "started"
	ended   messageKind = "ended"
	up      messageKind = "up"
	refused messageKind = "refused"
	failed  messageKind = "failed"
)

// failedMessage is the message that reports an error.
func failedMessage(err error) message {
	code := fault.Code(err)
	own := code == fault.Held && !fault.IsHeld(err)
	return message{Kind: failed, Text: err.Error(), Hint: fault.Hint(err), Code: code, Own: own}
}

// err is the error that a failed message reports.
func (m message) err() error {
	return &fault.Error{Problem: m.Text, Hint: m.Hint, Code: m.Code, Own: m.Own}
}

// listen returns a channel of the messages from the other side, which closes when that side ends.
func listen(conn *link.Conn) <-chan message {
	messages := make(chan message)
	go func() {
		defer close(messages)
		for {
			var m message
			if err := conn.Receive(&m); err != nil {
				return
			}
			messages <- m
		}
	}()
	return messages
}

// callerEnd is the keeper's end of the link; nil: there is no caller.
type callerEnd struct {
	conn     *link.Conn
	peer     int            // the caller's PID
	messages <-chan message // nil: the caller ended, or broke the start off, before it was answered
	answered bool           // the caller has been sent "up"
}

// attach opens the keeper's end of the link at the descriptor that the caller has passed. It returns nil if the link
// cannot be used; if the error is nil too, the caller has been told why.
func attach(fd int) (*callerEnd, error) {
	conn, err := link.Attach(fd)
	if err != nil {
		return nil, err
	}
	c := &callerEnd{conn: conn}
	if c.peer, err = conn.Peer(); err != nil {
		c.fail(err)
		return nil, nil
	}
	c.messages = listen(conn)
	return c, nil
}

// pid is the caller's; 0: there is none.
func (c *callerEnd) pid() int {
	if c == nil {
		return 0
	}
	return c.peer
}

func (c *callerEnd) c() <-chan message {
	if c == nil {
		return nil
	}
	return c.messages
}

// fail sends the caller the reason for a failed start. A caller that is gone does not need it.
func (c *callerEnd) fail(err error) { _ = c.conn.Send(failedMessage(err)) }

// hear handles a message from the caller; not attached: the caller has ended.
func (l *loop) hear(m message, attached bool) {
	switch {
	case !attached && l.caller.answered:
		l.forgetCaller()
		l.happen(machine.Event{Kind: machine.Answered})
		l.endWaited()
	case !attached:
		l.caller.messages = nil
		l.happen(machine.Event{Kind: machine.CallerGone})
		l.endWaited()
	case m.Kind == refused:
		l.happen(machine.Event{Kind: machine.Refused})
	case m.Kind == failed:
		l.happen(failedLaunch(m.err()))
	case m.Kind == ended && m.PID == l.program.pid():
		stays := l.caller.answered // a caller that reports the program's end after its answer has not left
		l.programEnded(m.Status, true)
		if stays {
			l.happen(machine.Event{Kind: machine.Refused})
		}
	case m.Kind == ended && l.program.finder != nil && !l.program.was(m.PID):
		l.program.finder.NoteEnd(m.Status)
	}
}

// answerCaller tells the caller that the program is up. Everything inherited from the caller is released first: the
// caller may end at once.
func (l *loop) answerCaller() {
	l.letGo()
	l.caller.answered = l.caller.conn.Send(message{Kind: up, PID: l.program.pid()}) == nil
	if !l.role.isParent {
		l.program.held.KeepTrace() // the program may end before the caller
	}
}

// letGo releases what was inherited from the caller: descriptors, working directory, standard error.
func (l *loop) letGo() {
	if l.plan.Way == plan.Daemon && !l.role.isParent { // with -sidecar the caller has them, and a parent needs them again
		n := launch.PassedSockets()
		for fd := plan.FirstFD; fd < plan.FirstFD+n; fd++ {
			unix.Close(fd)
		}
	}
	if files, err := launch.Open(&l.plan.Context); err == nil {
		if files.Detach() == nil {
			for to, fd := range files.Stdio {
				if fd >= 0 && !files.Named[to] {
					l.replace(to, fd)
				}
			}
		}
		files.Close()
	}
	if l.plan.Dir == "" {
		if dir, err := unix.Getwd(); err == nil {
			l.plan.Dir, l.plan.DirAsFound = dir, true // for the next start, and the stop command
		}
	}
	_ = sys.Chdir("/") // so that the caller's file system can be unmounted
}

// replace makes fd the standard descriptor to.
func (l *loop) replace(to, fd int) {
	if log, ok := l.log.(interface{ Redirect(fd int) }); ok && to == 2 {
		log.Redirect(fd) // after what it still has to write
		return
	}
	_ = sys.Dup3(fd, to, 0) // both are open
}

// forgetCaller lets go of a caller that has ended.
func (l *loop) forgetCaller() {
	l.caller.conn.Close()
	l.caller = nil
	l.closeLogs() // only a caller asks for the program's last words
	if !l.role.isParent {
		l.program.callerEnded()
	}
}
