package docs

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The figures of the house. They do not make the code good; they tell when to think again.
const (
	fieldLimit    = 16    // of a struct
	methodLimit   = 25    // of a type
	functionLimit = 60    // lines of one function
	medianLimit   = 10    // lines of the median function
	modeLimit     = 28    // places in package wrapper that ask for the mode
	productLimit  = 14935 // lines of the program, tests left out
)

// lineLimits is how many lines each room may have, with assembly and comments. The first plan was 11,000 for all. The
// comment beside a limit says why the room needed more lines. Besides, every room handles each call that the kernel or
// a sandbox can refuse.
var lineLimits = map[string]int{
	"":                   20,
	"wrapper":            2200, // daemons that make their session late; a /proc of another PID namespace
	"watch":              325,  // a timer of the kernel
	"internal/plan":      560,  // the signals that tell pidleash to end
	"internal/machine":   1215, // a file that is removed while it names the watchdog, or before a successor is found
	"internal/launch":    1400, // 32-bit and big-endian machines; files that cannot be logs; sockets that were closed
	"internal/atstart":   220,  // 32-bit and big-endian machines
	"internal/signals":   435,
	"internal/process":   965,  // a /proc of another PID namespace; recycled numbers; the status while nobody has waited
	"internal/daemon":    475,  // the successors of a daemon, and their workers
	"internal/pidfile":   2295, // whose locks count, and whose number it is; clocks that were set; a remedy for each refusal
	"internal/condition": 205,
	"internal/ready":     330, // logs that are written anew
	"internal/safeopen":  500, // what root opens by name, where other users may have a hand in it
	"internal/reserve":   145,
	"internal/sys":       210, // calls that are made again, and files of /proc that are read without Go's poller
	"internal/terminal":  180,
	"internal/link":      110,
	"internal/sdnotify":  410,
	"internal/fault":     110,
	"internal/control":   385,  // locks of processes that are no pidleash; a pidleash that is stopped
	"internal/cli":       2280, // hints for mistakes
}

// excess lets a type have more than others.
type excess struct {
	number int
	reason string
}

// manyFields has the structs above fieldLimit.
var manyFields = map[string]excess{
	"internal/plan.Plan": {29, "data: one field for each thing that can be asked for"},
}

func TestFigures(t *testing.T) {
	all := sources(t)
	t.Run("lines", testLines)
	t.Run("fields", func(t *testing.T) { checkCounts(t, "fields", fields(all), fieldLimit, manyFields) })
	t.Run("methods", func(t *testing.T) { checkCounts(t, "methods", methods(all), methodLimit, nil) })
	t.Run("functions", func(t *testing.T) { testFunctions(t, all) })
	t.Run("unsafe", func(t *testing.T) { testUnsafe(t, all) })
	t.Run("select", func(t *testing.T) { testSelects(t, all) })
	t.Run("modes", func(t *testing.T) { testModes(t, all) })
	t.Run("sleep", func(t *testing.T) { testSleeps(t, all) })
	t.Run("exit", func(t *testing.T) { testExits(t, all) })
	t.Run("init", func(t *testing.T) { testInits(t, all) })
}

func testLines(t *testing.T) {
	product := 0
	for _, p := range goPackages(t) {
		lines := 0
		for _, name := range p.files() {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			lines += strings.Count(string(text), "\n")
		}
		t.Logf("%-20s %5d", roomName(p.room()), lines)
		if limit := lineLimits[p.room()]; lines > limit {
			t.Errorf("%s has %d lines, the limit is %d", roomName(p.room()), lines, limit)
		}
		product += lines
	}
	t.Logf("%-20s %5d", "all", product)
	if product > productLimit {
		t.Errorf("the program has %d lines, the limit is %d", product, productLimit)
	}
}

// checkCounts compares types with the limit, and with the exceptions from it.
func checkCounts(t *testing.T, what string, counts map[string]int, limit int, exceptions map[string]excess) {
	for name, n := range counts {
		e, excepted := exceptions[name]
		if n > max(limit, e.number) {
			t.Errorf("%s has %d %s, the limit is %d", name, n, what, max(limit, e.number))
		}
		if excepted && n <= limit {
			t.Errorf("%s has %d %s: it is no exception any more", name, n, what)
		}
	}
	for name := range exceptions {
		if counts[name] == 0 {
			t.Errorf("%s is an exception, and no type", name)
		}
	}
}

// fields has the number of fields of every named struct. An embedded one counts as one.
func fields(all []source) map[string]int {
	counts := map[string]int{}
	for _, s := range all {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if structure, ok := spec.Type.(*ast.StructType); ok {
					counts[s.room+"."+spec.Name.Name] = structure.Fields.NumFields()
				}
			}
			return true
		})
	}
	return counts
}

