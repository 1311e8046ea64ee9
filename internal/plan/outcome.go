package plan

import (
	"strconv"
	"syscall"
)

// Outcome is how pidleash ends: by a signal, or with an exit code.
type Outcome struct {
	Code   int
	Signal syscall.Signal // 0: with Code
}

// BySignal is an end by a signal. Its code is the one that a shell has for it, and PID 1,
// which no signal can end.
func BySignal(sig syscall.Signal) Outcome { return Outcome{Signal: sig, Code: 128 + int(sig)} }

// OutcomeOf is the program's own end, seen through the options. With removed the program was
// stopped because its file was removed, or a condition failed.
func (p *Plan) OutcomeOf(status syscall.WaitStatus, removed bool) Outcome {
	o := Outcome{Code: status.ExitStatus()}
	if status.Signaled() {
		o = BySignal(status.Signal())
	}
	switch {
	case removed && p.RemovedExit != nil:
		return Outcome{Code: *p.RemovedExit}
	case p.Success[o.Code]:
		return Outcome{}
	}
	return o
}

// ExitCode is a shell's code for an end: 128+N for one by signal N.
func ExitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return BySignal(status.Signal()).Code
	}
	return status.ExitStatus()
}

// IsClean reports an end that systemd does not call a failure, systemd.service(5).
func IsClean(status syscall.WaitStatus) bool {
	switch status.Signal() {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE:
		return true
	}
	return status.ExitStatus() == 0
}

// Succeeds reports an end that is no failure: a clean one, or a code of Success.
func (p *Plan) Succeeds(status syscall.WaitStatus) bool {
	code := ExitCode(status)
	return IsClean(status) || code >= 0 && p.Success[code]
}

// Describe says how a process has ended.
func Describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		core := ""
		if status.CoreDump() {
			core = ", core dumped"
		}
		return "ended by " + SignalName(status.Signal()) + core
	}
	return "ended with code " + strconv.Itoa(status.ExitStatus())
}
