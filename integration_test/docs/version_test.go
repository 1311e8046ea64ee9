package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// -version tells what make was given, as in the Dockerfile, else what git knows.
func TestVersion(t *testing.T) {
	t.Parallel()
	given := filepath.Join(t.TempDir(), "pidleash")
	build := exec.Command("make", "-s", "-C", bed.ModuleFile(), "build", "OUT="+given, "VERSION=1.2.3", "COMMIT=0123abcd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	out, err := exec.Command(given, "-version").Output()
	bed.Must(t, err)
	if !regexp.MustCompile(`^pidleash 1\.2\.3 \(commit 0123abcd, go[^ ]+\)\n$`).Match(out) {
		t.Errorf("built with a version and a commit it says %q", out)
	}
	if _, err := os.Stat(bed.ModuleFile(".git")); err != nil {
		return // an archive of the source
	}
	head, err := exec.Command("git", "-C", bed.ModuleFile(), "rev-parse", "HEAD").Output()
	if err != nil {
		t.Logf("git does not tell the commit: %v", err)
		return
	}
	if got := bed.Start(t, bed.How{}, "-version").Rest(t); !strings.Contains(got, "(commit "+strings.TrimSpace(string(head))) {
		t.Errorf("it says %q, git says %s", got, head)
	}
}
