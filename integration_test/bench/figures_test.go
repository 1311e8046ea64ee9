//go:build bench

package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

// idleRest is how long a counted program runs: what a start leaves for later is
// done by then, and no look of five seconds has come.
const idleRest = 50 * time.Millisecond

// count has the figures that no noise touches, at the program's first
// instruction and over the whole life: medians of some lives, less what the
// program does without a wrapper.
func (c *contender) count(t *testing.T) (first, whole *page.Counts) {
	var firsts, wholes [][4]int
	bare := &contender{probe: c.probe, stderr: c.stderr}
	for range min(*benchRounds, countedLives) {
		f, w := c.countLife(t)
		bareFirst, bareWhole := bare.countLife(t)
		for i := range f {
			f[i] -= bareFirst[i]
			w[i] -= bareWhole[i]
		}
		firsts, wholes = append(firsts, f), append(wholes, w)
	}
	return medians(firsts), medians(wholes)
}

func medians(list [][4]int) *page.Counts {
	median := func(i int) int {
		var all []int
		for _, c := range list {
			all = append(all, c[i])
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	return &page.Counts{Faults: median(0), Threads: median(1), Switches: median(2), Calls: median(3)}
}

// countLife counts in the wrapper, the program and all that comes of them.
func (c *contender) countLife(t *testing.T) (first, whole [4]int) {
	runtime.LockOSThread() // what is counted is what this thread starts
	defer runtime.UnlockOSThread()
	counter := openCounter(t)
	defer syscall.Close(counter)
	reports, files := c.openReports(t)
	defer reports.Close()
	argv := c.command(c.probe, "figures", fmt.Sprint(os.Getpid()), fmt.Sprint(counter))
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{Env: c.environ(), Files: files})
	bed.Must(t, err)
	for _, fd := range files[3:] {
		syscall.Close(int(fd))
	}
	l := &life{t: t, reports: reports, wrapper: pid}
	l.first = l.report(0)
	var figures [4]int64
	bed.Must(t, binary.Read(reports, binary.NativeEndian, &figures))
	if c.fifo != "" {
		l.awaitUp() // an end before that is another one: a start that has failed
	}
	time.Sleep(idleRest)
	l.kill(l.first.pid, syscall.SIGTERM)
	l.report(syscall.SIGTERM)
	if c.fifo == "" {
		await(t, pid)
	}
	c.awaitWatchdog(t)
	for i, n := range figures {
		first[i] = int(n)
	}
	return first, readCounter(t, counter)
}

// openReports is where the program's reports come from, and the descriptors to
// start it with. Those above 2 are to be closed then.
func (c *contender) openReports(t *testing.T) (reports *os.File, files []uintptr) {
	t.Helper()
	files = []uintptr{0, 1, c.stderr.Fd()}
	if c.fifo != "" {
		reports, err := os.OpenFile(c.fifo, os.O_RDWR, 0)
		bed.Must(t, err)
		return reports, files
	}
	var pipe [2]int
	bed.Must(t, syscall.Pipe2(pipe[:], syscall.O_CLOEXEC))
	return os.NewFile(uintptr(pipe[0]), "reports"), append(files, uintptr(pipe[1]))
}
