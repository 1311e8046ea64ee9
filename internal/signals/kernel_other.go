//go:build !amd64

package signals

import "syscall"

// Here nobody knows: what the whole process group had reaches the program twice.
func noteOrigins() {}

func tookSent(syscall.Signal) bool { return true }
