package control

import (
	"path/filepath"
	"time"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
	"pidleash/watch"
)

// Wait returns when the process that the PID file names and its pidleash have ended; or, with running, when
// the file names a running process. The path must be absolute. until is the time limit; zero: none.
//
// To wait for an end, something must be running. With running, neither the file nor its directory need exist
// yet, and a stale file may be replaced.
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
	// Wait for the pidleash first: it may start its program again.
	if !h.Holder.Wait(until) || !h.Program.Wait(until) {
		return timeout(h)
	}
	return nil
}

func waitRunning(path string, until time.Time) error {
	// ".." after a symbolic link is the parent of the link's target, path_resolution(7).
	dir, name := filepath.Split(path)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	hint := make(chan struct{}, 1)
	w := watch.New(filepath.Join(dir, name), hint)
	defer w.Stop()
	var end <-chan time.Time // nil, which blocks for ever, without a limit
	if !until.IsZero() {
		end = time.After(time.Until(until))
	}
	for {
		var late bool
		select {
		case <-hint:
		case <-end:
			late = true
		}
		// Renew first: if the watch moves, it sends another hint.
		w.Renew()
		h := pidfile.Take(path)
		h.Close()
		switch err := refusal(h); {
		case err != nil:
			return err
		case h.Verdict == pidfile.Running:
			return nil
		case late:
			return failure(path, fault.Timeout, "not running: "+h.Reason)
		}
	}
}
