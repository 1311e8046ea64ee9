package sdnotify

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Variable returns the place and the value of a variable; -1: it is not set.
func Variable(env []string, name string) (i int, value string) {
	i = slices.IndexFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i >= 0 {
		value = env[i][len(name)+1:]
	}
	return i, value
}

// PingInterval is the time between two WATCHDOG=1, half of what the service manager allows,
// sd_watchdog_enabled(3); 0: it wants none.
func PingInterval(env []string) time.Duration {
	_, value := Variable(env, "WATCHDOG_USEC")
	usec, err := strconv.ParseInt(value, 10, 64)
	if err != nil || usec < 2 || usec > math.MaxInt64/int64(time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}
