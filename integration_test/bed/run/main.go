// Run runs the tests: the unit tests, the folders of integration_test, and some of
// these once more on a binary built without the entry code. Every part runs,
// whatever came of the one before. Arguments name the folders to run instead.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

var (
	tags = flag.String("tags", "", "build tags of go test")
	race = flag.Bool("race", false, "run the unit tests with the race detector")
)

// first are the folders that take longest. Two run at a time; those with a systemd
// or a podman wait for one another, so that others run beside them. Their units have
// time limits: they come when the compiler is done.
var first = strings.Fields("soak file restart units while forking commands sidecar faults containers examples packages")

// plainFolders are about what the build without the entry code loses.
var plainFolders = []string{"signals", "transparency", "exit"}

// A part is one go test.
type part struct {
	title string
	words []string
	env   []string
}

func main() {
	flag.Parse()
	dir, err := os.MkdirTemp("", "pidleash-gate-")
	if err == nil {
		err = run(dir, flag.Args())
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir string, subjects []string) error {
	// Programs of other users run the binaries, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	folders, err := integrationFolders()
	if err != nil {
		return err
	}
	for _, name := range subjects {
		if !slices.Contains(folders, name) && len(unitPackages([]string{name})) == 0 {
			return fmt.Errorf("%s: no such folder; there are %s, and those of the product", name, strings.Join(folders, ", "))
		}
	}
	r := &report{}
	if words := unitPackages(subjects); len(words) > 0 {
		if *race {
			words = append([]string{"-race"}, words...)
		}
		r.run(part{"unit tests", words, nil})
	}
	for _, binary := range []struct {
		title, path string
		folders     []string
		words, env  []string
	}{
		{"the built binary", "pidleash", folders, nil, nil},
		{"the binary without the entry code", "plain/pidleash", plainFolders, []string{"ENTRY=", "RUNTIME="}, []string{"PIDLEASH_TEST_PLAIN=1"}},
	} {
		// Go does not know what the binary is made of: nothing is cached.
		words := []string{"-count=1", "-p=2", "-parallel=4"}
		some := false
		for _, folder := range binary.folders {
			if len(subjects) == 0 || slices.Contains(subjects, folder) {
				words, some = append(words, "./integration_test/"+folder), true
			}
		}
		if !some {
			continue
		}
		path := filepath.Join(dir, binary.path)
		if err := build(path, binary.words); err != nil {
			r.failed = append(r.failed, binary.title+": "+err.Error())
			continue // the end tells what the other parts have skipped and failed
		}
		r.run(part{binary.title, words, append(binary.env, "PIDLEASH_TEST_BINARY="+path, "PIDLEASH_TEST_PROBES="+dir)})
	}
	return r.conclude()
}

// integrationFolders are all but the benchmarks, in the order in which they start.
func integrationFolders() ([]string, error) {
	entries, err := os.ReadDir("integration_test")
	if err != nil {
		return nil, err
	}
	folders := slices.Clone(first)
	for _, e := range entries {
		if name := e.Name(); name != "bench" && !slices.Contains(folders, name) {
			folders = append(folders, name)
		}
	}
	return folders, nil
}

// unitPackages are those of the product among the subjects, by their last name.
func unitPackages(subjects []string) (list []string) {
	if len(subjects) == 0 {
		return []string{".", "./wrapper/...", "./watch/...", "./internal/...", "./packaging"}
	}
	for _, name := range subjects {
		for _, path := range []string{"./" + name, "./internal/" + name} {
			if _, err := os.Stat(path); err == nil {
				list = append(list, path)
			}
		}
	}
	return list
}

func build(path string, more []string) error {
	cmd := exec.Command("make", append([]string{"-s", "build", "OUT=" + path}, more...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", path, err)
	}
	return nil
}
