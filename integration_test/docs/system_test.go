package docs

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// Whoever builds for another system is told the reason in one line, not hundreds
// of undefined names.
func TestOtherSystemsAreRefusedClearly(t *testing.T) {
	for _, system := range []string{"darwin", "windows"} {
		build := exec.Command("go", "build", "-o", os.DevNull, ".")
		build.Dir = bed.ModuleFile()
		build.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		text := strings.TrimSpace(string(out))
		if err == nil || !strings.HasSuffix(text, "undefined: pidleash_runs_on_Linux_only") || strings.Count(text, "\n") != 1 {
			t.Errorf("%s: got %v and:\n%s\nwant main_other.go's line and no other", system, err, text)
		}
	}
}
