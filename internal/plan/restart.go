package plan

import (
	"syscall"
	"time"
)

// Restart is whether and when a program that has ended is started again. The zero value: never.
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

// RestartPolicy is after which ends the program is started again.
type RestartPolicy uint8

const (
	// RestartNo: only when Signal asks for it. The default.
	RestartNo RestartPolicy = iota
	// RestartOnFailure: after failures, see Succeeds.
	RestartOnFailure
	// RestartAlways: after every end of the program's own.
	RestartAlways
)
