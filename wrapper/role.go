package wrapper

import (
	"os"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/launch"
	"pidleash/internal/pidfile"
	"pidleash/internal/process"
	"pidleash/internal/signals"
	"pidleash/internal/sys"
)

// role is what differs between the kinds of keepers. It is chosen once, when the process starts.
type role struct {
	isParent   bool         // the program is the keeper's child
	onTerminal bool         // the keeper may have a controlling terminal
	setUp      func() error // runs first
	// signals are the received signals that are for the program.
	signals func(*signals.Source) <-chan os.Signal
	// start starts the program with its files and publishes the claim; nil: there is no claim.
	start func(*loop, *launch.Files, *pidfile.Claim) (*process.Held, error)
}

// The foreground is the process that was started. The others are second starts: a supervisor is the program's parent,
// a watchdog is beside it. A signal to the whole unit must not end the watchdog before it has removed the file.
var (
	foreground = role{isParent: true, onTerminal: true, setUp: adoptOrphans, signals: (*signals.Source).C, start: startChild}
	supervisor = role{isParent: true, setUp: adoptOrphans, signals: (*signals.Source).C, start: startChild}
	watchdog   = role{setUp: outlive, signals: noSignals, start: startBeside}
)

func noSignals(*signals.Source) <-chan os.Signal { return nil }

func outlive() error {
	signals.Outlive()
	return nil
}

// adoptOrphans makes this process a subreaper, PR_SET_CHILD_SUBREAPER(2const): it becomes the parent of the
// program's orphaned descendants. PID 1 is that anyway. If a sandbox refuses the call, nobody could stop what a program
// leaves behind. EINVAL is the answer of a kernel before Linux 3.4, and of QEMU's user mode, which have no subreapers.
func adoptOrphans() error {
	err := sys.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1)
	if err == nil || err == unix.EINVAL || os.Getpid() == 1 {
		return nil
	}
	return &fault.Error{Object: "prctl(2)", Problem: "PR_SET_CHILD_SUBREAPER is needed, and was refused", Err: err, Hint: "allow it in the sandbox"}
}
