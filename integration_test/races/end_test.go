package races

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

const exited3, byTerm = syscall.WaitStatus(3 << 8), syscall.WaitStatus(syscall.SIGTERM)

// exit has a program exit with 3.
func exit(program int) { _ = syscall.Kill(program, syscall.SIGUSR2) }

// A removal ends it for good, also while the program is just started again.
func TestRestartAgainstRemoval(t *testing.T) { run(t, restartAgainstRemoval) }

func restartAgainstRemoval(r *race) error {
	c := r.start([]mode{restart, daemonRestart}[r.random.IntN(2)])
	defer c.clear()
	program := r.awaitUp(c)
	if program == 0 {
		return errors.New("the start has failed: " + c.describe())
	}
	c.awaitBackground(r)
	var err error
	r.toss(r.span, func() { exit(program) }, func() { err = os.Remove(r.file) })
	if err != nil {
		return fmt.Errorf("there was no file: %w: %s", err, c.describe())
	}
	status := c.wait(r)
	r.ends[bed.Describe(status)]++
	if c.mode.background && status == 0 || !c.mode.background && (status == 0 || status == exited3 || status == byTerm) {
		return nil
	}
	return errors.New(c.describe())
}

// A program that says that it exits with 3 has done so, for whoever waits for pidleash.
func TestRemovalAgainstExit(t *testing.T) { run(t, removalAgainstExit) }

func removalAgainstExit(r *race) error {
	c := r.start(r.anyMode())
	defer c.clear()
	program := r.awaitUp(c)
	if program == 0 {
		return errors.New("the start has failed: " + c.describe())
	}
	r.toss(r.span, func() { exit(program) }, func() { _ = os.Remove(r.file) }) // it may be gone
	err := c.expectEnd(r, syscall.SIGTERM)
	r.ends[fmt.Sprint("exited: ", c.exits())]++
	return err
}

// At whatever moment a TERM comes, nothing is left. The status is the program's, or that of a death by TERM.
func TestTermAtStart(t *testing.T) {
	inEach(t, everyMode(), (*race).termAtStart)
}

func TestTermAtEnd(t *testing.T) { inEach(t, everyMode(), (*race).termAtEnd) }

func everyMode() []mode {
	return slices.Concat([]mode{withoutFile, restart, daemonRestart}, heldModes, modes)
}

// inEach has as many rounds in each mode, in the short form in all of them together.
func inEach(t *testing.T, modes []mode, round func(r *race, m mode) error) {
	if !bed.Long() {
		run(t, func(r *race) error { return round(r, modes[r.random.IntN(len(modes))]) })
		return
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { run(t, func(r *race) error { return round(r, m) }) })
	}
}

func (r *race) termAtStart(m mode) error {
	c := r.start(m)
	defer c.clear()
	r.pause(r.span * 5 / 4)
	c.run.Signal(syscall.SIGTERM)
	status := c.wait(r)
	r.ends[bed.Describe(status)]++
	if c.run.Stderr() != "" {
		return errors.New(c.describe())
	}
	if m.background && status == 0 {
		return os.Remove(r.file)
	}
	if status != byTerm {
		return errors.New(c.describe())
	}
	return nil
}

// termAtEnd sends it to who keeps the program, not to that: a watchdog outlives it.
func (r *race) termAtEnd(m mode) error {
	c := r.start(m)
	defer c.clear()
	program := r.awaitUp(c)
	if program == 0 {
		return errors.New("the start has failed: " + c.describe())
	}
	keeper := c.run.PID()
	if m.background || m.beside {
		c.awaitBackground(r)
		if _, err := fmt.Sscanf(afterLast(r.status(), " "), "%d", &keeper); err != nil {
			return fmt.Errorf("status says %q", r.status())
		}
	}
	r.toss(r.span/2, func() { exit(program) }, func() { _ = syscall.Kill(keeper, syscall.SIGTERM) }) // it may be gone
	err := c.expectEnd(r, syscall.SIGTERM)
	r.ends[fmt.Sprint("exited: ", c.exits())]++
	return err
}
