package wrapper

import "syscall"

// Outcome is how pidleash ends: with an exit code or by a signal.
type Outcome struct {
	Code   int
	Signal syscall.Signal // 0: with Code
}

// bySignal is an end by a signal.
func bySignal(sig syscall.Signal) Outcome { return Outcome{Signal: sig, Code: 128 + int(sig)} }

// exitCode is a shell's code for an end: 128+N for one by signal N.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return bySignal(status.Signal()).Code
	}
	return status.ExitStatus()
}

// outcomeOf is the program's own end, seen through the options.
func outcomeOf(cfg *Config, status syscall.WaitStatus, byRemoval bool) Outcome {
	o := Outcome{Code: status.ExitStatus()}
	if status.Signaled() {
		o = bySignal(status.Signal())
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
