package bed

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A Mark is an environment variable that every process of one attempt has:
// pidleash, its watchdog, PROGRAM and what comes of it.
type Mark string

var marks atomic.Int64

// NewMark is unique. Who still bears it at the end of the test is killed.
func NewMark(t testing.TB) Mark {
	m := Mark(fmt.Sprintf(markName+"%d-%d", os.Getpid(), marks.Add(1)))
	t.Cleanup(func() {
		for _, pid := range m.Bearers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return m
}

// Bearers lists who has it. A zombie has no environment any more.
func (m Mark) Bearers() (pids []int) { return readMarks()[m] }

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

// A Census tells who bears which mark, for many who ask at once: each answer was read after the question, and those who
// ask while one is read share the next. To read all of /proc is most of the work of those who ask again and again, so
// there is a pause before the next reading.
type Census struct {
	asking sync.Mutex
	began  atomic.Int64 // how many readings have begun
	next   time.Time    // when the next one may begin
	marks  map[Mark][]int
}

const censusPause = 10 * time.Millisecond

// Bearers is that of the mark.
func (c *Census) Bearers(m Mark) []int {
	before := c.began.Load()
	c.asking.Lock()
	defer c.asking.Unlock()
	if c.began.Load() == before {
		time.Sleep(time.Until(c.next))
		c.began.Add(1)
		c.marks = readMarks()
		c.next = time.Now().Add(censusPause)
	}
	return c.marks[m]
}

// readMarks finds the bearers of all marks.
func readMarks() map[Mark][]int {
	marks := map[Mark][]int{}
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() { // the test itself may have been started by a test
			continue
		}
		text, _ := os.ReadFile(ProcFile(pid, "environ"))
		for _, rest := range strings.Split("\x00"+string(text), "\x00"+markName)[1:] {
			value, _, _ := strings.Cut(rest, "\x00")
			marks[Mark(markName+value)] = append(marks[Mark(markName+value)], pid)
		}
	}
	return marks
}

const markName = "LEASH_MARK="
