package launch

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// ownPIDVariables tell a process that a message of the service manager is for it: the sockets that it was given,
// the watchdog, the invocation; sd_listen_fds(3), sd_watchdog_enabled(3), systemd.exec(5). If they do not name
// the program, its libraries ignore the rest.
var ownPIDVariables = [...]string{"LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"}

// setEnv has room for the program's PID where a variable names this process.
func (p *childPlan) setEnv() {
	self := strconv.Itoa(os.Getpid())
	ownSockets := slices.Contains(p.Env, "LISTEN_PID="+self)
	list := make([]*byte, 0, len(p.Env)+1)
	for _, entry := range p.Env {
		name, value, _ := strings.Cut(entry, "=")
		// Since systemd 258 LISTEN_PIDFDID says by the inode of a pidfd what LISTEN_PID says, and refuses as
		// that does. It may be missing.
		if name == "LISTEN_PIDFDID" && ownSockets {
			continue
		}
		text := append([]byte(entry), 0)
		if value == self && slices.Contains(ownPIDVariables[:], name) {
			text = append([]byte(name+"="), make([]byte, pidDigits)...)
			p.ownPID = append(p.ownPID, (*[pidDigits]byte)(text[len(name)+1:]))
		}
		list = append(list, &text[0])
	}
	p.env = &append(list, nil)[0]
}
