package bed

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var (
	long = flag.Bool("long", false, "run the long form of each test that has one: every case of a matrix, not a sample")
	seed = flag.Uint64("seed", 0, "of the random numbers of every test; 0: another one in each test")
)

// Long reports whether the long forms were asked for, as make faults does.
func Long() bool { return *long }

// Random has the random numbers of a test, and logs the seed: with -args -seed
// N the test draws the same ones again.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed %d", n)
	return rand.New(rand.NewPCG(n, 0))
}
