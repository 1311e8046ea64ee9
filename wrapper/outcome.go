package wrapper

import "syscall"

// Outcome is how pidleash ends: with an exit code or by a signal.
type Outcome struct {
	Code   int
	Signal syscall.Signal // 0: with Code
}

// outcomeOf is the program's own end, seen through the options.
func outcomeOf(cfg *Config, status syscall.WaitStatus, byRemoval bool) Outcome {
	o := Outcome{Code: status.ExitStatus()}
	if status.Signaled() {
		o = Outcome{Signal: status.Signal(), Code: 128 + int(status.Signal())}
	}
	switch {
	case byRemoval && cfg.RemovedExit != nil:
		return Outcome{Code: *cfg.RemovedExit}
	case cfg.Success[o.Code]:
		return Outcome{}
	}
	return o
}

// End ends this process by the outcome's signal, or returns the code to exit
// with: as PID 1, which no signal of its own can end, 128+N for signal N.
func (o Outcome) End() int {
	if o.Signal != 0 {
		die(o.Signal)
	}
	return o.Code
}
