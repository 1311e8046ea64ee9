package wrapper

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/machine"
	"pidleash/internal/pidfile"
	"pidleash/internal/plan"
	"pidleash/watch"
)

// leash is the PID file, what is beside it, and the watch over it.
type leash struct {
	plan *plan.Plan
	log  hclog.Logger

	file       *pidfile.File     // nil: there is none, or none yet
	lock       *pidfile.PathLock // of a daemon's PID file; nil: none, or not any more
	supervisor *pidfile.File     // the file of -supervisor-pidfile; nil: none
	own        []pidfile.Own     // the caller's PID, or 0; then the files that PROGRAM may be
	goneSince  time.Time         // since when the path has been empty; zero: a file is there
	lookErr    error             // why the last look gave no answer
	state      pidfile.State     // at the last look

	hints       chan struct{}
	again       <-chan time.Time // when to look at the daemon's own file again; nil: at the next hint
	watch       *watch.Watch     // nil: none
	followWatch *watch.Watch     // of the daemon's own PID file; nil: none
}

// claim claims the path of the PID file and calls launch with the claim. With a nil claim the launch publishes
// nothing: there is no PID file, or it is written once the daemon is known.
func (s *leash) claim(launch func(*pidfile.Claim) (pid int, err error)) (err error) {
	switch {
	case s.plan.PIDFile == "":
	case s.plan.Forking:
		if s.lock, err = pidfile.Reserve(s.plan.PIDFile, s.own...); err != nil {
			return err
		}
		s.reportClaim(s.lock.StaleReason)
	case s.file != nil:
		return s.exchange(launch)
	default:
		s.file, err = pidfile.Claimed(s.plan.PIDFile, func(c *pidfile.Claim) (int, error) {
			s.reportClaim(c.StaleReason)
			return launch(c)
		}, s.own...)
		return err
	}
	_, err = launch(nil)
	return err
}

// clear removes the stale file that was found at a locked path. If the removal fails, clear also releases the lock.
// Otherwise release would try the removal again, and the user would read the same error twice.
func (s *leash) clear() (err error) {
	if s.lock != nil {
		if err = s.lock.Clear(); err != nil {
			s.unlock()
		}
	}
	return err
}

func (s *leash) unlock() {
	s.warn(s.lock.Release())
	s.lock = nil
}

// exchange launches the program with a new file that takes the place of the present one in one step.
func (s *leash) exchange(launch func(*pidfile.Claim) (pid int, err error)) error {
	c, err := s.file.NewExchange()
	if err != nil {
		return err
	}
	pid, err := launch(c)
	if err != nil {
		c.Abandon()
		return err
	}
	s.file.Exchanged(c, pid)
	s.renewWatch()
	return nil
}

// warn logs an error that does not end anything.
func (s *leash) warn(err error) {
	if err != nil {
		s.log.Warn(err.Error())
	}
}

func (s *leash) reportClaim(staleReason string) {
	if staleReason != "" {
		s.log.Info(fmt.Sprintf("pidfile %s: stale, replacing it: %s", s.plan.PIDFile, staleReason))
	}
	s.log.Debug("claimed", "pidfile", s.plan.PIDFile)
}

// retract withdraws the PID file that the child of a failed launch may have published.
func (s *leash) retract(c *pidfile.Claim, pid int) {
	switch {
	case c == nil:
	case c.Exchanges && c.Visible():
		s.file.Exchanged(c, pid)
		s.placeholder() // it names the child that has failed
	default:
		s.warn(c.Retract(pid))
	}
}

// publishSupervisor publishes the keeper's own PID, once.
func (s *leash) publishSupervisor() (err error) {
	if s.plan.Supervisor != "" && s.supervisor == nil {
		s.supervisor, err = pidfile.Publish(s.plan.Supervisor, os.Getpid(), s.own[0], pidfile.Own{Program: "/proc/self/exe"})
	}
	return err
}

// begin publishes the keeper's PID before the first launch.
func (s *leash) begin() (err error) {
	if s.plan.PIDFile != "" {
		err = s.claim(func(c *pidfile.Claim) (int, error) { return os.Getpid(), c.Publish(os.Getpid()) })
		if err != nil {
			return err
		}
	}
	return s.publishSupervisor()
}

// placeholder makes the file name the keeper: readers find a live process, and a removal still means stop.
func (s *leash) placeholder() {
	if s.file.PID != os.Getpid() {
		s.rewrite(os.Getpid())
	}
}

