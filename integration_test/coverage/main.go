// Coverage tells how much of the program the end-to-end tests reach: it builds the binary with counters, runs folders
// of integration_test with it, and prints the percentage of each package. Arguments name the folders.
//
// A process writes its counters when it exits. One that ends by a signal of its own, or becomes PROGRAM, would not:
// for these the sources are built with a line more, on an overlay. One that is killed by SIGKILL is not counted, nor
// is one with an environment of its own, without GOCOVERDIR.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var tags = flag.String("tags", "", "build tags")

// last has where a process ends past os.Exit: the file, and the line before which it writes its counters.
var last = []struct{ file, line string }{
	{"internal/signals/action.go", "	setAction(sig, byDefault)\n	runtime.LockOSThread()\n"},
	{"internal/launch/launch.go", "	for i, file := range p.Program.candidates {\n		err := sys.Again("},
}

const write = "	_ = coverage.WriteCountersDir(os.Getenv(\"GOCOVERDIR\"))\n"

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
	overlay, err := writeOverlay(".", dir)
	if err != nil {
		return err
	}
	build := exec.Command("make", "-s", "build", "OUT="+binary, "BUILDFLAGS=-cover -covermode=atomic -coverpkg=./... -overlay="+overlay)
	if err := command(build); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	// Tests that fail with counters in the way count as well: that they pass is for the gate to say.
	for _, folder := range folders {
		test := exec.Command("go", "test", "-count=1", "-tags", *tags, "./integration_test/"+folder)
		test.Env = append(os.Environ(), "PIDLEASH_TEST_BINARY="+binary, "GOCOVERDIR="+counters)
		if out, err := test.CombinedOutput(); err != nil {
			fmt.Printf("%s: %v, %d tests have failed\n", folder, err, strings.Count(string(out), "--- FAIL"))
		}
	}
	return command(exec.Command("go", "tool", "covdata", "percent", "-i="+counters))
}

func command(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// writeOverlay writes changed copies of some sources, and the list that go build -overlay takes.
func writeOverlay(root, dir string) (string, error) {
	replace := map[string]string{}
	for i, place := range last {
		text, err := os.ReadFile(filepath.Join(root, place.file))
		if err != nil {
			return "", err
		}
		before, after, found := strings.Cut(string(text), place.line)
		if !found {
			return "", fmt.Errorf("%s has no %q", place.file, place.line)
		}
		before = strings.Replace(before, "import (\n", "import (\n\t\"runtime/coverage\"\n", 1)
		if !strings.Contains(before, "\t\"os\"\n") {
			before = strings.Replace(before, "import (\n", "import (\n\t\"os\"\n", 1)
		}
		file := filepath.Join(dir, fmt.Sprintf("overlay%d.go", i))
		replace[place.file] = file
		if err := os.WriteFile(file, []byte(before+write+place.line+after), 0o644); err != nil {
			return "", err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	path := filepath.Join(dir, "overlay.json")
	return path, errors.Join(err, os.WriteFile(path, list, 0o644))
}
