package control

import (
	"syscall"

	"pidleash/internal/pidfile"
)

// Signal sends a signal to the process that the PID file names, without a CONT. While a pidleash runs no
// program, its file names pidleash, which then gets the signal.
func Signal(path string, sig syscall.Signal) error {
	h := pidfile.Take(path)
	defer h.Close()
	if err := refusal(h); err != nil {
		return err
	}
	if h.Program == nil {
		return absence(h)
	}
	if err := h.Program.Signal(sig); err != nil {
		return unsent(h, err)
	}
	return nil
}
