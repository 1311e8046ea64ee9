//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

// looking is how often a keeper looks at its file while nothing happens.
const looking = 5 * time.Second

// idle has every mode do nothing in the same minute.
func idle(t *testing.T) (list []page.Idle) {
	looks := int(*idleFor / looking)
	if looks < 1 || *idleFor%looking != 0 {
		t.Fatalf("-idle %v: not some times %v", *idleFor, looking)
	}
	var keepers []int
	for _, m := range append([]bed.StartMode{{Name: "no file"}}, bed.StartModes...) {
		keepers = append(keepers, idleKeeper(t, m))
		list = append(list, page.Idle{Mode: m.Name, Looks: looks})
	}
	time.Sleep(2 * time.Second) // what the start has left to do is not idleness
	for i, pid := range keepers {
		list[i].Switches = -sum(t, pid, "task/*/status", "voluntary_ctxt_switches:")
	}
	time.Sleep(*idleFor)
	for i, pid := range keepers {
		list[i].Switches += sum(t, pid, "task/*/status", "voluntary_ctxt_switches:")
		list[i].Threads = sum(t, pid, "status", "Threads:")
		list[i].Private = sum(t, pid, "smaps_rollup", "Private_Dirty:")
	}
	return list
}

// idleKeeper starts one that the end of the test stops.
func idleKeeper(t *testing.T, m bed.StartMode) int {
	t.Helper()
	a := bed.Sleeper(t)
	a.Program = []string{"sleep", fmt.Sprint(int(idleFor.Seconds()) + 60)}
	if m.Name == "no file" {
		r := bed.Start(t, bed.How{Env: []string{string(a.Mark)}}, a.Program...)
		bed.Await(t, "PROGRAM runs", func() bool { return len(bed.ChildPIDs(r.PID())) == 1 })
		return r.PID()
	}
	if m.Name == "forking" || m.Name == "daemon forking" {
		a.Shell(strings.Join(a.Program, " ") + " &")
	}
	r := a.Start(t, m)
	bed.Await(t, "PROGRAM runs", a.IsSleeping)
	keeper := r.PID()
	if m.Name != "foreground" && m.Name != "forking" {
		bed.Await(t, "the keeper is alone", func() bool { keeper = a.Mark.Watchdog(); return keeper != 0 })
	}
	return keeper
}

// sum adds up what the lines with this key say, in files of a process in /proc.
func sum(t *testing.T, pid int, files, key string) (n int) {
	t.Helper()
	paths, err := filepath.Glob(bed.ProcFile(pid, files))
	bed.Must(t, err)
	found := false
	for _, path := range paths {
		text, _ := os.ReadFile(path) // a thread may have ended
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, key); ok {
				k := 0
				_, err := fmt.Sscan(value, &k)
				bed.Must(t, err)
				n, found = n+k, true
			}
		}
	}
	if !found {
		t.Fatalf("PID %d: nobody has %s in %s", pid, key, files)
	}
	return n
}
