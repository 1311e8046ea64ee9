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
	"github.com/hashicorp/go-hclog"

	"pidleash/internal/plan"
)

// Config is a plan and whom to tell of it.
type Config struct {
	plan.Plan
	// dirAsFound: Dir is where pidleash was started. The program need not have the right to
	// enter it.
	dirAsFound bool
	// Log takes the messages; none is written to standard output. Required.
	Log hclog.Logger
}
