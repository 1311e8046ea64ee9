package docs

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// workflow is what matters of a file in .github/workflows.
type workflow struct {
	On   map[string]struct{ Branches, Tags []string } `json:"true"` // "on" is a truth value of YAML 1.1
	Jobs map[string]job
}

type job struct {
	If          string
	Uses        string // a workflow of this repository
	Needs       string
	Timeout     int `json:"timeout-minutes"`
	Permissions map[string]string
	Strategy    struct{ Matrix struct{ Part []string } }
	Steps       []struct {
		Uses, Run string
		With      map[string]any
	}
}

// commands are the lines that it runs.
func (j *job) commands() (all []string) {
	for _, s := range j.Steps {
		for line := range strings.Lines(s.Run) {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return append(all, j.Strategy.Matrix.Part...)
}

// workflows reads the files as GitHub does, in YAML.
func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	needProgram(t, "python3")
	paths, err := filepath.Glob(bed.ModuleFile(".github/workflows/*"))
	bed.Must(t, err)
	const read = "import json, sys, yaml; json.dump([yaml.safe_load(open(path)) for path in sys.argv[1:]], sys.stdout)"
	out, err := exec.Command("python3", append([]string{"-c", read}, paths...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var list []workflow
	bed.Must(t, json.Unmarshal(out, &list))
	all := map[string]workflow{}
	for i, path := range paths {
		all[filepath.Base(path)] = list[i]
	}
	return all
}

// makeTargets are the targets of "make" in a command, without settings of variables.
func makeTargets(command string) (targets []string) {
	_, words, found := strings.Cut(" "+command, " make ")
	for word := range strings.FieldsSeq(words) {
		if found && !strings.Contains(word, "=") {
			targets = append(targets, word)
		}
	}
	return targets
}

// TestWorkflows: nobody here can run the files, so what can be known of them without that is held.
func TestWorkflows(t *testing.T) {
	all := workflows(t)
	t.Run("jobs", func(t *testing.T) { testJobs(t, all) })
	t.Run("steps", func(t *testing.T) { testSteps(t, all) })
	t.Run("check", func(t *testing.T) { testCheck(t, all) })
	t.Run("release", func(t *testing.T) { testRelease(t, all["release.yml"]) })
}

func testJobs(t *testing.T, all map[string]workflow) {
	makefile := bed.ReadFile(t, bed.ModuleFile("Makefile"))
	for file, w := range all {
		for name, j := range w.Jobs {
			if j.Uses != "" {
				if _, known := all[strings.TrimPrefix(j.Uses, "./.github/workflows/")]; !known {
					t.Errorf("%s: %s uses %s, which is none of the workflows", file, name, j.Uses)
				}
				continue
			}
			if j.Timeout < 1 || j.Timeout > 30 {
				t.Errorf("%s: %s may take %d minutes, want 1 to 30", file, name, j.Timeout)
			}
			for _, command := range j.commands() {
				for _, target := range makeTargets(command) {
					if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).MatchString(makefile) {
						t.Errorf("%s: %s: the Makefile has no target %s", file, command, target)
					}
				}
			}
		}
	}
}

func testSteps(t *testing.T, all map[string]workflow) {
	pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@(v[0-9]+(\.[0-9]+)*|[0-9a-f]{40})$`)
	minor := regexp.MustCompile(`(?m)^go ([0-9]+\.[0-9]+)`).FindStringSubmatch(bed.ReadFile(t, bed.ModuleFile("go.mod")))[1]
	for file, w := range all {
		for _, j := range w.Jobs {
			for _, s := range j.Steps {
				if s.Uses != "" && !pinned.MatchString(s.Uses) {
					t.Errorf("%s: %s names no version", file, s.Uses)
				}
				switch action, _, _ := strings.Cut(s.Uses, "@"); action {
				case "actions/checkout":
					if s.With["fetch-depth"] != 0.0 {
						t.Errorf("%s: without fetch-depth 0 git describe does not know the version", file)
					}
				case "actions/setup-go":
					if s.With["go-version"] != minor+".x" {
						t.Errorf("%s: Go %v, go.mod has %s", file, s.With["go-version"], minor)
					}
				}
			}
		}
	}
}

// testCheck: what `make check` runs is run for each push, once.
func testCheck(t *testing.T, all map[string]workflow) {
	check := all["check.yml"]
	job := check.Jobs["check"]
	var parts []string
	for _, part := range job.Strategy.Matrix.Part {
		parts = append(parts, makeTargets(part)...)
	}
	var want []string
	for _, file := range []string{"Makefile", ".ci/run"} {
		text := bed.ReadFile(t, bed.ModuleFile(file))
		if file == "Makefile" {
			_, text, _ = strings.Cut(text, "\ncheck:\n")
			text, _, _ = strings.Cut(text, "\n\n")
			text = strings.ReplaceAll(text, "$(MAKE)", "make")
		}
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "#") {
				want = append(want, makeTargets(strings.TrimSpace(line))...)
			}
		}
	}
	slices.Sort(parts)
	slices.Sort(want)
	if !slices.Equal(parts, want) {
		t.Errorf("check.yml runs %q, make check %q", parts, want)
	}
	if job.Timeout != 15 {
		t.Errorf("a part may take %d minutes, want 15", job.Timeout)
	}
	if !strings.HasPrefix(job.If, "github.event_name != 'pull_request' ||") {
		t.Errorf("a pull request of a branch here is checked twice: if: %s", job.If)
	}
	for file, w := range all {
		if push, found := w.On["push"]; found && (push.Tags == nil) != (file == "check.yml") {
			t.Errorf("%s runs for a push of branches %q, tags %q; want check.yml for branches, others for tags", file, push.Branches, push.Tags)
		}
	}
	if push := check.On["push"]; !slices.Equal(push.Branches, []string{"**"}) {
		t.Errorf("check.yml runs for branches %q: a tag has its own workflow", push.Branches)
	}
}

// testRelease: a tag is checked, built and signed.
func testRelease(t *testing.T, w workflow) {
	if push := w.On["push"]; len(w.On) != 1 || !slices.Equal(push.Tags, []string{"v[0-9]*"}) || push.Branches != nil {
		t.Errorf("it runs for %v, want tags of versions", w.On)
	}
	release := w.Jobs["release"]
	if gate := w.Jobs[release.Needs]; gate.Uses != "./.github/workflows/check.yml" {
		t.Errorf("it needs %q, which is not the check", release.Needs)
	}
	if release.Permissions["id-token"] != "write" || release.Permissions["contents"] != "write" {
		t.Errorf("it may not sign or attach: %v", release.Permissions)
	}
	commands := strings.Join(release.commands(), "\n")
	at := -1
	for _, step := range []string{"make dist ", "diff dist/SHA256SUMS ", "cosign sign-blob ", "gh release create "} {
		i := strings.Index(commands, step)
		if i <= at {
			t.Errorf("%q is not there, or not in its order:\n%s", step, commands)
		}
		at = i
	}
	if !regexp.MustCompile(`(?m)^cosign sign-blob .* dist/SHA256SUMS$`).MatchString(commands) {
		t.Errorf("the checksums are not signed:\n%s", commands)
	}
}
