package faults

import (
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestRunsPage: the section is made from testdata/runs.tsv, a line for each long run: the command, what was run, what
// came of it.
func TestRunsPage(t *testing.T) {
	text := inLines(`The tests of the gate take samples. These are runs of their long forms, by the command that repeats them. `+
		`A later run may have drawn other numbers; each test prints its seed.`) + `
| the command | what was run | what came of it |
|---|---|---|
`
	makefile := bed.ReadFile(t, bed.ModuleFile("Makefile"))
	for line := range strings.Lines(bed.ReadFile(t, "testdata/runs.tsv")) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 {
			t.Fatalf("not three fields: %q", line)
		}
		target, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "make ")+" ", " ")
		if !strings.HasPrefix(fields[0], "go test ") && !strings.Contains(makefile, "\n"+target+":") {
			t.Errorf("%q is neither go test nor a target of the Makefile", fields[0])
		}
		text += "| `" + fields[0] + "` | " + fields[1] + " | " + fields[2] + " |\n"
	}
	expectSection(t, "Runs", text+"\nThe lines are in integration_test/faults/testdata/runs.tsv.\n")
}
