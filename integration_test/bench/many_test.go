//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

// reapOrphans measures ten thousand orphans: a program that leaves them tells
// how long the wrapper took to reap them.
func (c *contender) reapOrphans(t *testing.T) {
	l := c.startProgram(t, c.storm...)
	c.add(page.Orphans, l.first.at)
	l.wait()
}

// listedFiles are PID files of a process that runs, in one directory.
const listedFiles = 20000

func listFiles(t *testing.T, all []*contender) {
	dir, err := os.MkdirTemp("/dev/shm", "pidleash-bench-list-")
	bed.Must(t, err)
	defer os.RemoveAll(dir)
	for i := range listedFiles {
		path := filepath.Join(dir, fmt.Sprintf("%d.pid", i))
		bed.Must(t, os.WriteFile(path, fmt.Appendln(nil, os.Getpid()), 0o644))
	}
	for range *benchRounds/listRounds + 1 {
		for _, c := range all {
			if c.pidleash != "" {
				c.add(page.List, c.run(t, "list", dir))
			}
		}
	}
}
