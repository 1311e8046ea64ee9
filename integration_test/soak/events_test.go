package soak

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"pidleash/integration_test/bed"
)

// event is what happens to a wrapper in some states. What ends it happens to none that is steady.
type event struct {
	name   string
	in     []state
	ends   bool
	only   func(k kind) bool // nil: all
	weight int
	do     func(w *wrapper) error
}

var events = []event{
	{name: "start", in: []state{absent}, do: (*wrapper).start},
	{name: "another start", in: []state{running, halted, waiting}, only: hasFile, do: (*wrapper).startAgain},
	{name: "USR1", in: []state{running}, do: forward(syscall.SIGUSR1)},
	{name: "HUP", in: []state{running}, do: forward(syscall.SIGHUP)},
	{name: "STOP of PROGRAM", in: []state{running}, do: (*wrapper).halt},
	{name: "CONT of PROGRAM", in: []state{halted}, weight: 5, do: (*wrapper).goOn},
	{name: "exit of PROGRAM, restarted", in: []state{running}, only: restarts, weight: 6, do: again(toProgram, syscall.SIGUSR2)},
	{name: "KILL of PROGRAM, restarted", in: []state{running}, only: restarts, do: again(toProgram, syscall.SIGKILL)},
	{name: "-restart-signal", in: []state{running}, only: restarts, do: again(toKeeper, syscall.SIGALRM)},
	{name: "start before its -while holds", in: []state{absent}, only: func(k kind) bool { return k.gated && !k.background }, do: (*wrapper).startWaiting},
	{name: "-while holds", in: []state{waiting}, weight: 3, do: (*wrapper).open},
	{name: "another file for -while", in: []state{running, halted}, only: isGated, do: (*wrapper).renew},
	{name: "-while fails", in: []state{running, halted}, ends: true, only: isGated, weight: 3, do: (*wrapper).shut},
	{name: "the program of -while-running ends", in: []state{running, halted}, ends: true, only: func(k kind) bool { return k.guided }, do: (*wrapper).leaveGuide},
	{name: "rm", in: []state{running, halted, waiting}, ends: true, only: hasFile, do: (*wrapper).remove},
	{name: "stop", in: []state{running, halted, waiting}, ends: true, only: hasFile, do: (*wrapper).stop},
	{name: "TERM", in: []state{running, waiting}, ends: true, do: (*wrapper).term},
	{name: "exit of PROGRAM", in: []state{running}, ends: true, only: func(k kind) bool { return !k.restarts }, do: (*wrapper).exit},
}

func restarts(k kind) bool { return k.restarts }
func isGated(k kind) bool  { return k.gated }
func hasFile(k kind) bool  { return !k.bare }

// pick draws one of those that can happen now.
func (w *wrapper) pick() *event {
	var can []*event
	for i := range events {
		e := &events[i]
		for _, in := range e.in {
			if in == w.state && !(e.ends && w.steady) && (e.only == nil || e.only(w.kind)) {
				for range max(1, e.weight) {
					can = append(can, e)
				}
			}
		}
	}
	return can[w.random.IntN(len(can))]
}

func toProgram(w *wrapper) int { return w.program }
func toKeeper(w *wrapper) int  { return w.keeper }

// forward sends a signal to PROGRAM, through pidleash where it forwards.
func forward(sig syscall.Signal) func(w *wrapper) error {
	return func(w *wrapper) error {
		if !w.kind.beside {
			return syscall.Kill(w.keeper, sig)
		}
		if out, code := command("signal", strconv.Itoa(int(sig)), w.file); code != 0 {
			return fmt.Errorf("signal says %d, %q", code, out)
		}
		return nil
	}
}

// again sends a signal after which another PROGRAM comes.
func again(to func(*wrapper) int, sig syscall.Signal) func(w *wrapper) error {
	return func(w *wrapper) error {
		former := w.program
		if err := syscall.Kill(to(w), sig); err != nil {
			return err
		}
		return w.isUp(former)
	}
}

// startAgain is refused.
func (w *wrapper) startAgain() error {
	if out, code := command("-pidfile", w.file, "true"); code != 120 {
		return fmt.Errorf("another start ends with %d: %s", code, out)
	}
	return nil
}

func (w *wrapper) halt() error {
	if err := syscall.Kill(w.program, syscall.SIGSTOP); err != nil {
		return err
	}
	if !bed.Poll(func() bool { return bed.ProcessState(w.program) == "T" }) {
		return errors.New("PROGRAM is not stopped")
	}
	w.state = halted
	return nil
}

func (w *wrapper) goOn() error {
	if err := syscall.Kill(w.program, syscall.SIGCONT); err != nil {
		return err
	}
	if !bed.Poll(func() bool { return bed.ProcessState(w.program) == "S" }) {
		return errors.New("PROGRAM does not go on")
	}
	w.state = running
	return nil
}

// shut takes the file of -while away.
func (w *wrapper) shut() error {
	if err := os.Remove(w.gate); err != nil {
		return err
	}
	return w.over(byTERM)
}

func (w *wrapper) open() error {
	if err := w.renew(); err != nil {
		return err
	}
	return w.isUp(w.keeper)
}

// renew puts another file in its place: there is one at every moment.
func (w *wrapper) renew() error {
	text, err := w.guideText()
	if err == nil {
		err = os.WriteFile(w.gate+".new", []byte(text), 0o644)
	}
	if err != nil {
		return err
	}
	return os.Rename(w.gate+".new", w.gate)
}

// guideText is what the gate says: nothing, or the PID of a program that runs.
func (w *wrapper) guideText() (string, error) {
	if !w.kind.guided {
		return "", nil
	}
	if w.guide == nil {
		w.guide = exec.Command(w.soak.program)
		w.guide.Env = append(os.Environ(), string(w.mark))
		if err := w.guide.Start(); err != nil {
			return "", err
		}
	}
	return fmt.Sprintln(w.guide.Process.Pid), nil
}

func (w *wrapper) endGuide() {
	if w.guide != nil {
		_ = w.guide.Process.Kill()
		_ = w.guide.Wait()
		w.guide = nil
	}
}

// leaveGuide has the file of -while-running name a program that has ended.
func (w *wrapper) leaveGuide() error {
	w.endGuide()
	return w.over(byTERM)
}

// removedEnd is how it ends when its file is removed.
func (w *wrapper) removedEnd() syscall.WaitStatus {
	if w.state == waiting {
		return exited(0)
	}
	return byTERM
}

func (w *wrapper) remove() error {
	end := w.removedEnd()
	if err := os.Remove(w.file); err != nil {
		return err
	}
	return w.over(end)
}

// stop returns when nothing is left that could be in the way of a start.
func (w *wrapper) stop() error {
	end := w.removedEnd()
	if out, code := command("stop", w.file); code != 0 {
		return fmt.Errorf("stop says %d, %q", code, out)
	}
	if !bed.IsEmpty(w.dir) || w.state != waiting && !bed.Ended(w.program) {
		return errors.New("stop has returned too early")
	}
	return w.over(end)
}

func (w *wrapper) term() error {
	to := toKeeper
	if w.kind.beside {
		to = toProgram
	}
	if err := syscall.Kill(to(w), syscall.SIGTERM); err != nil {
		return err
	}
	return w.over(byTERM)
}

// endBare ends one that has no file to remove.
func (w *wrapper) endBare() error {
	if w.state == halted {
		if err := w.goOn(); err != nil {
			return err
		}
	}
	return w.term()
}

func (w *wrapper) exit() error {
	if err := syscall.Kill(w.program, syscall.SIGUSR2); err != nil {
		return err
	}
	return w.over(exited(3))
}
