package wrapper

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/internal/process"
)

// sidecar is a start that becomes the program itself, with a watchdog beside it.
type sidecar struct {
	cfg      *Config
	signals  *Signals
	opened   *surroundings
	launcher *launcher
	file     *pidfile.File
}

// runSidecar returns only when it has failed, or was told to end: otherwise this
// process is the program.
func runSidecar(cfg *Config, signals *Signals, program *program) (plan.Outcome, error) {
	s := &sidecar{cfg: cfg, signals: signals}
	// From here on a signal that can be blocked waits for the program, and the others
	// are caught.
	signals.prepare(cfg)
	signals.leave(wanted()...)
	err := s.setUp()
	if err == nil {
		err = s.become(program)
	}
	s.launcher.dismiss()
	if s.file != nil {
		_, _ = s.file.Remove()
	}
	s.opened.close()
	var end *toldToEnd
	if errors.As(err, &end) {
		return plan.BySignal(end.signal), nil
	}
	return plan.Outcome{}, err
}

// toldToEnd says that a signal has ended the start.
type toldToEnd struct{ signal syscall.Signal }

func (e *toldToEnd) Error() string { return "told to end by " + plan.SignalName(e.signal) }

// setUp comes to the point where the watchdog watches.
func (s *sidecar) setUp() error {
	if err := s.publish(); err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return pidfdError(err)
	}
	defer unix.Close(fd)
	// A group that others share is none to be swept.
	group := 0
	if unix.Getpgrp() == os.Getpid() {
		group = os.Getpid()
	}
	if s.cfg.KillMode == plan.KillGroup && group == 0 {
		return &fault.Error{Object: "-kill-mode group", Problem: "the program shares its process group with who started it", Hint: "another mode"}
	}
	answer := make(chan error, 1)
	go func() {
		answer <- s.launcher.entrust(word{PID: os.Getpid(), Group: group}, s.cfg.StartLimit, fd, s.file.FD())
	}()
	for {
		var got os.Signal
		select {
		case err := <-answer:
			if err == nil {
				return s.launcher.leave()
			}
			if sig := s.signals.late(); sig != 0 {
				return &toldToEnd{sig}
			}
			return err
		case got = <-s.signals.caught:
		case got = <-s.signals.forward: // read before the others were left alone
		case got = <-s.signals.groupwide:
		}
		if sig := got.(syscall.Signal); endsByDefault(sig) {
			return &toldToEnd{sig}
		}
	}
}

// publish claims the path, again as long as others win the race for it and are gone
// when it looks, and has the watchdog started meanwhile.
func (s *sidecar) publish() error {
	for {
		claim, err := pidfile.New(s.cfg.PIDFile)
		if err != nil {
			return err
		}
		if s.launcher == nil {
			if err := s.startWatchdog(); err != nil {
				claim.Abandon()
				return err
			}
		}
		if s.file, err = claim.Publish(os.Getpid()); !errors.Is(err, pidfile.ErrLostRace) {
			return err
		}
	}
}

func (s *sidecar) startWatchdog() (err error) {
	var supervisor *pidfile.Claim
	if s.opened, err = s.cfg.open(); err != nil {
		return err
	}
	if s.cfg.Supervisor != "" {
		if supervisor, err = pidfile.New(s.cfg.Supervisor); err != nil {
			return err
		}
	}
	s.launcher, err = startWatchdog(s.cfg, s.signals, s.opened, supervisor)
	return err
}

// endsByDefault reports a signal that ends a process which has not asked for it,
// signal(7).
func endsByDefault(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGURG, syscall.SIGWINCH,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGSTOP:
		return false
	}
	return true
}

// become makes this process the program. It returns when that is impossible, and
// pidleash is as it was but for its signals' actions, its directory and its umask.
//
// The last signals: once their actions are the program's, one that would end it
// ends this process, and the watchdog removes the file. What came before that is in
// the channel when signal.Stop returns.
func (s *sidecar) become(program *program) error {
	plan, err := newLaunchPlan(&launchSpec{
		program:   program,
		args:      s.cfg.Args,
		env:       s.cfg.Env,
		signals:   s.signals,
		sameGroup: true,
		inPlace:   true,
		around:    s.opened,
	})
	if err != nil {
		return err
	}
	defer plan.free()
	// Standard error comes back when it was not to be.
	stderr, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err == nil {
		defer func() { _ = unix.Dup3(stderr, 2, 0) }()
	}
	s.holdSignals(0)
	awaitHandlers()
	signal.Stop(s.signals.caught)
	if err := s.lastSignal(); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread goes with the goroutine: its user may be another one by then.
		runtime.LockOSThread()
		beforeExec()
		defer afterExec()
		plan.inChild()
	}()
	<-done
	s.holdSignals(sigIgn) // until the file is removed
	return plan.explain(&launchSpec{program: program, around: s.opened})
}

// handlerPatience bounds the wait for threads that have nothing to do with it.
const handlerPatience = 100 * time.Millisecond

// awaitHandlers returns when no other thread is about to run a handler that was in
// place until now. The kernel has taken the signal from the queue when it sends a thread
// there; a thread that has not got its turn since would be ended by execve, and the
// signal with it. Such a thread is runnable; one that was seen asleep has none to run.
func awaitHandlers() {
	for until := time.Now().Add(handlerPatience); time.Now().Before(until); {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		if !slices.ContainsFunc(tasks, isRunnable) {
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// isRunnable is about a thread, unless it is the calling one: that is here.
func isRunnable(task os.DirEntry) bool {
	tid, err := strconv.Atoi(task.Name())
	if err != nil || tid == unix.Gettid() {
		return false
	}
	p, err := process.Read(tid)
	return err == nil && p.State == 'R'
}

// lastSignal is one that came before it would have ended this process.
func (s *sidecar) lastSignal() error {
	for sig := s.signals.pending(); sig != 0; sig = s.signals.pending() {
		if endsByDefault(sig) {
			s.holdSignals(sigIgn)
			return &toldToEnd{sig}
		}
	}
	return nil
}

// holdSignals sets the action of every signal that would end this process, for
// those that the program does not ignore.
func (s *sidecar) holdSignals(handler uintptr) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		switch {
		case !endsByDefault(sig) || sig == syscall.SIGKILL:
		case s.signals.ignored.Has(int(sig)):
			setHandler(sig, sigIgn)
		default:
			setHandler(sig, handler)
		}
	}
}
