//go:build bench

package bench

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// What pidleash costs, beside tini with the same program in the same minute.
// All contenders take turns in an order that changes from round to round, so
// that whatever else the machine does falls on all of them. Nothing is pinned
// and nothing is warmed up: medians and 90th percentiles, no averages.
//
//	start    from before the spawn to the program's first act
//	signal   from before kill(2) of the wrapper to the program's handler
//	removal  from before unlink(2) of the PID file to the program's TERM handler,
//	         with -settle 0
//	end      from the program's last act to the wrapper's end, seen by wait(2)
//	daemon   with -daemon: from before the spawn to the program's first act
//	returns  with -daemon: from before the spawn to the end of what was started

var (
	benchRounds = flag.Int("rounds", 200, "lives of each contender")
	benchBefore = flag.String("before", "", "another build of pidleash, measured in the same run")
)

const (
	// signalsPerLife are sent one by one, each after the last has arrived.
	signalsPerLife = 10
	// rest lets a process fall asleep: nobody signals a program without a pause.
	rest = 2 * time.Millisecond
)

// contender is one way to run the program.
type contender struct {
	name    string
	argv    []string
	pidFile string // empty: there is none, and no removal to measure
	fifo    string // of a program in the background, for its reports; empty: it is a child
	samples map[string][]time.Duration

	// stderr takes the message of a removal: it is made and sent as ever.
	stderr *os.File
}

var phases = []string{"start", "signal", "removal", "end", "daemon", "returns"}

func TestBench(t *testing.T) {
	all := contenders(t)
	for range *benchRounds {
		for _, i := range rand.Perm(len(all)) {
			switch {
			case all[i].fifo != "":
				all[i].goToBackground(t)
				continue
			case all[i].pidFile != "":
				all[i].loseFile(t)
			}
			all[i].live(t)
		}
	}
	fmt.Print(benchTable(all))
}

func contenders(t *testing.T) []*contender {
	tini, err := exec.LookPath("tini")
	if err != nil {
		bed.Missing(t, "tini is not installed: %v", err)
	}
	probe := bed.CompileC(t, "bench.c")
	dir, err := os.MkdirTemp("/dev/shm", "pidleash-bench-")
	if err != nil {
		bed.Missing(t, "no tmpfs at /dev/shm: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "bench.pid")
	list := []*contender{
		{name: "tini -s", argv: []string{tini, "-s", "--", probe}},
		{name: "no wrapper", argv: []string{probe}},
		{name: "least Go wrapper", argv: []string{buildFloor(t), probe}},
	}
	fifo := filepath.Join(dir, "fifo")
	bed.Must(t, unix.Mkfifo(fifo, 0o600))
	for label, binary := range map[string]string{"": bed.Pidleash, " before": *benchBefore} {
		if binary == "" {
			continue
		}
		list = append(list,
			&contender{name: "pidleash" + label, argv: []string{binary, "--", probe}},
			&contender{name: "pidleash -pidfile" + label, argv: []string{binary, "-pidfile", file, "-settle", "0", "--", probe}, pidFile: file},
			&contender{name: "pidleash -daemon" + label, argv: []string{binary, "-daemon", "-pidfile", file, "-settle", "0", "-stdout", fifo, "--", probe}, pidFile: file, fifo: fifo})
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	for _, c := range list {
		c.stderr = null
		c.samples = map[string][]time.Duration{}
	}
	return list
}

func buildFloor(t *testing.T) string {
	floor := filepath.Join(t.TempDir(), "floor")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", floor, "./testdata/floor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the least wrapper: %v: %s", err, out)
	}
	return floor
}

// live measures the start, the signals, and the end of a program that ends by
// itself.
func (c *contender) live(t *testing.T) {
	l := c.start(t)
	for range signalsPerLife {
		time.Sleep(rest)
		sent := now()
		l.kill(l.wrapper, syscall.SIGUSR1)
		c.add("signal", l.report(syscall.SIGUSR1).at-sent)
	}
	time.Sleep(rest)
	l.kill(l.program, syscall.SIGTERM)
	last := l.report(syscall.SIGTERM).at
	c.add("end", l.wait()-last)
}

// loseFile measures a removal. Its end is another one, and not counted.
func (c *contender) loseFile(t *testing.T) {
	l := c.start(t)
	time.Sleep(5 * rest) // the watch is set after the program's first act
	sent := now()
	if err := os.Remove(c.pidFile); err != nil {
		t.Fatal(err)
	}
	c.add("removal", l.report(syscall.SIGTERM).at-sent)
	l.wait()
}

// goToBackground measures a start with -daemon.
func (c *contender) goToBackground(t *testing.T) {
	reader, err := os.OpenFile(c.fifo, os.O_RDWR, 0)
	bed.Must(t, err)
	l := &benchLife{t: t, reports: reader}
	runtime.LockOSThread()
	begin := now()
	l.wrapper, err = syscall.ForkExec(c.argv[0], c.argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, c.stderr.Fd()}})
	bed.Must(t, err)
	first := make(chan time.Duration, 1)
	go func() { first <- l.report(0).at }()
	c.add("daemon", <-first-begin)
	for {
		if _, err := unix.Wait4(l.wrapper, nil, 0, nil); err != unix.EINTR {
			break
		}
	}
	c.add("returns", now()-begin)
	runtime.UnlockOSThread()
	bed.Must(t, os.Remove(c.pidFile))
	l.report(syscall.SIGTERM)
	reader.Close()
}

