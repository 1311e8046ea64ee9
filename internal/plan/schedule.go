package plan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Schedule is how pidleash stops the program: signals and waits in turn. The last step has no time limit.
type Schedule []Step

// Step is one item of a Schedule; exactly one field is set.
type Step struct {
	Signal  syscall.Signal
	Wait    time.Duration
	Forever bool
}

// DefaultSchedule is what service managers do, with a wait that is enough for most programs.
const DefaultSchedule = "TERM/10s/KILL"

// ParseSchedule reads the form that start-stop-daemon(8) has for --retry, with units: "INT/5s/TERM/10s/KILL".
// A bare number is a wait in seconds, "-9" a signal's number, "forever" a wait without end.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	hasSignal := false
	for i, item := range strings.Split(text, "/") {
		step, err := parseStep(item)
		if err != nil {
			return nil, err
		}
		if i > 0 && (step.Signal != 0) == (s[i-1].Signal != 0) {
			return nil, fmt.Errorf("%q follows an item of the same kind: signals and waits take turns", item)
		}
		if i > 0 && s[i-1].Forever {
			return nil, fmt.Errorf("%q comes after forever", item)
		}
		hasSignal = hasSignal || step.Signal != 0
		s = append(s, step)
	}
	if !hasSignal {
		return nil, errors.New("it has no signal")
	}
	return s, nil
}

func parseStep(item string) (Step, error) {
	if item == "" {
		return Step{}, errors.New("it has an empty item")
	}
	if strings.EqualFold(item, "forever") {
		return Step{Forever: true}, nil
	}
	if item[0] >= '0' && item[0] <= '9' {
		wait, err := parseWait(item)
		return Step{Wait: wait}, err
	}
	sig, err := ParseSignal(strings.TrimPrefix(item, "-"))
	return Step{Signal: sig}, err
}

func parseWait(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, fmt.Errorf("invalid duration %q", text)
	}
	return wait, nil
}

// NeedsCont reports whether a stopped program acts on the signal only when it is continued, signal(7).
func NeedsCont(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCONT:
		return false
	}
	return true
}

// FirstWait is the schedule's first limited wait; 0: none.
func (s Schedule) FirstWait() time.Duration {
	for _, step := range s {
		if step.Wait > 0 {
			return step.Wait
		}
	}
	return 0
}

// Cursor is a place in a schedule that is being carried out. The zero value is the end of an empty schedule.
type Cursor struct {
	rest Schedule       // the next step and those after it
	due  time.Time      // when the next step is due; zero: at once
	last syscall.Signal // the last signal that was due; 0: none
}

// Begin is the place before the first item.
func (s Schedule) Begin() Cursor { return Cursor{rest: s} }

// After is the place after sig, as if the schedule had sent it at that time: the next wait counts from then.
// If the schedule does not have the signal, it is the beginning.
func (s Schedule) After(sig syscall.Signal, sent time.Time) Cursor {
	for i, step := range s {
		if sig != 0 && step.Signal == sig {
			c := Cursor{rest: s[i+1:], last: sig}
			c.wait(sent)
			return c
		}
	}
	return s.Begin()
}

// Step returns the signals that are due by now, in order. Call it again at Due.
func (c *Cursor) Step(now time.Time) (signals []syscall.Signal) {
	for !c.atEnd() && !now.Before(c.due) {
		if sig := c.rest[0].Signal; sig != 0 {
			c.last, c.rest = sig, c.rest[1:]
			signals = append(signals, sig)
		}
		c.wait(now)
	}
	return signals
}

// wait begins the next step if it is a wait.
func (c *Cursor) wait(from time.Time) {
	c.due = time.Time{}
	if !c.atEnd() && c.rest[0].Signal == 0 {
		c.due = from.Add(c.rest[0].Wait)
		c.rest = c.rest[1:]
	}
}

// atEnd reports whether no further signal will be due.
func (c *Cursor) atEnd() bool { return len(c.rest) == 0 || c.rest[0].Forever }

// Due is when the next signal is due; zero: at once, or none is left.
func (c *Cursor) Due() time.Time {
	if c.atEnd() {
		return time.Time{}
	}
	return c.due
}

// Last is the last signal that was due; 0: none was.
func (c *Cursor) Last() syscall.Signal { return c.last }
