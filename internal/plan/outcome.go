package plan

import (
	"strconv"
	"syscall"
)

// Outcome is how pidleash ends: by a signal, or with an exit code.
type Outcome struct {
	Code   int
	Signal syscall.Signal // 0: pidleash exits with Code
}

// BySignal is an end by a signal. Its code, 128+N as in a shell, is for PID 1, which no signal can end.
func BySignal(sig syscall.Signal) Outcome { return Outcome{Signal: sig, Code: 128 + int(sig)} }

// OutcomeOf is the program's own end, with Success and RemovedExit applied. removed: the program was stopped
// because its file was removed, or a condition failed.
func (p *Plan) OutcomeOf(status syscall.WaitStatus, removed bool) Outcome {
	switch {
	case removed && p.RemovedExit != nil:
		return Outcome{Code: *p.RemovedExit}
	case p.Success[ExitCode(status)]:
		return Outcome{}
	case status.Signaled():
		return BySignal(status.Signal())
	}
	return Outcome{Code: status.ExitStatus()}
}

// ExitCode is a shell's code for an end: 128+N for death by signal N.
func ExitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return BySignal(status.Signal()).Code
	}
	return status.ExitStatus()
}

// IsClean reports whether systemd calls the end clean, systemd.service(5).
func IsClean(status syscall.WaitStatus) bool {
	switch status.Signal() {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE:
		return true
	}
	return status.ExitStatus() == 0
}

// Succeeds reports whether the end is no failure: it is clean, or Success has its code.
func (p *Plan) Succeeds(status syscall.WaitStatus) bool {
	return IsClean(status) || p.Success[ExitCode(status)]
}

// Describe says in words how a process has ended.
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
