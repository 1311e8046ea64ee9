package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"pidleash/integration_test/bed"
)

// placeholder is a word in capitals as a part of an address, or a word that stands for who publishes. A reader cannot
// know what to put there, and a command that has one does not run. FILE, DURATION and their like are arguments.
var placeholder = regexp.MustCompile(`(?:[a-z]+://|\b[a-z0-9-]+\.(?:com|org|io|net|dev|example)\b)\S*?/[A-Z][A-Z_-]{2,}\b` +
	`|\b(?:OWNER|ORG|ORGANI[SZ]ATION|REPO|REPOSITORY|USERNAME|YOUR[A-Z_]*|CHANGEME|FIXME|TODO|XXX)\b`)

// No page, and nothing that is to be copied, has a placeholder.
func TestNoPlaceholder(t *testing.T) {
	files := []string{"man/pidleash.1", "Dockerfile", "Makefile"}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md"} {
		all, err := filepath.Glob(bed.ModuleFile(pattern))
		bed.Must(t, err)
		for _, path := range all {
			name, err := filepath.Rel(bed.ModuleFile(), path)
			bed.Must(t, err)
			files = append(files, name)
		}
	}
	bed.Must(t, filepath.WalkDir(bed.ModuleFile("examples"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(bed.ModuleFile(), path)
			files = append(files, path)
		}
		return err
	}))
	for _, needed := range []string{"README.md", "docs/install.md", "examples/README.md"} {
		if !slices.Contains(files, needed) {
			t.Errorf("%s is not looked at", needed)
		}
	}
	for _, name := range files {
		for _, found := range placeholder.FindAllString(bed.ReadFile(t, bed.ModuleFile(name)), -1) {
			t.Errorf("%s has the placeholder %s", name, found)
		}
	}
}
