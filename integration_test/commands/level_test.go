package commands

import (
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// levels has, from the top to the bottom, what each level tells and those above it do not.
var levels = []struct {
	name  string
	lines []string
}{
	{"error", nil},
	{"warn", []string{`pidfile \S+: removed, stopping PID \d+`}},
	{"info", []string{`pidfile \S+: stale, replacing it: `}},
	{"debug", []string{
		`claimed: pidfile=\S+`, `launched: program=sh pid=\d+`, `looked: pidfile=\S+ state=removed`,
		`sending: signal=SIGTERM to="PID \d+"`, `ended: pid=\d+ status="ended by SIGTERM"`,
	}},
	{"trace", []string{
		`decided: event=launched actions=watch state=running`,
		`decided: event=removed actions="kill, kill, report, unwatch" state=stopping`,
		`looked: pidfile=\S+ state=present`,
		`reaped: pid=\d+ status="ended with code 7"`,
	}},
}

// TestLevels has no level that is empty: each adds its own to what the one above it tells.
func TestLevels(t *testing.T) {
	t.Parallel()
	for place, level := range levels {
		t.Run(level.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(bed.OpenDir(t), "p.pid")
			bed.WriteFile(t, file, bed.NoSuchPID, 0o644)
			const script = `orphan=$(sh -c '{ read x; exit 7; } >/dev/null <"$0" & echo $!' "$0"); echo >"$0"
				while kill -0 $orphan 2>/dev/null; do :; done; echo up; exec sleep 600`
			r := bed.Start(t, bed.How{}, "-log-level", level.name, "-settle", "0", "-pidfile", file,
				"sh", "-c", script, bed.NewFIFO(t))
			r.Expect(t, "up")
			if level.name == "trace" { // hints come when they come
				r.AwaitStderr(t, `looked: pidfile=\S+ state=present`)
			}
			bed.RemoveFile(t, file)
			r.ExpectSignal(t, syscall.SIGTERM)
			for other, of := range levels {
				for _, line := range of.lines {
					if told := regexp.MustCompile(`(?m)^pidleash: ` + line).MatchString(r.Stderr()); told != (other <= place) {
						t.Errorf("the line %q of level %s is told: %v", line, of.name, told)
					}
				}
			}
			if t.Failed() {
				t.Logf("standard error:\n%s", r.Stderr())
			}
		})
	}
}

// Of a file that there is not nothing is told at any level.
func TestLevelsWithoutFile(t *testing.T) {
	t.Parallel()
	r := bed.Start(t, bed.How{}, "-log-level", "trace", "true")
	r.ExpectCode(t, 0)
	if regexp.MustCompile(`pidfile|claimed|looked|removed`).MatchString(r.Stderr()) {
		t.Errorf("standard error:\n%s", r.Stderr())
	}
	r.AwaitStderr(t, `launched: program=true`)
}
