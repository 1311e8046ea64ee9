package signals

import (
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// The first TERM is kept, the second goes at once, and nothing else waits.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-drain", bed.Never)
	p.Signal(syscall.SIGTERM)
	p.RoundTrips(t)
	p.Signal(syscall.SIGINT)
	p.Got(t, syscall.SIGINT)
	p.Signal(syscall.SIGTERM)
	p.Got(t, syscall.SIGTERM)
	p.Signal(syscall.SIGTERM) // the program has been told
	p.Got(t, syscall.SIGTERM)
	p.Finish(t)
	p.ExpectQuiet(t)
}

func TestDrainEnds(t *testing.T) {
	t.Parallel()
	p := bed.StartTeller(t, bed.How{Env: []string{"PIDLEASH_DRAIN=50ms"}}, bed.ForEver, "-rewrite", "TERM:QUIT")
	p.Signal(syscall.SIGTERM)
	p.Got(t, syscall.SIGQUIT)
	p.Finish(t)
}

// A removal is no TERM: it stops the program at once.
func TestRemovalWhileDraining(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/p.pid"
	p := bed.StartTeller(t, bed.How{}, bed.ForEver, "-drain", bed.Never, "-pidfile", file, "-settle", "0", "-stop", "HUP/forever")
	p.Signal(syscall.SIGTERM)
	p.RoundTrips(t)
	bed.RemoveFile(t, file)
	p.GotWithCont(t, syscall.SIGHUP)
	p.Finish(t)
}
