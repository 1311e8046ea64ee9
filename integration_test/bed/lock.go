package bed

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// LockScripts are ways to lock a file by flock(1): $0 is the file. Each says "locked" and keeps the lock to the end of its
// standard input.
var LockScripts = map[string]string{
	"shared":    `exec 9<"$0"; flock -s 9; echo locked; exec cat`,
	"exclusive": `exec 9<"$0"; flock -x 9; echo locked; exec cat`,
	"inherited": `exec 8<&0 9<"$0"; (flock -s 9; echo locked; exec cat <&8) & exit`,
}

// Lock locks a file as a user, by one of LockScripts. It returns at once, and the lock may have to wait.
func Lock(t testing.TB, file, script string, user uint32) *Run {
	t.Helper()
	cmd := exec.Command("sh", "-c", script, file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return Launch(t, cmd)
}

// AwaitWaiter returns when somebody waits for the file's lock.
func AwaitWaiter(t testing.TB, file string) {
	t.Helper()
	st, err := os.Stat(file)
	Must(t, err)
	inode := inodeIn(st)
	Await(t, "somebody waits for the lock of "+file, func() bool {
		for line := range strings.Lines(ReadFile(t, "/proc/locks")) {
			if strings.Contains(line, "-> FLOCK ") && strings.Contains(line, inode) {
				return true
			}
		}
		return false
	})
}
