// Package plan is what was asked for, as data: which program to run, with which PID file, and how it is
// stopped, restarted, and known to be up. It parses and prints option values, and computes the exit code.
//
// It makes no system call, and does not know where an option came from.
package plan

import (
	"cmp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Plan says what to run and how. Args and Env are required. The zero value of every other field is "none" or
// "no". All paths are absolute.
type Plan struct {
	// Args has the program, a path or a name for PATH, and its arguments.
	Args []string
	// Env is the program's whole environment, "NAME=value".
	Env []string
	// CommandLine has pidleash's own arguments, without argument 0. A keeper in the background gets the same.
	CommandLine []string
	// Way is where the program and pidleash run.
	Way Way

	// PIDFile is where the program's PID goes.
	PIDFile string
	// Supervisor is where the keeper's own PID goes.
	Supervisor string
	// Settle is how long a removal must last to count; 0 decides at the first look.
	Settle time.Duration
	// OwnSettle is the same for a file that a daemon has written itself.
	OwnSettle time.Duration

	// Stop is how the program is stopped when its file is removed.
	Stop Schedule
	// StopCommand is run by /bin/sh before Stop begins, with the program's PID in $MAINPID.
	StopCommand string
	// KillMode is which processes forwarded signals and those of Stop reach.
	KillMode KillMode
	// DeathSignal is sent to the program when pidleash dies.
	DeathSignal syscall.Signal
	// SameGroup leaves the program in pidleash's process group.
	SameGroup bool
	// Rewrite maps a received signal to the one that is forwarded; 0: none.
	Rewrite map[syscall.Signal]syscall.Signal
	// Drain is how long a TERM is kept before it is forwarded.
	Drain time.Duration
	// WaitAll: a run lasts until all descendants of the program have ended, too.
	WaitAll bool
	// Ignored has the signals that the program ignores from its start. nil: as found; empty: none.
	Ignored []syscall.Signal

	// Success has the exit codes that become 0; 128+N also stands for death by signal N.
	Success [256]bool
	// RemovedExit is the exit code after a stop because the file was removed; nil: as the program ended.
	RemovedExit *int

	// Restart is whether and when the program is started again.
	Restart Restart
	// While has files that must exist, WhileRunning PID files whose programs must run. The program is started
	// only when all of these conditions hold, and stopped when one fails.
	While, WhileRunning []string
	// WhileLimit is how long to wait for the conditions at the first start; 0: for ever.
	WhileLimit time.Duration

	// Forking: the program turns itself into a daemon.
	Forking bool
	// Follow is the daemon's own PID file; empty: PIDFile, if the daemon writes it.
	Follow string
	// Ready is when the program counts as up.
	Ready Ready
	// ReadyFiles are logs of the program beside Stdout and Stderr.
	ReadyFiles []string
	// StartLimit is how long the program may take to come up; 0: for ever.
	StartLimit time.Duration

	Context
}

// Way is where the program and pidleash run.
type Way uint8

const (
	// Foreground: the program is the child of the process that was started. The default.
	Foreground Way = iota
	// Daemon: the program and its keeper are in the background.
	Daemon
	// Sidecar: the started process becomes the program, and the keeper runs beside it.
	Sidecar
)

// Argument 0 of a second start of the binary. A watchdog is a keeper beside the program, a supervisor one that
// is its parent, a starter is the parent of a program that becomes a daemon, until that is up.
const (
	WatchdogName   = "pidleash-watchdog"
	SupervisorName = "pidleash-supervisor"
	StarterName    = "pidleash-starter"
)

// KillMode is which processes forwarded signals and those of the schedule reach.
type KillMode uint8

const (
	// KillMixed: the program first. After a stop by pidleash, descendants that are left get the schedule, too.
	// The default.
	KillMixed KillMode = iota
	// KillProcess: the program only, always.
	KillProcess
	// KillGroup: its process group.
	KillGroup
	// KillTree: every descendant, also in other groups and sessions. Descendants that are left after the
	// program's end always get the schedule.
	KillTree
)

// Restart says after which ends, and when, the program is started again. The zero value: never.
type Restart struct {
	Policy RestartPolicy
	// Delay is the wait before the first restart. It doubles up to 30 s; a longer one stays as it is.
	Delay time.Duration
	// Limit is how many restarts there may be within Window; 0: any number.
	Limit  int
	Window time.Duration
	// Signal makes pidleash restart the program; 0: none does.
	Signal syscall.Signal
}

// RestartPolicy says after which ends the program is started again.
type RestartPolicy uint8

const (
	// RestartNo: only when Signal asks for it. The default.
	RestartNo RestartPolicy = iota
	// RestartOnFailure: after failures, see Succeeds.
	RestartOnFailure
	// RestartAlways: after every end of the program's own.
	RestartAlways
)

// Context is the program's execution context, as in systemd.exec(5). The zero value: as found by pidleash.
type Context struct {
	// Stdout and Stderr are files to append the program's output to, created with mode 0640. Empty: as found.
	Stdout, Stderr string
	// Dir is the working directory. Empty: as found. DirAsFound: pidleash began in it, and enters it with its rights.
	Dir        string
	DirAsFound bool
	// Umask is the file mode creation mask, umask(2); nil: as found.
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
	Groups   []uint32 // all supplementary groups
}

// Stays reports whether pidleash must stay the program's parent, because it may start the program again.
func (p *Plan) Stays() bool {
	return p.Restart.Policy != RestartNo || p.Restart.Signal != 0 || p.Conditional()
}

// Conditional reports whether the program has conditions.
func (p *Plan) Conditional() bool { return len(p.While)+len(p.WhileRunning) > 0 }

// Beside reports whether the keeper runs beside the program, which is not its child.
func (p *Plan) Beside() bool { return p.Way != Foreground && !p.Stays() }

// WritesFile reports that the program was told to write its PID to Followed: by -follow, or because its words name
// the PID file.
func (p *Plan) WritesFile() bool {
	return p.Follow != "" || p.PIDFile != "" && slices.ContainsFunc(p.Args, p.namesFile)
}

// namesFile reports that a word has the path of the PID file in it, as "--pidfile=/run/app.pid" has.
func (p *Plan) namesFile(word string) bool {
	_, behind, found := strings.Cut(word, p.PIDFile)
	return found && (behind == "" || strings.ContainsAny(behind[:1], " \t\n;,:'\""))
}

// Followed is the file that a daemon may write its PID to; empty: none is known.
func (p *Plan) Followed() string { return cmp.Or(p.Follow, p.PIDFile) }
