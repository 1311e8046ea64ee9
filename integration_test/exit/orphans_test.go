package exit

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"pidleash/integration_test/bed"
)

// Orphans end up with pidleash, which must wait for each of them at once, and
// must not take one for PROGRAM.
func TestOrphans(t *testing.T) {
	t.Parallel()
	orphans := bed.CompileC(t, "orphans.c")
	r := bed.Start(t, bed.How{}, orphans, "9500", "500", "7")
	r.Expect(t, "zombies 0")
	r.ExpectCode(t, 7)
	r.ExpectQuiet(t)
}

// Without somebody who waits they would stay: what TestOrphans counts can be
// other than 0.
func TestOrphansNotReaped(t *testing.T) {
	t.Parallel()
	orphans := bed.CompileC(t, "orphans.c")
	r := bed.Launch(t, exec.Command(orphans, "hold", orphans, "200", "0", "7"))
	r.Expect(t, "zombies 200")
	r.ExpectCode(t, 7)
}

func TestOrphansOfPID1(t *testing.T) {
	t.Parallel()
	orphans := bed.CompileC(t, "orphans.c")
	r := bed.Launch(t, newPIDNamespace(t, bed.Pidleash, orphans, "1500", "500", "7"))
	r.Expect(t, "zombies 0")
	r.ExpectCode(t, 7)
	r.ExpectQuiet(t)

	r = bed.Launch(t, newPIDNamespace(t, orphans, "hold", orphans, "200", "0", "7"))
	r.Expect(t, "zombies 200")
	r.ExpectCode(t, 7)
}

// newPIDNamespace is a command that becomes the first process of a PID namespace
// with a /proc of its own.
func newPIDNamespace(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	bed.NeedRoot(t)
	if _, err := exec.LookPath("unshare"); err != nil {
		bed.Missing(t, "%v", err)
	}
	return exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", "--"}, args...)...)
}

// Where SIGCHLD is ignored the kernel reaps by itself and wait(2) has nothing to
// return: other wrappers never end then.
func TestOrphansWithChildSignalIgnored(t *testing.T) {
	t.Parallel()
	orphans := bed.CompileC(t, "orphans.c")
	h := bed.How{Before: []string{bed.CompileC(t, "as.c"), "ignore=17"}}
	for i := range 20 {
		r := bed.Start(t, h, "sh", "-c", fmt.Sprintf("exit %d", i))
		r.ExpectCode(t, i)
	}
	r := bed.Start(t, h, orphans, "200", "100", "7")
	r.Expect(t, "zombies 0")
	r.ExpectCode(t, 7)
}

// Pidleash is the orphans' new parent.
func TestSubreaper(t *testing.T) {
	t.Parallel()
	orphans := bed.CompileC(t, "orphans.c")
	r := bed.Start(t, bed.How{}, orphans, "where")
	r.Expect(t, "parent "+strconv.Itoa(r.PID())+" pidleash")
	r.ExpectCode(t, 0)

	// A wrapper that is no subreaper does not see them.
	r = bed.Launch(t, exec.Command(orphans, "pass", orphans, "where"))
	if line := r.Line(t); regexp.MustCompile(fmt.Sprintf(`^parent %d `, r.PID())).MatchString(line) {
		t.Errorf("the orphan of a wrapper that is no subreaper says %q", line)
	}
	r.ExpectCode(t, 0)
}
