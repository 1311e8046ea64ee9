// Package least is the least that a wrapper in Go can be.
package least

import (
	"os"
	"os/signal"
	"syscall"
)

// Wrap starts the words, forwards USR1, waits, and exits. before is called just before the start, and after with the PID;
// nil: nothing is.
func Wrap(words []string, before func(), after func(pid int)) {
	sent := make(chan os.Signal, 8)
	signal.Notify(sent, syscall.SIGUSR1)
	if before != nil {
		before()
	}
	pid, err := syscall.ForkExec(words[0], words, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2, 3}})
	if err != nil {
		os.Exit(127)
	}
	if after != nil {
		after(pid)
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
