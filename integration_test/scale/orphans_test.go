package scale

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// All orphans that end at once are reaped. The long form has 10,000, beside tini
// in the same minutes, and prints both times.
func TestOrphans(t *testing.T) {
	storm := bed.CompileC(t, "storm.c")
	n, rounds := 500, 1
	contenders := map[string][]string{"pidleash": {bed.Pidleash, "--"}}
	if bed.Long() {
		n, rounds = 10_000, 5
		tini, err := exec.LookPath("tini")
		if err != nil {
			bed.Missing(t, "tini is not installed: %v", err)
		}
		contenders["tini"] = []string{tini, "-s", "--"}
	}
	took := map[string][]float64{}
	for range rounds {
		for name, argv := range contenders {
			argv = append(slices.Clone(argv), storm, strconv.Itoa(n))
			r := bed.Launch(t, exec.Command(argv[0], argv[1:]...))
			ms, err := strconv.ParseFloat(strings.TrimSpace(r.Rest(t)), 64)
			bed.Must(t, err)
			r.ExpectCode(t, 0)
			took[name] = append(took[name], ms)
		}
	}
	for name, ms := range took {
		slices.Sort(ms)
		t.Logf("%d orphans, %s: median %.1f ms of %v", n, name, ms[len(ms)/2], ms)
	}
	if bed.Long() {
		t.Logf("pidleash / tini: %.2f", took["pidleash"][rounds/2]/took["tini"][rounds/2])
	}
}
