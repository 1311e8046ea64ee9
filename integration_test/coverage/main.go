// Coverage tells how much of the program the end-to-end tests reach: it builds the binary with counters, runs folders
// of integration_test with it, and prints the percentage of each package. Arguments name the folders. It fails if a
// test does.
//
// A process writes its counters when it exits. One that ends by a signal of its own, or becomes PROGRAM, would not, nor
// would one with an environment of its own: for these some sources are changed, on an overlay. One that is killed by
// SIGKILL is not counted.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

var tags = flag.String("tags", "", "build tags")

// edit is a change of a source, for the build with counters.
type edit struct {
	file     string
	old, new string // DIR stands for the directory of the counters, as Go writes a string
	every    bool   // wherever the old text stands
}

const imports, write = "import (\n", "	_ = coverage.WriteCountersDir(DIR)\n"

// creates opens a file of counters without Go's poller, which ends the process where a sandbox or a limit refuses it one.
const creates = "func() (*os.File, error) {\n" +
	"\t\tfd, err := syscall.Open(NAME, syscall.O_RDWR|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o666)\n" +
	"\t\tif err != nil {\n\t\t\treturn nil, err\n\t\t}\n\t\treturn os.NewFile(uintptr(fd), NAME), nil\n\t}()"

// edits have a process write its counters where it ends past os.Exit, and whatever its environment is; where it cannot,
// in a chroot(2) for one, it is to say nothing of that.
func edits(goroot string) []edit {
	const dies = "	setAction(sig, byDefault)\n	runtime.LockOSThread()\n"
	const becomes = "	for i, file := range p.Program.candidates {\n		err := sys.Again("
	emit := filepath.Join(goroot, "src/internal/coverage/cfile/emit.go")
	return []edit{
		{file: "internal/signals/action.go", old: dies, new: write + dies},
		{file: "internal/signals/action.go", old: imports, new: imports + "\t\"runtime/coverage\"\n"},
		{file: "internal/launch/launch.go", old: becomes, new: write + becomes},
		{file: "internal/launch/launch.go", old: imports, new: imports + "\t\"runtime/coverage\"\n"},
		{file: emit, old: "goCoverDir = os.Getenv(\"GOCOVERDIR\")", new: "goCoverDir = DIR"},
		{file: emit, old: "os.Create(s.mftmp)", new: strings.ReplaceAll(creates, "NAME", "s.mftmp")},
		{file: emit, old: "os.Create(s.cftmp)", new: strings.ReplaceAll(creates, "NAME", "s.cftmp")},
		{file: emit, old: "\t\"os\"\n", new: "\t\"os\"\n\t\"syscall\"\n"},
		{file: emit, old: "fmt.Fprintf(os.Stderr, ", new: "fmt.Fprintf(io.Discard, ", every: true},
	}
}

func main() {
	flag.Parse()
	dir, err := os.MkdirTemp("", "pidleash-coverage-")
	if err == nil {
		err = run(dir, flag.Args())
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

func run(dir string, folders []string) error {
	counters, binary := filepath.Join(dir, "counters"), filepath.Join(dir, "pidleash")
	// Programs of other users run the binary and write counters, too.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(counters, 0o777), os.Chmod(counters, 0o777)); err != nil {
		return err
	}
	overlay, err := writeOverlay(".", dir, counters)
	if err != nil {
		return err
	}
	build := exec.Command("make", "-s", "build", "OUT="+binary, "BUILDFLAGS=-cover -covermode=atomic -coverpkg=./... -overlay="+overlay)
	if err := command(build); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	test := exec.Command("go", "test", "-count=1", "-timeout=30m", "-p=2", "-parallel=4", "-tags", *tags)
	for _, folder := range folders {
		test.Args = append(test.Args, "./integration_test/"+folder)
	}
	test.Env = append(os.Environ(), "PIDLEASH_TEST_BINARY="+binary)
	failed := command(test)
	return errors.Join(failed, command(exec.Command("go", "tool", "covdata", "percent", "-i="+counters)))
}

func command(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// writeOverlay writes changed copies of some sources, and the list that go build -overlay takes.
func writeOverlay(root, dir, counters string) (string, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for i, e := range edits(strings.TrimSpace(string(goroot))) {
		source := e.file
		if !filepath.IsAbs(source) {
			source = filepath.Join(root, source)
		}
		if earlier, found := replace[e.file]; found {
			source = earlier
		}
		text, err := os.ReadFile(source)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), e.old); n == 0 || n > 1 && !e.every {
			return "", fmt.Errorf("%s has %q %d times", e.file, e.old, n)
		}
		copied := strings.ReplaceAll(string(text), e.old, strings.ReplaceAll(e.new, "DIR", strconv.Quote(counters)))
		replace[e.file] = filepath.Join(dir, fmt.Sprintf("overlay%d.go", i))
		if err := os.WriteFile(replace[e.file], []byte(copied), 0o644); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	path := filepath.Join(dir, "overlay.json")
	return path, errors.Join(err, os.WriteFile(path, list, 0o644))
}
