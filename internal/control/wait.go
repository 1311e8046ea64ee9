package control

import (
	"path/filepath"
	"time"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/watch"
)

// Wait returns when what the PID file names has ended, and its pidleash with it; or,
// with running, when the file names a process that runs. Until zero has no limit.
//
// For an end there must be somebody to end; to run, a path may have neither a file
// nor a directory yet, and a stale file may be replaced.
func Wait(path string, until time.Time, running bool) error {
	if running {
		return waitRunning(path, until)
	}
	h := pidfile.Take(path)
	defer h.Close()
	if err := refusal(h); err != nil {
		return err
	}
	if h.Program == nil && h.Holder == nil {
		return absence(h)
	}
	if !gone(h, until) {
		return timeout(h)
	}
	return nil
}

// gone waits until nobody is left. The pidleash comes first: it may start another
// program.
func gone(h *pidfile.Hold, until time.Time) bool {
	return holderGone(h, until) && h.Program.Wait(until)
}

// holderGone waits for the pidleash, and for the one that it has left the program to.
func holderGone(h *pidfile.Hold, until time.Time) bool {
	for h.Holder.Wait(until) {
		if !h.Inherited(isWatchdog) {
			return true
		}
	}
	return false
}

func waitRunning(path string, until time.Time) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return &fault.Error{Object: object(path), Code: codeRefused, Problem: "cannot be found", Err: err}
	}
	// ".." behind a symbolic link is in the directory that it leads to.
	dir, name := filepath.Split(path)
	if real, err := filepath.EvalSymlinks(dir); err == nil && filepath.IsAbs(real) {
		absolute = filepath.Join(real, name)
	}
	w := watch.New(absolute)
	defer w.Stop()
	end := alarm(until)
	for {
		var late bool
		select {
		case <-w.Hints():
		case <-end:
			late = true
		}
		// Before the look: if it watches something else from now on, a hint follows.
		w.Renew()
		h := pidfile.Take(path)
		h.Close()
		switch err := refusal(h); {
		case err != nil:
			return err
		case h.Verdict == pidfile.Running:
			return nil
		case late:
			return &fault.Error{Object: object(path), Code: codeTimeout, Problem: "not running: " + h.Reason}
		}
	}
}

// alarm is nil, which never rings, when there is no limit.
func alarm(until time.Time) <-chan time.Time {
	if until.IsZero() {
		return nil
	}
	return time.After(time.Until(until))
}
