package docs

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// module is the prefix of every package of ours.
const module = "pidleash"

// goPackage is what go list tells of a package. The ignored files are those of
// other systems and architectures.
type goPackage struct {
	Dir, ImportPath           string
	GoFiles, IgnoredGoFiles   []string
	SFiles, IgnoredOtherFiles []string
	Imports                   []string
}

func (p *goPackage) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// roomName is how a room is called in messages and on docs/architecture.md.
func roomName(room string) string {
	if room == "" {
		return "main.go"
	}
	return room
}

// files are the sources of the program in a package, assembly included.
func (p *goPackage) files() (all []string) {
	for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles, p.SFiles, p.IgnoredOtherFiles) {
		if !strings.HasSuffix(name, "_test.go") {
			all = append(all, name)
		}
	}
	return all
}

// goPackages lists the packages of the program.
func goPackages(t *testing.T) []goPackage {
	t.Helper()
	list := exec.Command("go", "list", "-json", "./...")
	list.Dir, list.Stderr = bed.ModuleFile(), os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		// The tests' own are no part of the program, which may not import them; what packs it is none either.
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.room(), "integration_test/") && p.room() != "packaging" {
			packages = append(packages, p)
		}
	}
}

// source is one file of the program in Go.
type source struct {
	room, name string
	file       *ast.File
	positions  *token.FileSet
}

// at tells a node's place.
func (s *source) at(n ast.Node) string { return s.positions.Position(n.Pos()).String() }

// lines is how many lines a node has.
func (s *source) lines(n ast.Node) int {
	return s.positions.Position(n.End()).Line - s.positions.Position(n.Pos()).Line + 1
}

// sources parses every file of the program in Go, for whatever system it is.
func sources(t *testing.T) (all []source) {
	t.Helper()
	positions := token.NewFileSet()
	for _, p := range goPackages(t) {
		for _, name := range p.files() {
			if !strings.HasSuffix(name, ".go") {
				continue
			}
			file, err := parser.ParseFile(positions, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, source{p.room(), name, file, positions})
		}
	}
	return all
}
