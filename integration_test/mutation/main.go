// Mutation breaks each protection of protections.txt, one at a time, in a copy of the tree, and runs the tests that are
// to notice. Where these tests stay green, a test is missing.
//
// `make mutation` runs it. The gate only checks that the list still fits the sources.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

const list = "integration_test/mutation/protections.txt"

var (
	only    = flag.String("only", "", "break only those whose text or file matches this regular expression")
	workers = flag.Int("workers", 2, "how many are broken at the same time, each in a copy of its own")
	tags    = flag.String("tags", "", "build tags of go test")
	limit   = flag.String("limit", "3m", "how long the tests of one may take")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run works in the root of the module.
func run() error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	all, err := parse(string(text))
	if err != nil {
		return err
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	queue := make(chan protection, len(all))
	for _, p := range all {
		if wanted.MatchString(p.what) || wanted.MatchString(p.file) {
			queue <- p
		}
	}
	close(queue)
	r := &results{green: map[string]error{}}
	var done sync.WaitGroup
	failed := make([]error, *workers)
	for i := range *workers {
		done.Go(func() { failed[i] = work(queue, r) })
	}
	done.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return r.conclude()
}

// work takes protections from the queue and breaks them in a copy of the tree.
func work(queue <-chan protection, r *results) error {
	dir, err := os.MkdirTemp("", "pidleash-mutation-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Tests start programs of other users.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := copyTree(dir); err != nil {
		return err
	}
	for p := range queue {
		r.note(p, try(dir, p, r))
	}
	return nil
}

// copyTree copies what git knows, and what is new and not ignored.
func copyTree(dir string) error {
	names, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		st, err := os.Lstat(name)
		if os.IsNotExist(err) {
			continue // removed, and not committed
		}
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, st.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// try is nil if the tests go red when the protection is broken, and only then.
func try(dir string, p protection, r *results) error {
	path := filepath.Join(dir, p.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	broken, err := p.breakIn(string(text))
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(broken), 0o644); err != nil {
		return err
	}
	out, red := test(dir, p)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	switch {
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return fmt.Errorf("does not build:\n%s", out)
	case strings.Contains(out, "no tests to run"):
		return fmt.Errorf("no test is called %s", p.run)
	case !red:
		return fmt.Errorf("survives")
	}
	return r.isGreen(p, func() error {
		if out, red := test(dir, p); red {
			return fmt.Errorf("the tests are red anyway:\n%s", out)
		}
		return nil
	})
}

// test reports whether the tests of a protection are red. What they print goes to a file: a program that a broken
// tree leaves behind could keep a pipe open.
func test(dir string, p protection) (out string, red bool) {
	f, err := os.CreateTemp("", "pidleash-mutation-")
	if err != nil {
		return err.Error(), true
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-failfast", "-timeout", *limit, "-tags", *tags, "-run", p.run, p.pack)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, f, f
	err = cmd.Run()
	text, _ := os.ReadFile(f.Name())
	return string(text), err != nil
}

// results are what has come of the protections.
type results struct {
	mutex sync.Mutex
	red   int
	bad   []string
	green map[string]error // of the tests on the tree as it is
}

func (r *results) note(p protection, err error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err == nil {
		r.red++
		fmt.Printf("red       %s: %s\n", p.file, p.what)
		return
	}
	fmt.Printf("SURVIVES  %s: %s: %v\n", p.file, p.what, err)
	r.bad = append(r.bad, p.file+": "+p.what)
}

// isGreen runs the same tests once only.
func (r *results) isGreen(p protection, run func() error) error {
	key := p.pack + " " + p.run
	r.mutex.Lock()
	err, known := r.green[key]
	r.mutex.Unlock()
	if !known {
		err = run()
		r.mutex.Lock()
		r.green[key] = err
		r.mutex.Unlock()
	}
	return err
}

func (r *results) conclude() error {
	fmt.Printf("%d broken, %d red\n", r.red+len(r.bad), r.red)
	if len(r.bad) > 0 {
		return fmt.Errorf("%d without a test:\n  %s", len(r.bad), strings.Join(r.bad, "\n  "))
	}
	return nil
}
