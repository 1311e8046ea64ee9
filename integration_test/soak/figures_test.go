package soak

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// figures are what a keeper has. Nobody can count its goroutines from outside: those that wait in a system call show as
// threads, all others as memory, some 2 KiB each. Those of a watch are counted by its unit test.
type figures struct {
	private     int // memory that is its own, in KiB
	descriptors int
	threads     int
}

// thirds has for each third of the figures the most memory, which the collector of garbage lets go up and down, and
// the fewest descriptors and threads: one may be in use just then.
func thirds(all []figures) (thirds [3]figures) {
	for i, f := range all {
		third := &thirds[3*i/len(all)]
		if third.private == 0 {
			*third = f
		}
		*third = figures{max(third.private, f.private), min(third.descriptors, f.descriptors), min(third.threads, f.threads)}
	}
	return thirds
}

// measure looks at a keeper to which nothing happens.
func (w *wrapper) measure() error {
	if !bed.Poll(func() bool {
		return !slices.ContainsFunc(bed.ChildPIDs(w.keeper), func(pid int) bool { return bed.ProcessState(pid) == "Z" })
	}) {
		return fmt.Errorf("PID %d has a zombie", w.keeper)
	}
	descriptors, err := os.ReadDir(bed.ProcFile(w.keeper, "fd"))
	if err != nil {
		return err
	}
	w.figures = append(w.figures, figures{
		private:     number(w.keeper, "smaps_rollup", "Private_Clean:") + number(w.keeper, "smaps_rollup", "Private_Dirty:"),
		descriptors: len(descriptors),
		threads:     number(w.keeper, "status", "Threads:"),
	})
	return nil
}

func procText(pid int, name string) string {
	text, _ := os.ReadFile(bed.ProcFile(pid, name))
	return string(text)
}

// number is the one behind a word that begins a line.
func number(pid int, file, word string) (n int) {
	for line := range strings.Lines(procText(pid, file)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			fmt.Sscan(rest, &n)
		}
	}
	return n
}

const (
	moreMemory = 512 // KiB
	// Go collects its garbage for the first time when the heap has 4 MiB. Only what goes on growing then is lost.
	firstCollection = 6 * 1024
	// Go ends no thread: one that is needed seldom comes late.
	moreThreads = 1
)

// expectFlat fails the test if more was needed later.
func (f figures) expectFlat(t *testing.T, name string, later figures) {
	t.Helper()
	if later.private > max(firstCollection, f.private+moreMemory) {
		t.Errorf("%s: private memory grew from %d to %d KiB", name, f.private, later.private)
	}
	if later.threads > f.threads+moreThreads {
		t.Errorf("%s: threads grew from %d to %d", name, f.threads, later.threads)
	}
	if later.descriptors > f.descriptors {
		t.Errorf("%s: descriptors grew from %d to %d", name, f.descriptors, later.descriptors)
	}
}
