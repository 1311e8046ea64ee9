package pidfile

import (
	"os"

	"pidleash/internal/process"
)

// isSelfOrAncestor reports that pid is this process or one that it descends
// from. Such a process cannot be the program of an earlier start: in a
// container the same small numbers come back.
func isSelfOrAncestor(pid int) bool {
	for p := os.Getpid(); p > 0; {
		if p == pid {
			return true
		}
		proc, err := process.Read(p)
		if err != nil {
			return false
		}
		p = proc.Parent
	}
	return false
}

// nameOf returns " (comm)" for messages, or nothing when the process is gone.
func nameOf(pid int) string {
	proc, err := process.Read(pid)
	if err != nil {
		return ""
	}
	return " (" + proc.Comm + ")"
}
