//go:build bench

package bench

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

// What pidleash costs, beside its peers with the same program in the same
// minute. All contenders take turns in an order that changes from round to
// round, so that whatever else the machine does falls on all of them. Nothing is
// pinned and nothing is warmed up: percentiles, no averages. What each phase is
// stands in page/benchmarks.md.tmpl.

var (
	benchRounds = flag.Int("rounds", 200, "lives of each contender")
	benchBefore = flag.String("before", "", "another build of pidleash, measured in the same run")
	idleFor     = flag.Duration("idle", 30*time.Second, "how long every mode is idle: some times five seconds")
	update      = flag.Bool("update", false, "write docs/benchmarks.json, and page and chart of it")
)

// Of what takes long or hardly differs from life to life there are fewer.
const (
	countedLives = 21
	stormRounds  = 20  // one storm of orphans in so many rounds
	listRounds   = 100 // and one list
)

func TestBench(t *testing.T) {
	if *update && *benchBefore != "" {
		t.Fatal("-update writes what one build has done: leave out -before")
	}
	data := &page.Data{Machine: machine(t)}
	all := contenders(t)
	var locked []time.Duration
	for round := range *benchRounds {
		locked = append(locked, lockOnce(t))
		for _, i := range rand.Perm(len(all)) {
			all[i].round(t)
			if round%stormRounds == 0 && all[i].storm != nil {
				all[i].reapOrphans(t)
			}
		}
	}
	data.Machine.Flock = page.TimesOf(locked)
	listFiles(t, all)
	for _, c := range all {
		data.Contenders = append(data.Contenders, c.result(t))
	}
	data.Idle = idle(t)
	fmt.Print(report(t, data))
	if *update {
		bed.Must(t, page.Update(bed.ModuleFile("docs"), data))
	}
}

// report is the page without its words, aligned for a terminal.
func report(t *testing.T, d *page.Data) string {
	t.Helper()
	markdown, err := page.Markdown(d)
	bed.Must(t, err)
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for line := range strings.Lines(markdown) {
		switch {
		case strings.HasPrefix(line, "#"):
			fmt.Fprintf(w, "\n%s", line)
		case strings.HasPrefix(line, "|--"):
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.Trim(line, "| \n"), " | ")
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
	}
	w.Flush()
	return text.String()
}

// lockOnce measures a lock that is free. Whoever reads /proc/locks has every lock
// of the machine wait, that of a PID file, too.
func lockOnce(t *testing.T) time.Duration {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "lock")
	bed.Must(t, err)
	defer file.Close()
	begin := now()
	for syscall.Flock(int(file.Fd()), syscall.LOCK_EX) == syscall.EINTR {
	}
	return now() - begin
}

// load is the average of the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
