package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// A report is what there is to say of all parts.
type report struct {
	failed  []string
	skipped []string
	running map[string]time.Time // tests, by package and name
	output  map[string]string    // theirs
}

// An event is a line of go test -json, see go doc test2json.
type event struct {
	Action, Package, Test, Output string
}

func (e *event) name() string {
	return strings.TrimSpace(strings.TrimPrefix(e.Package, "pidleash/") + " " + e.Test)
}

// quiet is the longest time without a word.
const quiet = 15 * time.Second

// run runs a part and tells how its packages end.
func (r *report) run(p part) {
	fmt.Printf("== %s\n", p.title)
	r.running, r.output = map[string]time.Time{}, map[string]string{}
	cmd := exec.Command("go", append([]string{"test", "-json", "-timeout=20m", "-tags=" + *tags}, p.words...)...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stderr = os.Stderr
	events := make(chan event)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.failed = append(r.failed, p.title+": "+err.Error())
		return
	}
	go func() {
		defer close(events)
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			if line != "" {
				e := event{Action: "build-output", Output: line} // not from a test
				_ = json.Unmarshal([]byte(line), &e)
				events <- e
			}
			if err != nil {
				return
			}
		}
	}()
	r.listen(events)
	if err := cmd.Wait(); err != nil {
		r.failed = append(r.failed, p.title)
	}
}

func (r *report) listen(events <-chan event) {
	for tick := time.NewTicker(quiet); ; {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			r.take(e)
		case <-tick.C:
			r.tellRunning()
		}
	}
}

func (r *report) take(e event) {
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "run":
		r.running[e.name()] = time.Now()
	case "output":
		if e.Test == "" && (strings.HasPrefix(e.Output, "ok  \t") || strings.HasPrefix(e.Output, "FAIL\t")) {
			fmt.Print(e.Output)
		} else if !strings.HasPrefix(e.Output, "=== ") && e.Output != "FAIL\n" {
			r.output[e.name()] += e.Output
		}
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, e.name()+": "+reason(r.output[e.name()]))
		}
		r.forget(e)
	case "fail":
		// A test that panics has no end of its own: its package has.
		for name, text := range r.output {
			if name == e.name() || e.Test == "" && strings.HasPrefix(name, e.name()+" ") {
				fmt.Printf("%s\n%s", name, text)
			}
		}
		if e.Test == "" {
			r.failed = append(r.failed, e.name())
		}
		r.forget(e)
	case "pass":
		r.forget(e)
	}
}

func (r *report) forget(e event) {
	delete(r.running, e.name())
	delete(r.output, e.name())
}

// reason is what a test has said before it was skipped, without the place.
func reason(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	if _, after, ok := strings.Cut(first, ".go:"); ok {
		_, first, _ = strings.Cut(after, ": ")
	}
	return strings.TrimSpace(first)
}

func (r *report) tellRunning() {
	var names []string
	for name, since := range r.running {
		if !strings.Contains(name, "/Test") && !strings.Contains(name[strings.LastIndexByte(name, ' ')+1:], "/") {
			names = append(names, fmt.Sprintf("%s (%.0f s)", strings.TrimPrefix(name, "integration_test/"), time.Since(since).Seconds()))
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		names = []string{"go test builds"}
	}
	fmt.Println("   running:", strings.Join(names, ", "))
}

// withoutEntry begins the reason of those that are skipped in one part only.
const withoutEntry = "built without the entry code: "

// conclude tells what was skipped. In CI nothing may be but what the other binary ran.
func (r *report) conclude() error {
	for _, line := range r.skipped {
		fmt.Println("skipped:", line)
		if os.Getenv("CI") != "" && !strings.Contains(line, withoutEntry) {
			r.failed = append(r.failed, "skipped in CI: "+line)
		}
	}
	if len(r.failed) > 0 {
		return errors.New("failed: " + strings.Join(r.failed, "; "))
	}
	return nil
}
