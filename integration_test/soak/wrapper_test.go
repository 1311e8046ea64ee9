package soak

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pidleash/integration_test/bed"
)

// state is what is so when nothing happens.
type state int

const (
	absent  state = iota
	running       // PROGRAM runs
	halted        // it is stopped, as by SIGSTOP
	waiting       // no PROGRAM runs
)

// wrapper is one pidleash after the other on one file. All but model is for the goroutine of live.
type wrapper struct {
	*soak
	kind   kind
	steady bool // the first one lives to the end, which is the last event
	last   bool
	dir    string
	file   string
	second string // the file of -supervisor-pidfile
	gate   string
	guide  *exec.Cmd // the program that the gate names, if it names one
	log    string
	random *rand.Rand

	state   state
	cmd     *exec.Cmd
	done    chan struct{}
	keeper  int
	program int

	model   atomic.Pointer[model] // nil while something happens
	figures []figures
}

// model is what status has to say.
type model struct {
	code int
	text []string // parts of the line
}

// compare asks.
func (m *model) compare(file string) error {
	line, code := command("status", file)
	for _, part := range m.text {
		if code != m.code || !strings.Contains(line, part) {
			return fmt.Errorf("status says %d, %q; want %d, %q", code, line, m.code, m.text)
		}
	}
	return nil
}

// command runs pidleash and returns what it says, and its exit code.
func command(words ...string) (out string, code int) {
	cmd := exec.Command(bed.Pidleash, words...)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.ExitCode()
}

// live has one event happen after the other, then ends all.
func (w *wrapper) live() error {
	for time.Since(w.begin) < w.whole {
		if err := w.happen(w.pick()); err != nil {
			return err
		}
		time.Sleep(time.Duration(w.random.Int64N(int64(2 * w.pause)))) // only the moment is random
	}
	defer w.endGuide()
	if w.state == absent {
		return nil
	}
	w.last = true
	end := (*wrapper).remove
	if w.kind.bare {
		end = (*wrapper).endBare
	}
	return w.happen(&event{name: "the end", do: end})
}

func (w *wrapper) happen(e *event) error {
	w.model.Store(nil)
	before := w.state
	if err := e.do(w); err != nil {
		return fmt.Errorf("%s, in state %d: %w", e.name, before, err)
	}
	w.count(e.name)
	if err := w.ask(); err != nil {
		return fmt.Errorf("after %s, in state %d: %w", e.name, before, err)
	}
	if w.state == absent || !w.steady || w.last {
		return nil
	}
	return w.measure()
}

// ask has the answers compared, now and at any time until the next event.
func (w *wrapper) ask() error {
	if w.kind.bare {
		return nil
	}
	now := w.expected()
	w.model.Store(now)
	if err := now.compare(w.file); err != nil || !w.kind.second || w.state == absent {
		return err
	}
	second := &model{0, []string{fmt.Sprintf(": running, PID %d (pidleash", w.keeper)}}
	return second.compare(w.second)
}

func (w *wrapper) expected() *model {
	switch w.state {
	case absent:
		return &model{3, []string{w.file + ": not running: no such file\n"}}
	case waiting:
		return &model{0, []string{fmt.Sprintf(": running, PID %d (", w.keeper), ", held by itself"}}
	}
	return &model{0, []string{fmt.Sprintf(": running, PID %d (soak), ", w.program), fmt.Sprintf(", held by pidleash PID %d\n", w.keeper)}}
}

// said is the end of what it has written.
func (w *wrapper) said() string {
	text, _ := os.ReadFile(w.log)
	return string(text[max(0, len(text)-2000):])
}

// start returns when PROGRAM runs.
func (w *wrapper) start() error {
	if w.kind.gated {
		if err := w.renew(); err != nil {
			return err
		}
	}
	if err := w.launch(); err != nil {
		return err
	}
	if err := w.isUp(0); err != nil {
		return err
	}
	if w.kind.background {
		if err := w.ended(exited(0)); err != nil {
			return err
		}
	}
	return w.findKeeper()
}

// startWaiting returns when pidleash waits for the file of -while.
func (w *wrapper) startWaiting() error {
	_ = os.Remove(w.gate) // there may be none
	if err := w.launch(); err != nil {
		return err
	}
	if !bed.Poll(func() bool {
		text, _ := os.ReadFile(w.file)
		return strings.TrimSuffix(string(text), "\n") == strconv.Itoa(w.keeper)
	}) {
		return errors.New("the PID file does not name pidleash")
	}
	w.state = waiting
	return nil
}

func (w *wrapper) launch() error {
	log, err := os.Create(w.log)
	if err != nil {
		return err
	}
	defer log.Close()
	var words []string
	if !w.kind.bare {
		words = []string{"-pidfile", w.file}
	}
	for _, option := range w.kind.options {
		words = append(words, strings.NewReplacer("GATE", w.gate, "SECOND", w.second).Replace(option))
	}
	words = append(words, w.soak.program)
	if w.kind.forks {
		words = append(words, "daemon")
	}
	w.cmd, w.done = exec.Command(bed.Pidleash, words...), make(chan struct{})
	w.cmd.Env = append(os.Environ(), string(w.mark))
	w.cmd.Stderr = log
	if err := w.cmd.Start(); err != nil {
		return err
	}
	w.keeper = w.cmd.Process.Pid
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // the state says it
		close(done)
	}(w.cmd, w.done)
	return nil
}

// isUp returns when PROGRAM runs, and is not the former one.
func (w *wrapper) isUp(former int) error {
	if !bed.Poll(func() bool {
		w.program = w.named()
		return w.program != 0 && w.program != former && bed.Catches(w.program, syscall.SIGUSR2)
	}) {
		return errors.New("PROGRAM is not up")
	}
	w.state = running
	return nil
}

// named is the PROGRAM of the PID file, or the only child where there is none; 0: nobody yet.
func (w *wrapper) named() int {
	if w.kind.bare {
		children := bed.ChildPIDs(w.keeper)
		return append(children, 0)[0]
	}
	text, _ := os.ReadFile(w.file)
	pid, _ := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	return pid
}

// findKeeper asks who holds the file, where it is not the process that was started.
func (w *wrapper) findKeeper() error {
	if !w.kind.background && !w.kind.beside {
		return nil
	}
	line, _ := command("status", w.file)
	_, holder, _ := strings.Cut(line, ", held by pidleash PID ")
	pid, err := strconv.Atoi(strings.TrimSuffix(holder, "\n"))
	if err != nil {
		return fmt.Errorf("status says %q", line)
	}
	w.keeper = pid
	return nil
}

func exited(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }

const byTERM = syscall.WaitStatus(syscall.SIGTERM)

// ended waits for the end of the process that was started.
func (w *wrapper) ended(want syscall.WaitStatus) error {
	select {
	case <-w.done:
	case <-time.After(bed.Patience):
		return errors.New("the process that was started has not ended")
	}
	if status := w.cmd.ProcessState.Sys().(syscall.WaitStatus); status != want {
		return fmt.Errorf("it ended by %s, want %s", bed.Describe(status), bed.Describe(want))
	}
	return nil
}

// over waits until nothing is left.
func (w *wrapper) over(want syscall.WaitStatus) error {
	if !w.kind.background {
		if err := w.ended(want); err != nil {
			return err
		}
	}
	if !bed.Poll(func() bool {
		return bed.Gone(w.keeper) && (w.state == waiting || bed.Gone(w.program)) && bed.IsEmpty(w.dir)
	}) {
		return errors.New("something is left")
	}
	w.state, w.keeper, w.program = absent, 0, 0
	return nil
}
