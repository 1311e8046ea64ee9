package wrapper

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"pidleash/internal/process"
)

// runCommand starts the stop command in the program's surroundings, and in a
// process group of its own, so that all of it can be killed.
func (l *loop) runCommand() {
	env := []string{"MAINPID=" + strconv.Itoa(l.pid)}
	for _, entry := range l.cfg.Env {
		if !strings.HasPrefix(entry, "MAINPID=") {
			env = append(env, entry)
		}
	}
	opened, err := l.cfg.open()
	if err != nil {
		l.commandFailed(err)
		return
	}
	defer opened.close()
	pid, err := launch(launchSpec{
		program:     &program{name: shell, candidates: []string{shell}, around: l.cfg},
		args:        []string{shell, "-c", l.cfg.StopCommand},
		env:         env,
		signals:     l.signals,
		deathSignal: syscall.SIGKILL,
		around:      opened,
	})
	if err != nil {
		l.commandFailed(err)
		return
	}
	l.commandPID = pid
	l.noteStranger(pid)
	l.watchChildren()
}

func (l *loop) commandFailed(err error) {
	l.cfg.Log.Warn(fmt.Sprintf("stop command: %v", err))
	l.queue = append(l.queue, event{kind: commandDone})
}

// noteStranger keeps a process of pidleash's own out of what came of the program.
func (l *loop) noteStranger(pid int) {
	if p, err := process.Read(pid); err == nil {
		l.strangers[pid] = p.Start
	}
}

// killCommand also kills what the command has in other groups. What has lost its
// parent before is among the program's descendants.
func (l *loop) killCommand() {
	others, err := descendants(l.commandPID, nil)
	if err != nil {
		l.cfg.Log.Debug(fmt.Sprintf("stop command: %v", err))
	}
	l.cfg.Log.Warn("stop command: killed, it ran longer than the first wait of the stop schedule")
	if err := unix.Kill(-l.commandPID, syscall.SIGKILL); err != nil {
		l.cfg.Log.Warn(fmt.Sprintf("stop command: cannot be killed: %v", err))
	}
	for pid, start := range others {
		killExactly(pid, start, syscall.SIGKILL)
	}
}

// reapCommand waits for a stop command that was killed a moment ago.
func (l *loop) reapCommand() {
	for l.commandPID != 0 {
		if _, err := syscall.Wait4(l.commandPID, nil, 0, nil); err != syscall.EINTR {
			l.commandPID = 0
		}
	}
}
