package pidfile

import (
	"os"
	"pidleash/internal/process"
	"strings"
	"testing"
	"time"
)

func TestLivePID(t *testing.T) {
	now := time.Now()
	running, dead := program(t), zombie(t)
	p, err := process.Read(running)
	if err != nil {
		t.Fatal(err)
	}
	started := p.StartTime()
	for _, c := range []struct {
		name    string
		content []byte
		written time.Time
		pid     int
		reason  string
	}{
		{"running", line(running), now.Add(time.Second), running, ""},
		{"running, no line end", line(running)[:len(line(running))-1], now.Add(time.Second), running, ""},
		{"running for long", line(running), started.Add(time.Hour), running, ""},
		{"written at its start", line(running), started, running, ""},
		{"within the tolerance", line(running), started.Add(-startTolerance + 200*time.Millisecond), running, ""},
		{"beyond the tolerance", line(running), started.Add(-startTolerance - 200*time.Millisecond), 0, "started after the file was written"},
		{"recycled", line(running), started.Add(-time.Hour), 0, "started after the file was written"},
		{"zombie", line(dead), now.Add(time.Second), 0, "has ended"},
		{"dead", line(deadPID(t)), now, 0, "does not run"},
		{"this process", line(os.Getpid()), now.Add(time.Hour), 0, "is this start itself or what started it"},
		{"its parent", line(os.Getppid()), now.Add(time.Hour), 0, "is this start itself or what started it"},
		{"empty", nil, now, 0, "is empty"},
		{"zeros", make([]byte, 8), now, 0, "is empty"},
		{"no number", []byte("nginx\n"), now, 0, "names no PID"},
		{"negative", []byte("-1\n"), now, 0, "names no PID"},
	} {
		pid, reason := livePID(c.content, c.written)
		if pid != c.pid || !strings.Contains(reason, c.reason) || (reason == "") != (c.reason == "") {
			t.Errorf("%s: %d, %q; want %d, %q", c.name, pid, reason, c.pid, c.reason)
		}
	}
}

// The tolerance may only ever refuse a start, and a container that restarts
// within it is told apart by the lock and the process itself.
func TestStartTolerance(t *testing.T) {
	if startTolerance != time.Second {
		t.Errorf("the documentation says 1s, not %v", startTolerance)
	}
}
