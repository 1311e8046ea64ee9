package bed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// compiledC has a function for each program that was compiled, which returns
// gcc's complaint.
var compiledC sync.Map

// CompileC compiles a program of the folder's testdata, or of this one's, and
// returns its path. It is static, so that no loader comes before its main.
func CompileC(t testing.TB, name string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		Missing(t, "%v", err)
	}
	path := filepath.Join(probes, strings.TrimSuffix(name, ".c"))
	compile, _ := compiledC.LoadOrStore(name, sync.OnceValue(func() error { return compile(name, path) }))
	if err := compile.(func() error)(); err != nil {
		t.Fatalf("compile %s: %v", name, err)
	}
	return path
}

// compile leaves a program alone that another test binary has compiled. Two that
// do so at once replace one another's, and nobody ever finds an incomplete one.
func compile(name, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	source := filepath.Join("testdata", name)
	if _, err := os.Stat(source); err != nil {
		source = filepath.Join("..", "bed", "testdata", name)
	}
	unfinished := fmt.Sprintf("%s.%d", path, os.Getpid())
	out, err := exec.Command("gcc", "-static", "-O1", "-Wall", "-Wextra", "-o", unfinished, source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.Rename(unfinished, path)
}
