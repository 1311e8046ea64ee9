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

// mayImport says which packages of ours each may use, and why not more. What is
// not listed may use none. A new room is a new line here.
var mayImport = map[string]struct {
	packages []string
	reason   string
}{
	"":                  {[]string{"internal/cli"}, "main is the call into the command line and the only os.Exit"},
	"internal/cli":      {[]string{"wrapper", "internal/control", "internal/pidfile", "internal/sdnotify", "internal/atstart", "internal/plan", "internal/fault"}, "the command line makes a plan; it neither spawns nor watches"},
	"wrapper":           {[]string{"watch", "internal/pidfile", "internal/process", "internal/sdnotify", "internal/daemon", "internal/atstart", "internal/plan", "internal/fault"}, "the wrapper runs a program; it knows nothing of arguments and messages"},
	"internal/control":  {[]string{"watch", "internal/pidfile", "internal/process", "internal/plan", "internal/fault"}, "who stops, signals and waits knows nothing of arguments, nor of who runs programs"},
	"watch":             {nil, "the watch knows one path and nothing of what it means"},
	"internal/pidfile":  {[]string{"internal/process", "internal/fault"}, "the identity of a PID file is the same whoever runs the program"},
	"internal/plan":     {nil, "what was asked for is data"},
	"internal/fault":    {nil, "an error knows nothing of who reports it"},
	"internal/process":  {nil, "what the kernel tells of processes is the same for everybody"},
	"internal/daemon":   {nil, "the talk between two processes is not about what they do"},
	"internal/sdnotify": {nil, "datagrams of the service manager are about no program"},
	"internal/atstart":  {nil, "it must be initialised before every other package"},
}

// goPackage is what go list tells of a package. The ignored files are those of
// other systems and architectures.
type goPackage struct {
	Dir, ImportPath         string
	GoFiles, IgnoredGoFiles []string
	Imports                 []string
}

func (p *goPackage) room() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
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
		// The tests' own are no part of the program, which may not import them.
		if len(p.GoFiles) > 0 && !strings.HasPrefix(p.room(), "integration_test/") {
			packages = append(packages, p)
		}
	}
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range goPackages(t) {
		rule, known := mayImport[p.room()]
		if !known {
			t.Errorf("%s: not in the list of rooms: say in mayImport what it may import, and why", p.ImportPath)
		}
		for _, path := range p.Imports {
			room, ours := strings.CutPrefix(path, module+"/")
			if ours && !slices.Contains(rule.packages, room) {
				t.Errorf("%s imports %s: imports run main, cli, wrapper, watch and pidfile, never back: %s", p.ImportPath, path, rule.reason)
			}
		}
	}
}

// Any import would be initialised before it, and package syscall's
// initialisation raises RLIMIT_NOFILE.
func TestAtstartImportsNothing(t *testing.T) {
	for _, p := range goPackages(t) {
		if p.room() == "internal/atstart" && !slices.Equal(p.Imports, []string{"unsafe"}) {
			t.Errorf("%s imports %v: with anything but unsafe it is no longer the first package that is initialised", p.ImportPath, p.Imports)
		}
	}
}

func TestOnlyMainExits(t *testing.T) {
	exits := 0
	eachFile(t, func(p goPackage, name string, file *ast.File, at func(ast.Node) string) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok || !exitsProcess(call) {
				return true
			}
			if p.room() == "" && name == "main.go" {
				exits++
				return true
			}
			t.Errorf("%s: ends the process: only main does, so that the PID file is removed, messages are written out, and tests can call everything else", at(n))
			return true
		})
	})
	if exits != 1 {
		t.Errorf("main.go ends the process in %d places, want 1", exits)
	}
}

// exitsProcess recognises os.Exit, syscall.Exit, unix.Exit, log.Fatal and its
// kin, and cli.Exit of urfave/cli.
func exitsProcess(call *ast.SelectorExpr) bool {
	if _, ok := call.X.(*ast.Ident); !ok {
		return false
	}
	return slices.Contains([]string{"Exit", "Fatal", "Fatalf", "Fatalln"}, call.Sel.Name)
}

func TestNoInitFunctions(t *testing.T) {
	eachFile(t, func(_ goPackage, _ string, file *ast.File, at func(ast.Node) string) {
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: an init function: it runs at every start of every program, in an order that nobody reads; let somebody call it", at(f))
			}
		}
	})
}

// eachFile parses every file of the module that is no test, for whatever system
// it is. at tells a node's place.
func eachFile(t *testing.T, look func(p goPackage, name string, file *ast.File, at func(ast.Node) string)) {
	t.Helper()
	files := token.NewFileSet()
	at := func(n ast.Node) string { return files.Position(n.Pos()).String() }
	for _, p := range goPackages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			look(p, name, file, at)
		}
	}
}

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
