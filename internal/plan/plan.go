// Package plan is what was asked for, as data: which program to run, on the leash of which
// PID file, and how it is stopped, started again, and known to be up. It reads and prints
// the values of options, and knows what their combination means for the exit code.
//
// It makes no system call, and it does not know where an option came from.
package plan

import (
	"syscall"
	"time"
)

// Plan says what to run and how. Args and Env are required. The zero value of every other
// field is "none" or "no". All paths are absolute.
type Plan struct {
	// Args has the program, a path or a name for PATH, and its arguments.
	Args []string
	// Env is the program's whole environment, "NAME=value".
	Env []string
	// CommandLine has pidleash's own arguments, without its name: a keeper in the
	// background is started with the same.
	CommandLine []string
	// Way is where the program runs, and where pidleash does.
	Way Way

	// PIDFile is where the program's PID goes.
	PIDFile string
	// Supervisor is where the PID of the keeper goes, which is the pidleash that stays.
	Supervisor string
	// Settle is how long a removal must last to count; 0 decides at the first look.
	Settle time.Duration

	// Stop is how the program is stopped when its file is removed.
	Stop Schedule
	// StopCommand is run by /bin/sh before Stop begins, with the program's PID in $MAINPID.
	StopCommand string
	// KillMode is whom forwarded signals and those of Stop reach.
	KillMode KillMode
	// DeathSignal is sent to the program when pidleash dies.
	DeathSignal syscall.Signal
	// SameGroup leaves the program in pidleash's process group.
	SameGroup bool
	// Rewrite has what is sent instead of a forwarded signal; 0: nothing.
	Rewrite map[syscall.Signal]syscall.Signal
	// Ignored has the signals that the program starts with ignored; nil: as pidleash was
	// started, empty: none.
	Ignored []syscall.Signal

	// Success has the exit codes that become 0; 128+N is death by signal N too.
	Success [256]bool
	// RemovedExit is the code to end with when the program was stopped because the file
	// was removed; nil: as the program ended.
	RemovedExit *int

	// Restart is whether the program is started again when it has ended.
	Restart Restart
	// While has the files that must exist, WhileRunning other programs' PID files, whose
	// programs must run: else the program is stopped. It is not started before.
	While, WhileRunning []string
	// WhileLimit is how long they may be waited for; 0: for ever.
	WhileLimit time.Duration

	// Forking: the program turns itself into a daemon.
	Forking bool
	// Follow is the daemon's own PID file; empty: PIDFile, if the daemon writes that.
	Follow string
	// Ready is when the program counts as up.
	Ready Ready
	// ReadyFiles are logs of the program beside Stdout and Stderr.
	ReadyFiles []string
	// StartLimit is how long the program may take to come up; 0: for ever.
	StartLimit time.Duration

	Context
}

// Way is where the program runs, and where pidleash does.
type Way uint8

const (
	// Foreground: the program is the child of the process that was started. The default.
	Foreground Way = iota
	// Daemon: the program is in the background, and so is its keeper.
	Daemon
	// Sidecar: the program has the process that was started, and the keeper is beside it.
	Sidecar
)

// The names under which a keeper in the background is started, its argument 0: one beside the
// program, and one that is the program's parent.
const (
	WatchdogName   = "pidleash-watchdog"
	SupervisorName = "pidleash-supervisor"
)

// KillMode says whom forwarded signals and those of the schedule reach.
type KillMode uint8

const (
	// KillMixed: the program; and when pidleash has stopped it, what is left of its
	// descendants gets the schedule too. The default.
	KillMixed KillMode = iota
	// KillProcess: the program only, always.
	KillProcess
	// KillGroup: its process group.
	KillGroup
	// KillTree: every descendant, those in other groups and sessions too; what is left
	// after the program's end gets the schedule in any case.
	KillTree
)

// Context is what the program finds itself in, as systemd.exec(5) calls it. The zero value:
// as pidleash itself.
type Context struct {
	// Stdout and Stderr are files that the program's output is appended to, created with
	// mode 0640. Empty: as found.
	Stdout, Stderr string
	// Dir is the working directory. Empty: as found.
	Dir string
	// Umask is that of umask(2); nil: as found.
	Umask *uint32
	// User is who the program runs as; nil: as found.
	User *User
	// Nice is the priority, -20 to 19, setpriority(2); nil: as found.
	Nice *int
	// OOMScoreAdj is -1000 to 1000, proc_pid_oom_score_adj(5); nil: as found.
	OOMScoreAdj *int
}

// User is an identity, credentials(7).
type User struct {
	Name     string // for messages
	UID, GID uint32
	Groups   []uint32 // all the supplementary ones
}

// Stays reports that pidleash has to be the program's parent to the end: it may start it
// again.
func (p *Plan) Stays() bool {
	return p.Restart.Policy != RestartNo || p.Restart.Signal != 0 || p.Conditional()
}

// Conditional reports that the program runs only while conditions hold.
func (p *Plan) Conditional() bool { return len(p.While)+len(p.WhileRunning) > 0 }

// Beside reports that the program is not the keeper's child.
func (p *Plan) Beside() bool { return p.Way != Foreground && !p.Stays() }

// Followed is the file that a daemon writes its PID to, if any is known.
func (p *Plan) Followed() string {
	if p.Follow != "" {
		return p.Follow
	}
	return p.PIDFile
}
