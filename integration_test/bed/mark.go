package bed

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A Mark is an environment variable that every process of one attempt has:
// pidleash, its watchdog, PROGRAM and what comes of it.
type Mark string

var marks atomic.Int64

// NewMark is unique. Who still bears it at the end of the test is killed.
func NewMark(t testing.TB) Mark {
	m := Mark(fmt.Sprintf("LEASH_MARK=%d-%d", os.Getpid(), marks.Add(1)))
	t.Cleanup(func() {
		for _, pid := range m.Bearers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return m
}

// Bearers lists who has it. A zombie has no environment any more.
func (m Mark) Bearers() (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		text, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
		// The test itself may have been started by a test.
		if err == nil && strings.Contains("\x00"+string(text), "\x00"+string(m)+"\x00") && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Watchdog returns the PID of the pidleash with this mark that is in the background, 0
// when there is none. It is not to be signaled then: 0 is the tests' own group.
func (m Mark) Watchdog() int {
	for _, pid := range m.Bearers() {
		words, _ := os.ReadFile(ProcFile(pid, "cmdline"))
		if name, _, _ := strings.Cut(string(words), ":"); name == "pidleash-watchdog" || name == "pidleash-supervisor" {
			return pid
		}
	}
	return 0
}

// ExpectNobody fails the test unless all who bear the mark end by themselves.
func (m Mark) ExpectNobody(t testing.TB) {
	t.Helper()
	var left []int
	if pollFor(soon, func() bool {
		left = m.Bearers()
		return len(left) == 0
	}) {
		return
	}
	for _, pid := range left {
		words, _ := os.ReadFile(ProcFile(pid, "cmdline"))
		t.Errorf("left behind: PID %d, %q", pid, words)
	}
}
