// Package soak has many wrappers live through many events, and looks at what they take and what they say.
package soak

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

var lasting = flag.Duration("soak", 0, "TestSoak: how long it goes on; 0: half an hour in the long form, else a minute")

// kinds are the ways to run a program, and what can happen there.
var kinds = []kind{
	{name: "foreground"},
	{name: "forking", options: []string{"-forking"}, forks: true},
	{name: "daemon", options: []string{"-daemon"}, background: true, beside: true},
	{name: "daemon forking", options: []string{"-daemon", "-forking"}, forks: true, background: true, beside: true},
	{name: "sidecar", options: []string{"-sidecar"}, beside: true},
	{name: "restart", options: []string{"-restart", "always", "-restart-delay", "0", "-restart-signal", "ALRM"}, restarts: true},
	{name: "daemon restart", options: []string{"-daemon", "-restart", "on-failure", "-restart-delay", "0", "-restart-signal", "ALRM"}, restarts: true, background: true},
	{name: "while", options: []string{"-while", "GATE"}, gated: true},
	{name: "daemon while", options: []string{"-daemon", "-while", "GATE"}, gated: true, background: true},
	{name: "restart while", options: []string{"-restart", "always", "-restart-delay", "0", "-restart-signal", "ALRM", "-while", "GATE"}, restarts: true, gated: true},
	{name: "while-running", options: []string{"-while-running", "GATE"}, gated: true, guided: true},
	{name: "no file", bare: true},
	{name: "supervisor-pidfile", options: []string{"-supervisor-pidfile", "SECOND", "-restart", "always", "-restart-delay", "0", "-restart-signal", "ALRM"}, restarts: true, second: true},
	{name: "daemon supervisor-pidfile", options: []string{"-daemon", "-supervisor-pidfile", "SECOND"}, background: true, beside: true, second: true},
}

type kind struct {
	name       string
	options    []string // GATE stands for the file of -while, SECOND for that of -supervisor-pidfile
	forks      bool     // PROGRAM turns itself into a daemon
	restarts   bool     // its end is not the end
	gated      bool
	guided     bool // the gate is the PID file of another program
	bare       bool // it has no PID file
	second     bool // it has another one, of pidleash itself
	background bool // the process that was started returns
	beside     bool // who keeps it forwards nothing, and PROGRAM is no child of its
}

// length is that of the soak; of what it has in each kind some are never ended, and measured.
func length() (whole, pause time.Duration, steady, mortal int) {
	whole, pause, steady, mortal = time.Minute, 300*time.Millisecond, 1, 1
	if bed.Long() {
		whole, pause, steady, mortal = 30*time.Minute, time.Second, 2, 2
	}
	if *lasting != 0 {
		whole = *lasting
	}
	return whole, pause, steady, mortal
}

// Whatever happens to programs and files, and however often: what pidleash takes does not grow, and `status`
// says what is so.
func TestSoak(t *testing.T) {
	whole, pause, steady, mortal := length()
	random := bed.Random(t)
	s := &soak{mark: bed.NewMark(t), program: bed.CompileC(t, "soak.c"), begin: time.Now(), whole: whole, pause: pause, over: make(chan struct{})}
	for _, k := range kinds {
		for i := range steady + mortal {
			w := &wrapper{soak: s, kind: k, steady: i < steady, dir: bed.OpenDir(t), gate: bed.OpenDir(t) + "/gate"}
			w.file, w.second, w.log = w.dir+"/p.pid", w.dir+"/second.pid", w.gate+".log"
			t.Cleanup(w.endGuide)
			w.random = rand.New(rand.NewPCG(random.Uint64(), 0))
			s.wrappers = append(s.wrappers, w)
		}
	}
	s.run(t, random)
	s.mark.ExpectNobody(t)
	s.report(t)
}

type soak struct {
	mark     bed.Mark
	program  string
	begin    time.Time
	whole    time.Duration
	pause    time.Duration // between two events of one wrapper: at most twice that
	wrappers []*wrapper
	over     chan struct{}
	asked    atomic.Int64 // answers that were compared
	happened sync.Map     // event: *atomic.Int64
}

// askers ask for the status of anybody at any time.
const askers = 2

func (s *soak) run(t *testing.T, random *rand.Rand) {
	var living, asking sync.WaitGroup
	for _, w := range s.wrappers {
		living.Go(func() {
			if err := w.live(); err != nil {
				t.Errorf("%s: %v\n%s", w.kind.name, err, w.said())
			}
		})
	}
	for range askers {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		asking.Go(func() { s.ask(t, own) })
	}
	living.Wait()
	close(s.over)
	asking.Wait()
}

// ask asks about one wrapper after the other. An answer counts if the model has not changed meanwhile.
func (s *soak) ask(t *testing.T, random *rand.Rand) {
	for {
		select {
		case <-s.over:
			return
		case <-time.After(time.Duration(random.Int64N(int64(50 * time.Millisecond)))): // only the moment is random
		}
		w := s.wrappers[random.IntN(len(s.wrappers))]
		before := w.model.Load()
		if before == nil {
			continue
		}
		err := before.compare(w.file)
		if w.model.Load() != before {
			continue
		}
		s.asked.Add(1)
		if err != nil {
			t.Errorf("%s, asked at any moment: %v\n%s", w.kind.name, err, w.said())
		}
	}
}

func (s *soak) count(event string) {
	n, _ := s.happened.LoadOrStore(event, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// report compares the last third with the second: the first is there to warm up.
func (s *soak) report(t *testing.T) {
	t.Logf("%d answers of status were compared", s.asked.Load())
	s.happened.Range(func(event, n any) bool {
		t.Logf("%6d times %s", n.(*atomic.Int64).Load(), event)
		return true
	})
	t.Logf("%-25s %-24s %-15s %s", "", "private memory, KiB", "descriptors", "threads, in each third")
	for _, w := range s.wrappers {
		if !w.steady {
			continue
		}
		f := thirds(w.figures)
		t.Logf("%-25s %-24s %-15s %s", w.kind.name,
			fmt.Sprint(f[0].private, " ", f[1].private, " ", f[2].private),
			fmt.Sprint(f[0].descriptors, " ", f[1].descriptors, " ", f[2].descriptors),
			fmt.Sprint(f[0].threads, " ", f[1].threads, " ", f[2].threads))
		f[1].expectFlat(t, w.kind.name, f[2])
	}
}
