package bed

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// InMountNamespace runs the script in a mount namespace of its own, and then
// pidleash in it. The script's $0 is the directory.
func InMountNamespace(t testing.TB, script, dir string) How {
	t.Helper()
	NeedRoot(t)
	if err := exec.Command("unshare", "-m", "true").Run(); err != nil {
		Missing(t, "unshare -m: %v", err)
	}
	return How{Before: []string{"unshare", "-m", "sh", "-ec", script + `; exec "$@"`, dir}}
}

// AsPID1 makes pidleash the first process of a PID namespace.
func AsPID1() How { return How{Attr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}} }

// Nobody is the unprivileged user of these tests: the one that Linux shows for
// users who have no number.
const Nobody = 65534

// AsNobody runs pidleash without privileges.
func AsNobody() How {
	return How{Attr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: Nobody, Gid: Nobody}}}
}

// NeedRoot skips the test where it may not change users or mounts.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root")
	}
}
