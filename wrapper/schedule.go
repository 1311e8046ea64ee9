package wrapper

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"
)

// Schedule is how pidleash stops the program: signals and waits in turn. After
// the last step it waits without end.
type Schedule []Step

// Step is one item of a Schedule; exactly one field is set.
type Step struct {
	Signal  syscall.Signal
	Wait    time.Duration
	Forever bool
}

// DefaultSchedule is what service managers do, at a pace that lets most
// programs finish.
const DefaultSchedule = "TERM/10s/KILL"

// ParseSchedule reads the form that start-stop-daemon(8) has for --retry, with
// units: "INT/5s/TERM/10s/KILL". A bare number is a wait in seconds, "-9" a
// signal's number, "forever" a wait without end.
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

// NeedsCont reports a signal of a schedule that a stopped program does not see before
// it goes on.
func NeedsCont(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCONT:
		return false
	}
	return true
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
		return 0, fmt.Errorf("%q is no duration", text)
	}
	return wait, nil
}

// ParseSignal reads a signal's name, with or without SIG and in any case, or
// number: "TERM", "SIGTERM", "15", "RTMIN+3".
func ParseSignal(text string) (syscall.Signal, error) {
	sig, err := signal.ParseSignal(text)
	if err != nil || sig < 1 || sig > 64 {
		return 0, fmt.Errorf("%q is no signal", text)
	}
	return sig, nil
}

// SignalName returns the name that ParseSignal reads, in full. 32 and 33 have
// none.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	// signal(7): real-time signals are named from SIGRTMIN, which the C libraries
	// begin at 34; the upper half from SIGRTMAX, as in "kill -l".
	switch {
	case sig == 34:
		return "SIGRTMIN"
	case sig > 34 && sig < 50:
		return "SIGRTMIN+" + strconv.Itoa(int(sig)-34)
	case sig >= 50 && sig < 64:
		return "SIGRTMAX-" + strconv.Itoa(64-int(sig))
	case sig == 64:
		return "SIGRTMAX"
	}
	return "signal " + strconv.Itoa(int(sig))
}
