package launch

import (
	"slices"
	"strconv"
	"strings"
)

// ownPIDVariables tell a process that a message of the service manager is for it: the sockets that it was
// given, the watchdog, the invocation; sd_listen_fds(3), sd_watchdog_enabled(3), systemd.exec(5). They name
// pidleash, or its caller. If they do not name the program, its libraries ignore the rest.
var ownPIDVariables = [...]string{"LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}

// environment has pid where a variable names one of the others; 0 is nobody. places are the indexes of these
// entries.
func environment(env []string, pid string, others ...int) (list []string, places []int) {
	isOther := func(value string) bool {
		return value != "0" && slices.ContainsFunc(others, func(pid int) bool { return strconv.Itoa(pid) == value })
	}
	othersSockets := slices.ContainsFunc(env, func(entry string) bool {
		value, is := strings.CutPrefix(entry, "LISTEN_PID=")
		return is && isOther(value)
	})
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if slices.Contains(ownPIDVariables[:], name) && isOther(value) {
			places = append(places, len(list))
			entry = name + "=" + pid
		}
		// Since systemd 258 LISTEN_PIDFDID says by the inode of a pidfd what LISTEN_PID says, and refuses as
		// that does. It may be missing.
		if name != "LISTEN_PIDFDID" || !othersSockets {
			list = append(list, entry)
		}
	}
	return list, places
}