func (c *contender) add(phase string, d time.Duration) {
	c.samples[phase] = append(c.samples[phase], d)
}

// benchLife is one wrapper with its program.
type benchLife struct {
	t                *testing.T
	reports          *os.File
	wrapper, program int
}

func (c *contender) start(t *testing.T) *benchLife {
	// The thread that waits is the one that started: nothing moves in between.
	runtime.LockOSThread()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, c.stderr.Fd(), writer.Fd()}}
	begin := now()
	pid, err := syscall.ForkExec(c.argv[0], c.argv, attr)
	if err != nil {
		t.Fatalf("%s: %v", c.argv[0], err)
	}
	writer.Close()
	l := &benchLife{t: t, reports: reader, wrapper: pid}
	first := l.report(0)
	l.program = first.pid
	c.add("start", first.at-begin)
	return l
}

// benchReport is what the program writes.
type benchReport struct {
	pid int
	at  time.Duration
}

func (l *benchLife) report(kind syscall.Signal) benchReport {
	l.t.Helper()
	var r struct{ Kind, PID, At int64 }
	if err := binary.Read(l.reports, binary.NativeEndian, &r); err != nil {
		l.t.Fatalf("no report of the program: %v", err)
	}
	if r.Kind != int64(kind) {
		l.t.Fatalf("a report of signal %d, want %d", r.Kind, kind)
	}
	return benchReport{pid: int(r.PID), at: time.Duration(r.At)}
}

func (l *benchLife) kill(pid int, sig syscall.Signal) {
	if err := unix.Kill(pid, sig); err != nil {
		l.t.Fatal(err)
	}
}

// wait returns when the wrapper was seen to have ended.
func (l *benchLife) wait() time.Duration {
	defer runtime.UnlockOSThread()
	defer l.reports.Close()
	for {
		_, err := unix.Wait4(l.wrapper, nil, 0, nil)
		if err == nil {
			return now()
		}
		if err != unix.EINTR {
			l.t.Fatal(err)
		}
	}
}

// now reads the clock that the program reads.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

// benchTable compares everybody with the first contender. What that one cannot
// do has no ratio.
func benchTable(all []*contender) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\tmedian\tp90\tmedian/tini\tp90/tini\t\t")
	for _, phase := range phases {
		tini := all[0].samples[phase]
		for _, c := range all {
			if s := c.samples[phase]; s != nil && (c.name != "no wrapper" || phase == "start") {
				fmt.Fprintf(w, "%s\t%v\t%v\t%s\t%s\t%s\t\n", phase, percentile(s, 50), percentile(s, 90), ratio(s, tini, 50), ratio(s, tini, 90), c.name)
			}
		}
	}
	w.Flush()
	return text.String()
}

func percentile(samples []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[(len(sorted)-1)*p/100].Round(time.Microsecond)
}

func ratio(samples, base []time.Duration, p int) string {
	if base == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(percentile(samples, p))/float64(percentile(base, p)))
}
