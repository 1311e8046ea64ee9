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
	var err error
	switch {
	case text == "exec":
	case text == "notify":
		r.Kind = ReadyNotify
	case kind == "log":
		r.Kind = ReadyLog
		if hasRest {
			r.Match, err = regexp.Compile(rest)
		}
	case kind == "fd":
		n, invalid := strconv.ParseUint(rest, 10, 16)
		if invalid != nil || n < FirstFD {
			err = fmt.Errorf("not a descriptor from %d on", FirstFD)
		}
		r.Kind, r.FD = ReadyFD, int(n)
	default:
		r.Kind = ReadyAfter
		r.After, err = time.ParseDuration(text)
		if err != nil || r.After <= 0 {
			err = errors.New("unknown condition")
		}
	}
	return r, err
}
