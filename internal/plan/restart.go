package plan

import (
	"syscall"
	"time"
)

// Restart is whether and when a program that has ended is started again. The zero value:
// never.
type Restart struct {
	Policy RestartPolicy
	// Delay comes before the first restart; it doubles up to 30 s, or stays where it is if
	// it is longer.
	Delay time.Duration
	// Limit is how many restarts there may be within Window; 0: any number.
	Limit  int
	Window time.Duration
	// Signal restarts the program when pidleash gets it; 0: none does.
	Signal syscall.Signal
}

// RestartPolicy is after which ends.
type RestartPolicy uint8

const (
	// RestartNo: after none but those that Signal asks for. The default.
	RestartNo RestartPolicy = iota
	// RestartOnFailure: after those that are not clean, see Succeeds.
	RestartOnFailure
	// RestartAlways: after every end of its own.
	RestartAlways
)
