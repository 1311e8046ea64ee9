// Package least is the least that a wrapper in Go can be.
package least

import (
	"os"
	"os/signal"
	"syscall"
)

// Wrap starts the arguments, forwards USR1, waits, and exits.
func Wrap() {
	sent := make(chan os.Signal, 8)
	signal.Notify(sent, syscall.SIGUSR1)
	pid, err := syscall.ForkExec(os.Args[1], os.Args[1:], &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2, 3}})
	if err != nil {
		os.Exit(127)
	}
	go func() {
		for s := range sent {
			_ = syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			os.Exit(status.ExitStatus())
		}
	}
}
