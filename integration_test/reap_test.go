package integration

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// Orphans end up with pidleash, which must wait for each of them at once, and
// must not take one for PROGRAM.
func TestOrphans(t *testing.T) {
	t.Parallel()
	orphans := compileC(t, "orphans.c")
	r := start(t, how{}, orphans, "9500", "500", "7")
	r.expect(t, "zombies 0")
	r.expectCode(t, 7)
	r.expectQuiet(t)
}

// Without somebody who waits they would stay: what TestOrphans counts can be
// other than 0.
func TestOrphansNotReaped(t *testing.T) {
	t.Parallel()
	orphans := compileC(t, "orphans.c")
	r := launch(t, exec.Command(orphans, "hold", orphans, "200", "0", "7"))
	r.expect(t, "zombies 200")
	r.expectCode(t, 7)
}

func TestOrphansOfPID1(t *testing.T) {
	t.Parallel()
	orphans := compileC(t, "orphans.c")
	r := launch(t, newPIDNamespace(t, pidleash, orphans, "1500", "500", "7"))
	r.expect(t, "zombies 0")
	r.expectCode(t, 7)
	r.expectQuiet(t)

	r = launch(t, newPIDNamespace(t, orphans, "hold", orphans, "200", "0", "7"))
	r.expect(t, "zombies 200")
	r.expectCode(t, 7)
}

// newPIDNamespace is a command that becomes the first process of a PID namespace
// with a /proc of its own.
func newPIDNamespace(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	needRoot(t)
	if _, err := exec.LookPath("unshare"); err != nil {
		missing(t, "%v", err)
	}
	return exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount-proc", "--"}, args...)...)
}

// Where SIGCHLD is ignored the kernel reaps by itself and wait(2) has nothing to
// return: other wrappers never end then.
func TestOrphansWithChildSignalIgnored(t *testing.T) {
	t.Parallel()
	orphans := compileC(t, "orphans.c")
	h := how{before: []string{compileC(t, "as.c"), "ignore=17"}}
	for i := range 20 {
		r := start(t, h, "sh", "-c", fmt.Sprintf("exit %d", i))
		r.expectCode(t, i)
	}
	r := start(t, h, orphans, "200", "100", "7")
	r.expect(t, "zombies 0")
	r.expectCode(t, 7)
}

// Pidleash is the orphans' new parent.
func TestSubreaper(t *testing.T) {
	t.Parallel()
	orphans := compileC(t, "orphans.c")
	r := start(t, how{}, orphans, "where")
	r.expect(t, "parent "+strconv.Itoa(r.pid())+" pidleash")
	r.expectCode(t, 0)

	// A wrapper that is no subreaper does not see them.
	r = launch(t, exec.Command(orphans, "pass", orphans, "where"))
	if line := r.line(t); regexp.MustCompile(fmt.Sprintf(`^parent %d `, r.pid())).MatchString(line) {
		t.Errorf("the orphan of a wrapper that is no subreaper says %q", line)
	}
	r.expectCode(t, 0)
}
