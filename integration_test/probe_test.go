package integration

import (
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// compiledC has a function for each file of testdata that was compiled, which
// returns gcc's complaint.
var compiledC sync.Map

// compileC compiles a program of testdata, once in a run of the tests, and
// returns its path. It is static, so that no loader comes before its main, and
// lies beside the binary under test, which TestMain removes.
func compileC(t testing.TB, name string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		missing(t, "%v", err)
	}
	path := filepath.Join(filepath.Dir(pidleash), "c-"+strings.TrimSuffix(name, ".c"))
	compile, _ := compiledC.LoadOrStore(name, sync.OnceValue(func() string {
		gcc := exec.Command("gcc", "-static", "-O1", "-Wall", "-Wextra", "-o", path, filepath.Join("testdata", name))
		out, err := gcc.CombinedOutput()
		if err != nil {
			return err.Error() + "\n" + string(out)
		}
		return ""
	}))
	if complaint := compile.(func() string)(); complaint != "" {
		t.Fatalf("compile %s: %s", name, complaint)
	}
	return path
}
