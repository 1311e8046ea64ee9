package pidfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPublish(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	f, err := Publish(path, pid)
	must(t, err)
	t.Cleanup(f.close)
	checkOwn(t, f, pid)
}

func TestPublishOverAStaleFile(t *testing.T) {
	caller := program(t)
	for name, c := range map[string]struct {
		content []byte
		pid     int
		own     []Own
		reason  string
	}{
		"dead":       {line(deadPID(t)), program(t), nil, "does not run"},
		"empty":      {nil, program(t), nil, "it is empty"},
		"its PID":    {line(caller), caller, nil, "this start itself"},
		"its caller": {line(caller), program(t), []Own{{PID: caller}}, "this start itself"},
	} {
		t.Run(name, func(t *testing.T) {
			path := in(t, "p.pid")
			write(t, path, c.content)
			reason := ""
			f, err := Claimed(path, func(claim *Claim) (int, error) {
				reason = claim.StaleReason
				return c.pid, claim.Publish(c.pid)
			}, append(c.own, Own{PID: c.pid})...)
			must(t, err)
			t.Cleanup(f.close)
			if !strings.Contains(reason, c.reason) {
				t.Errorf("reason %q, want %q", reason, c.reason)
			}
			checkOwn(t, f, c.pid)
		})
	}
}

func TestPublishIsRefused(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	published(t, path, pid)
	_, err := Publish(path, program(t))
	wantHeld(t, err, path, pid, os.Getpid())
	if got := read(t, path); got != string(line(pid)) {
		t.Errorf("content %q", got)
	}
	path = in(t, "p.pid")
	write(t, path, line(pid))
	_, err = Publish(path, program(t))
	wantHeld(t, err, path, pid, 0)
	if all := names(t, filepath.Dir(path)); all != "p.pid" {
		t.Errorf("the refused start left %q", all)
	}
	if _, err := Publish(filepath.Dir(path)+"/none/p.pid", pid); err == nil || isHeld(err) {
		t.Errorf("without a directory: %v", err)
	}
}

// Of two at once one wins, and the other one says who that is.
func TestPublishRace(t *testing.T) {
	type result struct {
		f   *File
		pid int
		err error
	}
	for _, stale := range []bool{false, true} {
		for range 3 {
			path := in(t, "p.pid")
			if stale {
				write(t, path, line(deadPID(t)))
			}
			start, results := make(chan struct{}), make(chan result)
			for range 2 {
				pid := program(t)
				go func() {
					<-start
					f, err := Publish(path, pid)
					results <- result{f, pid, err}
				}()
			}
			close(start)
			a, b := <-results, <-results
			if a.f == nil {
				a, b = b, a
			}
			if a.err != nil || b.f != nil || !isHeld(b.err) {
				t.Fatalf("stale %v: %v and %v", stale, a.err, b.err)
			}
			t.Cleanup(a.f.close)
			checkOwn(t, a.f, a.pid)
		}
	}
}

// Those that have won the race for the path, and are gone at the next look, do not matter.
func TestClaimedAfterALostRace(t *testing.T) {
	path, pid := in(t, "p.pid"), program(t)
	calls := 0
	f, err := Claimed(path, func(c *Claim) (int, error) {
		calls++
		switch calls {
		case 1: // the other one has been killed
			write(t, path, line(deadPID(t)))
		case 2: // the other one has ended
			if c.StaleReason == "" {
				t.Error("the file of the first one is not stale")
			}
			must(t, c.Clear())
			write(t, path, nil)
			err := c.Publish(pid)
			must(t, os.Remove(path))
			return pid, err
		}
		return pid, c.Publish(pid)
	})
	must(t, err)
	t.Cleanup(f.close)
	if calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}
	checkOwn(t, f, pid)
}

// The one that has won is there at the next look.
func TestClaimedLosesToWhoStays(t *testing.T) {
	path, winner := in(t, "p.pid"), program(t)
	_, err := Claimed(path, func(c *Claim) (int, error) {
		published(t, path, winner)
		return 1, c.Publish(1)
	})
	wantHeld(t, err, path, winner, os.Getpid())
	if all := names(t, filepath.Dir(path)); all != "p.pid" {
		t.Errorf("the loser left %q", all)
	}
}

// What is final is tried once, and leaves nothing.
func TestClaimedFails(t *testing.T) {
	broken := errors.New("broken")
	for name, launch := range map[string]func(t *testing.T, c *Claim) error{
		"before": func(*testing.T, *Claim) error { return broken },
		"before, taken back": func(t *testing.T, c *Claim) error {
			must(t, c.Retract(pidInTests))
			return broken
		},
		"after": func(t *testing.T, c *Claim) error {
			must(t, c.Publish(pidInTests))
			must(t, c.Retract(pidInTests))
			return broken
		},
		"after, another's file": func(t *testing.T, c *Claim) error {
			must(t, c.Publish(pidInTests))
			must(t, os.Remove(c.Path))
			write(t, c.Path, line(nextPID))
			must(t, c.Retract(pidInTests))
			return broken
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := in(t, "p.pid")
			before, calls := countFDs(t), 0
			_, err := Claimed(path, func(c *Claim) (int, error) {
				calls++
				return 0, launch(t, c)
			})
			if err != broken || calls != 1 {
				t.Errorf("%v after %d calls, want it once", err, calls)
			}
			want := ""
			if strings.Contains(name, "another") {
				want = "p.pid"
			}
			if got := names(t, filepath.Dir(path)); got != want {
				t.Errorf("the directory has %q, want %q", got, want)
			}
			if after := countFDs(t); after != before {
				t.Errorf("%d descriptors, and there were %d", after, before)
			}
		})
	}
}

// A claim that was published has nothing to give up: its descriptors may be others' now.
func TestAbandonAfterPublished(t *testing.T) {
	path := in(t, "p.pid")
	c := claim(t, path)
	f := publish(t, c, pidInTests)
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) // takes the lowest number
	must(t, err)
	defer unix.Close(fd)
	c.Abandon()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("a descriptor of somebody else's is closed: %v", err)
	}
	checkOwn(t, f, pidInTests)
}
