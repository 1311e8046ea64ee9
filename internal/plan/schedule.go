package plan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Schedule is how pidleash stops the program: signals and waits in turn. After the last step
// it waits without end.
type Schedule []Step

// Step is one item of a Schedule; exactly one field is set.
type Step struct {
	Signal  syscall.Signal
	Wait    time.Duration
	Forever bool
}

// DefaultSchedule is what service managers do, at a pace that lets most programs finish.
const DefaultSchedule = "TERM/10s/KILL"

// ParseSchedule reads the form that start-stop-daemon(8) has for --retry, with units:
// "INT/5s/TERM/10s/KILL". A bare number is a wait in seconds, "-9" a signal's number,
// "forever" a wait without end.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	signals := 0
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
		if step.Signal != 0 {
			signals++
		}
		s = append(s, step)
	}
	if signals == 0 {
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

// NeedsCont reports a signal of a schedule that a stopped program does not see before it is
// continued.
func NeedsCont(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCONT:
		return false
	}
	return true
}

// FirstWait is the schedule's first limited wait; 0: it has none.
func (s Schedule) FirstWait() time.Duration {
	for _, step := range s {
		if step.Wait > 0 {
			return step.Wait
		}
	}
	return 0
}

// Cursor is a place in a schedule that is being carried out. The zero value is at the end of
// an empty one.
type Cursor struct {
	schedule Schedule
	next     int            // index of what comes next
	due      time.Time      // when that is; zero: at once
	last     syscall.Signal // the last signal that was due; 0: none
}

// Begin is the place before the first item.
func (s Schedule) Begin() Cursor { return Cursor{schedule: s} }

// After is the place that the schedule would have reached if it had sent the signal at a
// moment: the wait that follows counts from then. Without that signal in it, it is the
// beginning.
func (s Schedule) After(sig syscall.Signal, sent time.Time) Cursor {
	c := s.Begin()
	for i, step := range s {
		if sig != 0 && step.Signal == sig {
			c.next, c.last = i+1, sig
			c.wait(sent)
			break
		}
	}
	return c
}

// Step returns the signals that are due by now, in order. Due tells when to call it again.
func (c *Cursor) Step(now time.Time) (signals []syscall.Signal) {
	for !c.AtEnd() && !now.Before(c.due) {
		if c.schedule[c.next].Signal != 0 {
			c.last = c.schedule[c.next].Signal
			signals = append(signals, c.last)
			c.next++
		}
		c.wait(now)
	}
	return signals
}

// wait begins the wait that comes next, if one does.
func (c *Cursor) wait(from time.Time) {
	c.due = time.Time{}
	if c.next < len(c.schedule) && c.schedule[c.next].Signal == 0 && !c.schedule[c.next].Forever {
		c.due = from.Add(c.schedule[c.next].Wait)
		c.next++
	}
}

// AtEnd reports that no signal will be due any more.
func (c *Cursor) AtEnd() bool {
	return c.next >= len(c.schedule) || c.schedule[c.next].Forever
}

// Due is when the next signal is; zero: none is to come, or it is due at once.
func (c *Cursor) Due() time.Time {
	if c.AtEnd() {
		return time.Time{}
	}
	return c.due
}

// Last is the signal that was due last; 0: none was.
func (c *Cursor) Last() syscall.Signal { return c.last }
