package cli

import (
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text    string
		cells   int
		atFront bool
		want    string
	}{
		{"/run/app.pid", 12, true, "/run/app.pid"},
		{"/run/app.pid", 11, true, "…un/app.pid"},
		{"stale: it is old", 10, false, "stale: it…"},
		{"/漢字/p.pid", 11, true, "/漢字/p.pid"},
		{"/漢字/p.pid", 10, true, "…字/p.pid"}, // half a character is none
		{"/漢字/p.pid", 8, true, "…/p.pid"},
		{"ab", 1, false, "…"},
		{"", 0, false, ""},
	} {
		if got := cut(c.text, c.cells, c.atFront); got != c.want || width(got) > c.cells {
			t.Errorf("%q in %d cells: %q, want %q", c.text, c.cells, got, c.want)
		}
	}
}

// No line is longer than the terminal is wide, whatever is in it.
func TestTableFits(t *testing.T) {
	for _, file := range []string{"/p", "/run/app/app.pid", strings.Repeat("/directory", 30), strings.Repeat("漢", 60)} {
		for _, state := range []string{"held by pidleash PID 4194304", "running", strings.Repeat("reason ", 30) + "end"} {
			table := &table{
				rows:    [][]string{{"FILE", "PID", "PROGRAM", "UP SINCE", "STATE"}, {file, "4194304", "a-name-of-15-ch", "2026-01-01", state}},
				colours: []string{"", ""},
			}
			full := table.String()
			if !strings.Contains(full, file) || !strings.Contains(full, state) {
				t.Errorf("without a limit it is cut:\n%s", full)
			}
			for table.limit = 64; table.limit <= 400; table.limit++ {
				for line := range strings.Lines(table.String()) {
					if got := width(strings.TrimSuffix(line, "\n")); got > table.limit {
						t.Fatalf("%d cells on %d: %s", got, table.limit, line)
					}
				}
			}
			table.limit = width(strings.Split(full, "\n")[1])
			if got := table.String(); got != full {
				t.Errorf("cut, though there is room:\n%s", got)
			}
		}
	}
}
