package bed

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// heavy counts the beds of this process that are in use: a systemd or a podman
// takes so much of a small machine that another test binary's has to wait.
var heavy struct {
	sync.Mutex
	beds int
	lock *os.File
}

// takeMachine returns when no other test binary has a heavy bed, and keeps them
// away until the test is over. Those of one binary share the machine.
func takeMachine(t testing.TB) {
	t.Helper()
	heavy.Lock()
	defer heavy.Unlock()
	if heavy.beds == 0 {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("pidleash-test-%d.lock", os.Geteuid()))
		lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		Must(t, err)
		Must(t, flock(lock))
		heavy.lock = lock
	}
	heavy.beds++
	t.Cleanup(func() {
		heavy.Lock()
		defer heavy.Unlock()
		if heavy.beds--; heavy.beds == 0 {
			heavy.lock.Close()
		}
	})
}

// flock waits, and is interrupted by the signals of Go's scheduler.
func flock(file *os.File) error {
	for {
		if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}
