// Package wrapper runs a program on the leash of its PID file. It is the only
// package that spawns, signals and waits.
//
// What Run does, in this order:
//
//  1. It looks for the program, and claims the PID file (package pidfile).
//  2. It starts the program; the PID file is published in between fork and exec.
//  3. It watches the file (package watch), forwards signals, and reaps every
//     child that falls to it, as PID 1 or as subreaper.
//  4. When the file is gone it stops the program by the schedule.
//  5. When the program has ended it stops the watch, removes the file, releases
//     the lock and returns.
//
// One goroutine owns the child: it alone spawns, signals and waits, so that no
// PID can be recycled between the decision to signal it and the signal. The
// others only send. What is to be done is decided by the machine in machine.go.
package wrapper

import (
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/atstart"
)

// Config says what to run and how. Args and Env are required.
type Config struct {
	// Args has the program, a path or a name for PATH, and its arguments.
	Args []string
	// Env is the program's whole environment, "NAME=value".
	Env []string
	// PIDFile is the absolute path of the PID file. Empty: none.
	PIDFile string
	// Settle is how long a removal must last to count; 0 decides at the first
	// look.
	Settle time.Duration
	// Stop is how the program is stopped when its file is removed.
	Stop Schedule
	// Success has the exit codes that become 0; 128+N is death by signal N too.
	Success [256]bool
	// RemovedExit is the code to end with when the program was stopped because
	// the file was removed; nil: as the program ended.
	RemovedExit *int
	// DeathSignal is sent to the program when pidleash dies; 0: none.
	DeathSignal syscall.Signal
	// SameGroup leaves the program in pidleash's process group.
	SameGroup bool
	// KillMode is whom forwarded signals and those of Stop reach.
	KillMode KillMode
	// Rewrite has what is sent instead of a forwarded signal; 0: nothing.
	Rewrite map[syscall.Signal]syscall.Signal
	// Ignored has the signals that the program starts with ignored; nil: as
	// pidleash was started.
	Ignored *atstart.SignalSet
	// StopCommand is run by /bin/sh before Stop begins, with the program's PID in
	// $MAINPID. Empty: none.
	StopCommand string
	// Mode is whether pidleash stays, and where.
	Mode Mode
	// CommandLine has pidleash's own arguments, without its name: a watchdog is
	// started with the same. Required in the modes Daemon and Sidecar.
	CommandLine []string
	// Supervisor is the absolute path of the file for pidleash's own PID, or the
	// watchdog's. Empty: none.
	Supervisor string
	// Forking: the program turns itself into a daemon.
	Forking bool
	// Follow is the absolute path of the daemon's own PID file; empty: PIDFile, if
	// the daemon writes that.
	Follow string
	// Ready is when the program counts as up.
	Ready Ready
	// ReadyFiles are logs of the program beside Stdout and Stderr.
	ReadyFiles []string
	// StartLimit is how long the program may take to come up; 0: for ever.
	StartLimit time.Duration
	// Restart is whether the program is started again when it has ended.
	Restart Restart
	// While has the absolute paths of files that must exist, WhileRunning those of
	// other programs' PID files, which must run: else the program is stopped. It is
	// not started before.
	While, WhileRunning []string
	// WhileLimit is how long they may be waited for; 0: for ever.
	WhileLimit time.Duration
	// Surroundings are the program's.
	Surroundings
	// Explain tells the remedy for an error, if there is one, and the code to exit
	// with. Required in the mode Daemon.
	Explain func(error) (hint string, code int)
	// Log takes the messages; none is written to standard output. Required.
	Log hclog.Logger
}

// Mode is where pidleash is while the program runs.
type Mode uint8

const (
	// Child: the program is pidleash's child. The default.
	Child Mode = iota
	// Daemon: the program is in the background, and a watchdog beside it.
	Daemon
	// Sidecar: the program has the process in which pidleash was started, and the
	// watchdog is beside it.
	Sidecar
)
