package plan

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func mustParse(t *testing.T, text string) Schedule {
	t.Helper()
	s, err := ParseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// steps compares what is due at some time after noon, and what comes next: never is -1, at
// once 0.
func steps(t *testing.T, c *Cursor, at time.Duration, want []syscall.Signal, next time.Duration, last syscall.Signal) {
	t.Helper()
	now := noon.Add(at)
	if got := c.Step(now); !slices.Equal(got, want) {
		t.Fatalf("after %v: %v is due, want %v", at, got, want)
	}
	if got := c.Step(now); got != nil {
		t.Fatalf("after %v: %v is due twice", at, got)
	}
	if c.atEnd() != (next < 0) {
		t.Errorf("after %v: at the end is %v", at, c.atEnd())
	}
	switch due := c.Due(); {
	case next < 0 && !due.IsZero():
		t.Errorf("after %v: the next is due at %v, want never", at, due)
	case next >= 0 && !due.Equal(noon.Add(next)):
		t.Errorf("after %v: the next is due at %v, want %v after noon", at, due, next)
	}
	if c.Last() != last {
		t.Errorf("after %v: the last was %v, want %v", at, c.Last(), last)
	}
}

const (
	term = syscall.SIGTERM
	kill = syscall.SIGKILL
	intr = syscall.SIGINT
)

func signals(s ...syscall.Signal) []syscall.Signal { return s }

func TestCursorBegins(t *testing.T) {
	c := mustParse(t, "INT/5s/TERM/10s/KILL").Begin()
	if c.atEnd() || !c.Due().IsZero() || c.Last() != 0 {
		t.Errorf("at the beginning: at the end %v, due %v, last %v", c.atEnd(), c.Due(), c.Last())
	}
	steps(t, &c, 0, signals(intr), 5*time.Second, intr)
	steps(t, &c, 5*time.Second-1, nil, 5*time.Second, intr)
	steps(t, &c, 5*time.Second, signals(term), 15*time.Second, term)
	steps(t, &c, 20*time.Second, signals(kill), -1, kill) // later than it was due
	steps(t, &c, time.Hour, nil, -1, kill)
}

// A wait counts from the moment when the signal before it was sent.
func TestCursorIsLate(t *testing.T) {
	c := mustParse(t, "INT/5s/TERM/10s/KILL").Begin()
	steps(t, &c, 3*time.Second, signals(intr), 8*time.Second, intr)
	steps(t, &c, time.Minute, signals(term), 70*time.Second, term)
}

func TestCursorWaitsFirst(t *testing.T) {
	c := mustParse(t, "3s/TERM").Begin()
	steps(t, &c, 0, nil, 3*time.Second, 0)
	steps(t, &c, 3*time.Second, signals(term), -1, term)

	c = mustParse(t, "0/TERM/0/KILL/0").Begin()
	steps(t, &c, 0, signals(term, kill), -1, kill)
}

func TestCursorEnds(t *testing.T) {
	for text, want := range map[string]syscall.Signal{"TERM": term, "TERM/forever": term, "TERM/10s": term, "KILL/1s": kill} {
		c := mustParse(t, text).Begin()
		steps(t, &c, 0, signals(want), -1, want)
		steps(t, &c, 1000*time.Hour, nil, -1, want)
	}
	var none Cursor
	steps(t, &none, 0, nil, -1, 0)
}

func TestCursorAfterASignal(t *testing.T) {
	for _, c := range []struct {
		name, text string
		sig        syscall.Signal
		sent, now  time.Duration
		want       []syscall.Signal
		next       time.Duration
		last       syscall.Signal
	}{
		{"the wait counts from then", "TERM/10s/KILL", term, 0, 4 * time.Second, nil, 10 * time.Second, term},
		{"due just now", "TERM/10s/KILL", term, 0, 10 * time.Second, signals(kill), -1, kill},
		{"due long ago", "TERM/10s/KILL", term, 0, time.Hour, signals(kill), -1, kill},
		{"in the middle", "INT/5s/TERM/10s/KILL", term, 0, time.Second, nil, 10 * time.Second, term},
		{"the next wait from now", "INT/5s/TERM/10s/KILL", intr, 0, time.Minute, signals(term), 70 * time.Second, term},
		{"the first of two", "TERM/5s/TERM/10s/KILL", term, 0, time.Second, nil, 5 * time.Second, term},
		{"not in it", "INT/5s/KILL", term, 0, time.Second, signals(intr), 6 * time.Second, intr},
		{"none", "TERM/10s/KILL", 0, 0, time.Second, signals(term), 11 * time.Second, term},
		{"none, and a wait first", "2s/TERM", 0, 0, time.Second, nil, 3 * time.Second, 0},
		{"the last", "TERM", term, 0, time.Second, nil, -1, term},
		{"before forever", "TERM/forever", term, 0, time.Second, nil, -1, term},
		{"after a first wait", "3s/TERM/10s/KILL", term, 0, time.Second, nil, 10 * time.Second, term},
	} {
		t.Run(c.name, func(t *testing.T) {
			cursor := mustParse(t, c.text).After(c.sig, noon.Add(c.sent))
			steps(t, &cursor, c.now, c.want, c.next, c.last)
		})
	}
}

// Two cursors of one schedule know nothing of each other, and leave it as it is.
func TestCursorsAreIndependent(t *testing.T) {
	s := mustParse(t, "TERM/10s/KILL")
	before := slices.Clone(s)
	a, b := s.Begin(), s.Begin()
	steps(t, &a, 0, signals(term), 10*time.Second, term)
	steps(t, &b, time.Second, signals(term), 11*time.Second, term)
	steps(t, &a, 10*time.Second, signals(kill), -1, kill)
	if !slices.Equal(s, before) {
		t.Errorf("the schedule is %v, it was %v", s, before)
	}
}

// FuzzCursor carries out what was read, at its own pace, and compares it with a list of
// moments that is reckoned in another way.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{DefaultSchedule, "INT/5s/TERM/10s/KILL", "-9", "2/TERM/0.5/-9", "TERM/forever", "0/TERM/0/KILL/0"} {
		f.Add(seed, uint8(0), int64(0), []byte{0, 100, 3, 200, 255, 255})
		f.Add(seed, uint8(15), int64(4e9), []byte{10, 10, 10, 250, 250})
	}
	f.Fuzz(func(t *testing.T, text string, sent uint8, ago int64, pace []byte) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		sig := syscall.Signal(sent % 65)
		ago = min(max(ago, 0), int64(time.Hour))
		c := s.After(sig, noon.Add(-time.Duration(ago)))
		o := oracle{items: s, from: noon}
		for i, step := range s {
			if sig != 0 && step.Signal == sig {
				o.items, o.from, o.last = s[i+1:], noon.Add(-time.Duration(ago)), sig
				break
			}
		}
		now := noon
		for i, p := range pace {
			now = now.Add(time.Duration(p) * 10 * time.Millisecond)
			if due := c.Due(); p == 255 && due.After(now) && due.Sub(now) < 1000*time.Hour {
				now = due
			}
			want := o.due(now, i == 0 && o.last == 0)
			if got := c.Step(now); !slices.Equal(got, want) {
				t.Fatalf("%q after %v: %v is due, want %v", text, now.Sub(noon), got, want)
			}
			if c.Last() != o.last || c.atEnd() != o.over() {
				t.Fatalf("%q after %v: last %v, at the end %v; want %v, %v", text, now.Sub(noon), c.Last(), c.atEnd(), o.last, o.over())
			}
			if due := c.Due(); !c.atEnd() && !due.After(now) || c.atEnd() && !due.IsZero() {
				t.Fatalf("%q after %v: the next is due at %v", text, now.Sub(noon), due)
			}
		}
	})
}

// oracle has what is left of a schedule, and since when it waits.
type oracle struct {
	items []Step
	from  time.Time
	last  syscall.Signal
}

// due takes what has to be sent by now from the front. A first wait counts from the first
// look.
func (o *oracle) due(now time.Time, first bool) (signals []syscall.Signal) {
	if first {
		o.from = now
	}
	for len(o.items) > 0 {
		switch item := o.items[0]; {
		case item.Forever, item.Signal == 0 && now.Sub(o.from) < item.Wait:
			return signals
		case item.Signal != 0:
			signals = append(signals, item.Signal)
			o.last, o.from = item.Signal, now
		}
		o.items = o.items[1:]
	}
	return signals
}

// over reports that no signal is left.
func (o *oracle) over() bool {
	return !slices.ContainsFunc(o.items, func(s Step) bool { return s.Signal != 0 })
}
