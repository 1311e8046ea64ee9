package sdnotify

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/sys"
)

// variable returns the place and the value of a variable; -1: it is not set.
func variable(env []string, name string) (i int, value string) {
	i = slices.IndexFunc(env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	if i >= 0 {
		value = env[i][len(name)+1:]
	}
	return i, value
}

// pingInterval is the time between two WATCHDOG=1, half of what the service manager allows,
// sd_watchdog_enabled(3); 0: it wants none.
func pingInterval(env []string) time.Duration {
	_, value := variable(env, "WATCHDOG_USEC")
	usec, err := strconv.ParseInt(value, 10, 64)
	if err != nil || usec < 2 || usec > math.MaxInt64/int64(time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// IsJournal reports that the descriptor is the journal's socket, as systemd says with its device and inode;
// systemd.exec(5), $JOURNAL_STREAM.
func IsJournal(fd int) bool {
	dev, ino, ok := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	var st unix.Stat_t
	if !ok || sys.Fstat(fd, &st) != nil {
		return false
	}
	return dev == strconv.FormatUint(uint64(st.Dev), 10) && ino == strconv.FormatUint(st.Ino, 10)
}
