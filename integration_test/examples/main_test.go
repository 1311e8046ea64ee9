package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

func TestMain(m *testing.M) { bed.Main(m) }

// TestReadme has the page link every example, and nothing that is not there.
func TestReadme(t *testing.T) {
	page := bed.ReadFile(t, bed.ModuleFile("examples", "README.md"))
	bed.Must(t, filepath.WalkDir(bed.ModuleFile("examples"), func(path string, entry os.DirEntry, err error) error {
		name, _ := filepath.Rel(bed.ModuleFile("examples"), path)
		if err == nil && !entry.IsDir() && name != "README.md" && !strings.Contains(page, "]("+name+")") {
			t.Errorf("examples/README.md does not link %s", name)
		}
		return err
	}))
	for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(bed.ModuleFile("examples", link[1])); err != nil {
			t.Errorf("examples/README.md links %s: %v", link[1], err)
		}
	}
}
