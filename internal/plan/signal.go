package plan

import (
	"fmt"
	"strconv"
	"syscall"

	"github.com/moby/sys/signal"
	"golang.org/x/sys/unix"
)

// ParseSignal reads a signal's name, with or without SIG, or its number: "TERM", "sigterm", "15", "RTMIN+3".
func ParseSignal(text string) (syscall.Signal, error) {
	sig, err := signal.ParseSignal(text)
	if err != nil || sig < 1 || sig > 64 {
		return 0, fmt.Errorf("unknown signal %q", text)
	}
	return sig, nil
}

// SignalName returns the full name, which ParseSignal can read. 32 and 33 have none.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	// signal(7): real-time signals are named from SIGRTMIN, which the C libraries begin at 34; the upper half
	// from SIGRTMAX, as in "kill -l".
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

// TellsToEnd reports whether a signal that is forwarded to the program tells pidleash to end, too. systemd's watchdog
// sends ABRT, and then waits for the end of pidleash, systemd.service(5).
func TellsToEnd(sig syscall.Signal) bool {
	return sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGQUIT || sig == syscall.SIGABRT
}
