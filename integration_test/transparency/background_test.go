package transparency

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
	proc "pidleash/internal/process"
)

// A backgroundRow is what -daemon changes.
type backgroundRow struct {
	title, is, why, remedy string
	// check fails the test unless it is so.
	check func(t *testing.T, program int)
}

var backgroundTable = []backgroundRow{
	{title: "descriptors above 2",
		is:     "closed, but for the sockets of the service manager (`LISTEN_FDS`) and that of `-ready fd:N`",
		why:    "whoever reads the other end would wait for PROGRAM's end: `x=$(pidleash -daemon … 3>&1)`",
		remedy: "have PROGRAM open them, or `-sidecar`, which keeps them",
		check: func(t *testing.T, program int) {
			// Others are those of its dynamic loader, for a moment.
			bed.Await(t, "PROGRAM has the descriptors 0 to 2 only", func() bool {
				return slices.Equal(descriptors(t, program), []string{"0", "1", "2"})
			})
		}},
	{title: "descriptors 0 to 2",
		is:     "`/dev/null`; 1 and 2 are the journal if they were",
		why:    "the same",
		remedy: "`-stdout`, `-stderr`",
		check: func(t *testing.T, program int) {
			for _, fd := range descriptors(t, program)[:3] {
				if link, _ := os.Readlink(bed.ProcFile(program, "fd/"+fd)); link != "/dev/null" {
					t.Errorf("PROGRAM has %q as descriptor %s", link, fd)
				}
			}
		}},
	{title: "session; terminal",
		is:     "a session of its own, without a terminal; PROGRAM does not lead it",
		why:    "no `^C` and no hang-up is meant for it, and it cannot get a terminal by accident, daemon(7)",
		remedy: "`setsid` in front of PROGRAM, if it insists on leading one",
		check: func(t *testing.T, program int) {
			p, err := proc.Read(program)
			bed.Must(t, err)
			own, err := proc.Read(os.Getpid())
			bed.Must(t, err)
			if p.Session == own.Session || p.Session == program {
				t.Errorf("PROGRAM, PID %d, is in session %d, this test in %d", program, p.Session, own.Session)
			}
		}},
}

func descriptors(t *testing.T, pid int) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(bed.ProcFile(pid, "fd"))
	bed.Must(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	slices.Sort(list)
	return list
}

func TestBackground(t *testing.T) {
	t.Parallel()
	for _, mode := range bed.StartModes {
		if !strings.HasPrefix(mode.Name, "daemon") {
			continue
		}
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.Sleeper(t)
			if strings.Contains(mode.Name, "forking") {
				a.Program = []string{"sh", "-c", "sleep 600 &"}
			}
			for range 4 {
				f, err := os.CreateTemp(a.Other, "held")
				bed.Must(t, err)
				defer f.Close()
				a.How.Extra = append(a.How.Extra, f)
			}
			// The substitution ends when nobody has its pipe any more: as descriptor 1, 2 or any other.
			a.How.Before = []string{"bash", "-c", `x=$("$@" 2>&1 3>&1 9>&1); echo "$?-$x"`, "bash"}
			r := a.Start(t, mode)
			r.Expect(t, "0-")
			r.ExpectCode(t, 0)
			program := bed.PIDIn(t, a.PIDFile)
			bed.Await(t, "PROGRAM is executed", a.IsSleeping)
			for i := range backgroundTable {
				backgroundTable[i].check(t, program)
			}
			a.Leave(t)
		})
	}
}

// The parent-death signal: who changes its user loses it, and -user does not.
func TestDeathSignalAfterChangeOfUser(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	bin := bed.OpenDir(t)
	mustRun(t, "cp", "/bin/cat", bin+"/setuid")
	bed.Must(t, os.Chown(bin+"/setuid", bed.Nobody, bed.Nobody))
	bed.Must(t, os.Chmod(bin+"/setuid", 0o755|os.ModeSetuid))
	for _, c := range []struct {
		name  string
		words []string
		lives bool
	}{
		{"no change", []string{"cat"}, false},
		{"-user", []string{"-user", "65534:65534", "cat"}, false},
		{"setpriv", []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat"}, true},
		{"set-user-ID", []string{bin + "/setuid"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := bed.OpenDir(t) + "/p.pid"
			r := bed.Start(t, bed.How{}, append([]string{"-pidfile", file}, c.words...)...)
			r.Obey(t, "runs", "runs")
			program := bed.PIDIn(t, file)
			r.Signal(syscall.SIGKILL)
			r.ExpectSignal(t, syscall.SIGKILL)
			if c.lives {
				r.Obey(t, "lives", "lives")
				r.Stdin.Close()
			}
			bed.Await(t, "PROGRAM ends", func() bool { return bed.Ended(program) })
		})
	}
}
