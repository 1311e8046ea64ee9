package plan

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Ready is when the program counts as up. The zero value: when it has been executed, or the daemon is known.
type Ready struct {
	// Given: -ready was given, so pidleash itself reports readiness to the service manager.
	Given bool
	Kind  ReadyKind
	After time.Duration  // of ReadyAfter
	FD    int            // of ReadyFD
	Match *regexp.Regexp // of ReadyLog; nil: any growth of the log
}

// ReadyKind is what makes the program ready.
type ReadyKind uint8

const (
	// ReadyExec: at once.
	ReadyExec ReadyKind = iota
	// ReadyAfter: when it is still alive after a while.
	ReadyAfter
	// ReadyNotify: when it sends READY=1, sd_notify(3).
	ReadyNotify
	// ReadyFD: when it writes a newline to a descriptor, as to s6's notification-fd.
	ReadyFD
	// ReadyLog: when one of its logs has grown, or has a new line that matches.
	ReadyLog
)

// FirstFD is the lowest descriptor for ReadyFD: 0 to 2 are the program's standard input, output and error.
const FirstFD = 3

// ParseReady reads "exec", a duration, "notify", "fd:N", "log", or "log:REGEX" as in package regexp.
func ParseReady(text string) (Ready, error) {
	r := Ready{Given: true}
	kind, rest, hasRest := strings.Cut(text, ":")
	switch {
	case text == "exec":
		return r, nil
	case text == "notify":
		r.Kind = ReadyNotify
		return r, nil
	case text == "log":
		r.Kind = ReadyLog
		return r, nil
	case kind == "log" && hasRest:
		match, err := regexp.Compile(rest)
		if err != nil {
			return r, err
		}
		r.Kind, r.Match = ReadyLog, match
		return r, nil
	case kind == "fd":
		n, err := strconv.ParseUint(rest, 10, 16)
		if err != nil || n < FirstFD {
			return r, fmt.Errorf("not a descriptor from %d on", FirstFD)
		}
		r.Kind, r.FD = ReadyFD, int(n)
		return r, nil
	}
	after, err := time.ParseDuration(text)
	if err != nil || after <= 0 {
		return r, errors.New("unknown condition")
	}
	r.Kind, r.After = ReadyAfter, after
	return r, nil
}