// methods has the number of methods of every type that has some.
func methods(all []source) map[string]int {
	counts := map[string]int{}
	for _, f := range functions(all) {
		if f.Recv == nil {
			continue
		}
		receiver := f.Recv.List[0].Type
		if pointer, ok := receiver.(*ast.StarExpr); ok {
			receiver = pointer.X
		}
		counts[fmt.Sprint(f.in.room, ".", receiver)]++
	}
	return counts
}

// function is one with a name.
type function struct {
	*ast.FuncDecl
	in *source
}

func functions(all []source) (list []function) {
	for i := range all {
		for _, d := range all[i].file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				list = append(list, function{f, &all[i]})
			}
		}
	}
	return list
}

func testFunctions(t *testing.T, all []source) {
	var lengths []int
	for _, f := range functions(all) {
		n := f.in.lines(f)
		lengths = append(lengths, n)
		if n > functionLimit {
			t.Errorf("%s: %s has %d lines, the limit is %d", f.in.at(f), f.Name, n, functionLimit)
		}
	}
	slices.Sort(lengths)
	median := lengths[len(lengths)/2]
	t.Logf("%d functions, median %d, the longest %d lines", len(lengths), median, lengths[len(lengths)-1])
	if median > medianLimit {
		t.Errorf("the median of functions is %d lines, the limit is %d", median, medianLimit)
	}
}

// Where the rules of Go's memory are left, few lines are to be read with other eyes.
func testUnsafe(t *testing.T, all []source) {
	for _, s := range all {
		switch place := s.room + "/" + s.name; {
		case s.room == "internal/atstart", s.room == "internal/launch":
			continue
		case place == "internal/signals/kernel.go", place == "internal/process/kernel.go":
			continue
		}
		for _, i := range s.file.Imports {
			if i.Path.Value == `"unsafe"` {
				t.Errorf("%s: unsafe is for atstart, launch, and the kernel.go of signals and process", s.at(i))
			}
		}
		for _, group := range s.file.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:linkname") {
					t.Errorf("%s: linkname is for atstart and launch", s.at(c))
				}
			}
		}
	}
}

// wrapperSelects is how many select statements each file of the wrapper has: the loop's and the
// caller's are where things happen.
var wrapperSelects = map[string]int{
	"loop.go":   1,
	"caller.go": 1,
}

func testSelects(t *testing.T, all []source) {
	counts := map[string]int{}
	for _, s := range all {
		if s.room != "wrapper" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if _, ok := n.(*ast.SelectStmt); ok {
				counts[s.name]++
			}
			return true
		})
	}
	if !maps.Equal(counts, wrapperSelects) {
		t.Errorf("wrapper has these select statements: %v, want %v", counts, wrapperSelects)
	}
}

// calls has every selector "x.y" of the packages and names given.
func calls(s *source, in func(x, y string) bool) (list []ast.Node) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok && in(x.Name, selector.Sel.Name) {
				list = append(list, n)
			}
		}
		return true
	})
	return list
}

// testModes counts where wrapper asks for the mode, and not for what its role says. A new mode has to look at each.
func testModes(t *testing.T, all []source) {
	asked := 0
	for _, s := range all {
		if s.room != "wrapper" || s.name == "role.go" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if x, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Way", "Beside", "Stays", "isParent"}, x.Sel.Name) {
				asked++
			}
			return true
		})
	}
	if asked > modeLimit {
		t.Errorf("package wrapper asks for the mode in %d places, the limit is %d: let the role have it", asked, modeLimit)
	}
}

func testSleeps(t *testing.T, all []source) {
	for _, s := range all {
		if s.room != "wrapper" {
			continue
		}
		for _, n := range calls(&s, func(x, y string) bool { return x == "time" && y == "Sleep" }) {
			t.Errorf("%s: the loop never sleeps: a deadline is the machine's", s.at(n))
		}
	}
}

// testExits also recognises syscall.Exit, unix.Exit, log.Fatal and its kin, and cli.Exit of
// urfave/cli.
func testExits(t *testing.T, all []source) {
	exits := 0
	ends := []string{"Exit", "Fatal", "Fatalf", "Fatalln"}
	for _, s := range all {
		for _, n := range calls(&s, func(_, y string) bool { return slices.Contains(ends, y) }) {
			if s.room == "" && s.name == "main.go" {
				exits++
				continue
			}
			t.Errorf("%s: ends the process: only main does, so that the PID file is removed, messages are written out, and tests can call everything else", s.at(n))
		}
	}
	if exits != 1 {
		t.Errorf("main.go ends the process in %d places, want 1", exits)
	}
}

func testInits(t *testing.T, all []source) {
	for _, f := range functions(all) {
		if f.Recv == nil && f.Name.Name == "init" {
			t.Errorf("%s: an init function: it runs at every start of every program, in an order that nobody reads; let somebody call it", f.in.at(f))
		}
	}
}
