package faults

import (
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// mountFailure is what a mount can do to a start.
type mountFailure struct {
	name   string
	script string // makes the directory d in $0, where the PID files are
	bed.Conclusion
	program []string // DIR is $0
	only    []string // in these modes; nil: in all
}

var mountFailures = []mountFailure{
	{name: "full", script: `mount -t tmpfs -o size=16k none "$0"; mkdir "$0/d"; head -c 1M /dev/zero 2>&- >"$0/fill" || :`,
		Conclusion: bed.Conclusion{Code: 125, Line: "pidfile .*: cannot be (written|created in .*): no space left on device; hint: make room"},
		program:    []string{"sh", "-c", "sleep 600 &"}},
	{name: "read-only", script: `mount -t tmpfs none "$0"; mkdir "$0/d"; mount -o remount,ro "$0"`,
		Conclusion: bed.Conclusion{Code: 125, Line: "pidfile .*: cannot be created in .*: read-only file system; hint: .* tmpfs"},
		program:    []string{"sh", "-c", "sleep 600 &"}},
	{name: "noexec", script: `mount -t tmpfs -o noexec none "$0"; mkdir "$0/d"; cp /bin/true "$0/program"`,
		Conclusion: bed.Conclusion{Code: 126, Line: "/program: cannot be executed: permission denied; hint: .*noexec"},
		program:    []string{"DIR/program"}},
	{name: "no proc", script: `mkdir "$0/d"; umount -l /proc`,
		Conclusion: bed.Conclusion{Code: 125, Line: "hint: mount /proc"},
		program:    []string{"sleep", "600"}, only: []string{"daemon", "daemon forking", "sidecar"}},
	{name: "no proc to seek in", script: `mkdir "$0/d"; umount -l /proc`,
		Conclusion: bed.Conclusion{Code: 125, Line: "/proc"},
		program:    []string{"sh", "-c", "sleep 600 &"}, only: []string{"forking"}},
}

func TestFailuresOfMounts(t *testing.T) {
	t.Parallel()
	for _, m := range bed.StartModes {
		for _, f := range mountFailures {
			if f.only == nil || slices.Contains(f.only, kind(m)) {
				t.Run(m.Name+"/"+f.name, func(t *testing.T) { f.run(t, m, "") })
				t.Run(m.Name+"/"+f.name+"/supervisor", func(t *testing.T) { f.run(t, m, "/d/s.pid") })
			}
		}
	}
}

// run has the script show what is in the directory at the end.
func (f *mountFailure) run(t *testing.T, m bed.StartMode, super string) {
	t.Parallel()
	a := bed.NewAttempt(t)
	a.PIDFile, a.Program = a.Dir+"/d/p.pid", slices.Clone(f.program)
	a.Program[0] = strings.ReplaceAll(f.program[0], "DIR", a.Dir)
	if super != "" {
		a.Super = a.Dir + super
	}
	a.How = bed.InMountNamespace(t, f.script+`; code=0; "$@" || code=$?; ls -A "$0/d"; exit $code`, a.Dir)
	r := a.Start(t, m)
	f.Expect(t, r)
	if got := r.Rest(t); got != "" {
		t.Errorf("the directory has %q, want nothing", got)
	}
	a.Mark.ExpectNobody(t)
}