// linger makes the file name the keeper for a moment, if the file is still ours.
func (s *leash) linger() {
	if s.file == nil || s.file.PID == os.Getpid() {
		return
	}
	if state, _ := s.file.Look(); state == pidfile.Present {
		s.warn(s.file.Name(os.Getpid()))
	}
}

func (s *leash) startWatch() {
	s.watch = watch.New(s.plan.PIDFile, s.hints)
	if err := s.watch.Err(); err != nil {
		s.log.Info(fmt.Sprintf("pidfile %s: looking every %v: %v", s.plan.PIDFile, watch.FastPoll, err))
	}
	if s.plan.Follow != "" && s.plan.Follow != s.plan.PIDFile {
		s.followWatch = watch.New(s.plan.Follow, s.hints)
	}
}

// renewWatch watches the file's new inode.
func (s *leash) renewWatch() {
	if s.watch != nil {
		s.watch.Renew()
	}
}

func (s *leash) stopWatch() {
	s.watch.Stop()
	s.watch = nil
	if s.followWatch != nil {
		s.followWatch.Stop()
		s.followWatch = nil
	}
}

// states maps pidfile's states to the machine's events: package machine does not import pidfile.
var states = [...]machine.Kind{
	pidfile.Present:    machine.Present,
	pidfile.Removed:    machine.Removed,
	pidfile.Rewritten:  machine.Rewritten,
	pidfile.Replaced:   machine.Replaced,
	pidfile.Changed:    machine.Changed,
	pidfile.Unfinished: machine.Unfinished,
	pidfile.Unknown:    machine.Unknown,
}

func (s *leash) look() (pidfile.State, machine.Event) {
	state, err := s.file.Look()
	if state != s.state {
		s.log.Debug("looked", "pidfile", s.plan.PIDFile, "state", state.String())
	} else if s.log.IsTrace() { // asked first: an idle pidleash allocates nothing
		s.log.Trace("looked", "pidfile", s.plan.PIDFile, "state", state.String())
	}
	s.state, s.lookErr = state, err
	if state != pidfile.Removed {
		s.goneSince = time.Time{}
	} else if s.goneSince.IsZero() {
		s.goneSince = time.Now()
	}
	if state == pidfile.Present {
		if err := s.file.Touch(time.Now()); err != nil {
			s.log.Debug(fmt.Sprintf("pidfile %s: cannot be touched: %v", s.plan.PIDFile, err))
		}
	}
	return state, machine.Event{Kind: states[state], Own: s.file.IsProgramsOwn(), Linked: state == pidfile.Removed && s.file.MovedAway()}
}

// name makes the PID file name a successor. The daemon's own file, this one or that of -follow, names it already.
func (s *leash) name(pid int) machine.Event {
	if s.plan.Followed() == s.plan.PIDFile {
		s.file.PID = pid
	} else {
		s.rewrite(pid)
	}
	if s.followWatch != nil {
		s.followWatch.Renew()
	}
	_, e := s.look()
	return e
}

// rewrite writes the PID of the program or of the keeper into the file.
func (s *leash) rewrite(pid int) {
	err := s.file.Restore(pid)
	if !errors.Is(err, pidfile.ErrRemoved) && !errors.Is(err, pidfile.ErrLostRace) { // the next look sees these
		s.warn(err)
	}
	s.renewWatch()
}

func (s *leash) adopt() {
	s.warn(s.file.Adopt())
	s.renewWatch()
}

func (s *leash) remove() {
	if s.file == nil {
		return // no daemon was found, so nothing was published
	}
	state, err := s.file.Remove()
	s.log.Debug("removed", "pidfile", s.plan.PIDFile, "state", state.String())
	s.warn(err)
	if err == nil && (state == pidfile.Changed || state == pidfile.Replaced && s.lock != nil) { // not another start's file
		s.log.Warn(fmt.Sprintf("pidfile %s: left there, it names another PID", s.plan.PIDFile))
	}
}

// release releases the path lock and removes the supervisor's file. If no file was published, it also removes a stale
// one that the daemon has left.
func (s *leash) release() {
	if s.file == nil && s.lock != nil {
		s.warn(pidfile.RemoveStale(s.plan.PIDFile, s.own...))
	}
	s.unlock()
	if s.supervisor != nil {
		_, err := s.supervisor.Remove()
		s.warn(err)
	}
}
