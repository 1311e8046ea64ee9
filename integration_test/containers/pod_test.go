package containers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
)

// podExample is what people copy: nothing of it is changed but the names of the images, and that podman, which does not
// know Jobs, is given the Job's pod.
const podExample = "examples/kubernetes-job.yaml"

// readPod returns the pod of the example.
func readPod(t *testing.T) string {
	t.Helper()
	_, spec, ok := strings.Cut(bed.ReadFile(t, bed.ModuleFile(podExample)), "\nkind: Job\nmetadata:\n  name: task\nspec:\n  template:\n    spec:\n")
	if !ok {
		t.Fatalf("%s has no Job as it is expected", podExample)
	}
	return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: task\nspec:\n" + strings.ReplaceAll("\n"+spec, "\n    ", "\n")
}

const podImage = "localhost/pod"

// A bedPod is the pod of the example, in a bed of its own.
type bedPod struct {
	*bed.Pod
	shared string // the emptyDir, as the host sees it
}

// TestPod plays the example with real containers: the pod ends by itself, with
// success, when its task has ended.
func TestPod(t *testing.T) {
	b := bed.NewPodman(t)
	buildPodImage(b, t)
	text := strings.NewReplacer("registry.example/task", podImage, "registry.example/helper", podImage).Replace(readPod(t))
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bed.Podman, string)
	}{
		{"task ends", testPodEnds},
		{"task ends at once", testPodEndsAtOnce},
		{"task fails", testPodFails},
		{"helper fails", testPodHelperFails},
		{"without -while", testPodWithoutWhile},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b, text) })
	}
}

func buildPodImage(b *bed.Podman, t *testing.T) {
	t.Helper()
	// As in the example, and found through the PATH that an image has by default.
	b.Write(t, "image/Dockerfile.pod", `FROM scratch
COPY pidleash /usr/local/bin/pidleash
COPY pod /usr/local/bin/task
COPY pod /usr/local/bin/helper
`)
	context := filepath.Join(b.Dir, "image")
	bed.WriteFile(t, filepath.Join(context, "pod"), bed.ReadFile(t, bed.CompileC(t, "pod.c")), 0o755)
	b.Podman(t, "build", "--network=none", "--tag="+podImage, "--file="+filepath.Join(context, "Dockerfile.pod"), context)
}

// create makes the pod without starting it.
func create(b *bed.Podman, t *testing.T, text string) *bedPod {
	t.Helper()
	p := b.CreatePod(t, text)
	// However podman calls the volume, the container tells where it is.
	return &bedPod{p, p.Inspect("main", `{{range .Mounts}}{{.Source}}{{end}}`)}
}

// over fails the test unless the pod ends by itself with nothing in its volume but
// these.
func (p *bedPod) over(files ...string) {
	p.T.Helper()
	var state string
	bed.Await(p.T, "the pod ends", func() bool {
		state = strings.TrimSpace(p.Bed.Podman(p.T, "pod", "inspect", "--format={{.State}}", "task"))
		return state == "Exited"
	})
	bed.ExpectFiles(p.T, p.shared, files...)
}

// running returns when the task and the helper run. A PID file that names process 1
// names pidleash, which waits.
func (p *bedPod) running() {
	p.T.Helper()
	for _, name := range []string{"main.pid", "helper.pid"} {
		bed.Await(p.T, name+" names a program", func() bool {
			text, _ := os.ReadFile(filepath.Join(p.shared, name))
			return isPID(string(text)) && string(text) != "1\n"
		})
	}
	for _, container := range []string{"main", "helper"} {
		if state := p.State(container); state != "running 0" {
			p.T.Errorf("the container %s is %s", container, state)
		}
	}
}

// endTask tells the task that its work is done.
func (p *bedPod) endTask() {
	p.T.Helper()
	bed.WriteFile(p.T, filepath.Join(p.shared, "end"), "", 0o644)
}

func testPodEnds(t *testing.T, b *bed.Podman, text string) {
	p := create(b, t, text)
	p.Start()
	p.running()
	p.endTask()
	p.Expect("main", "exited 0")
	p.Expect("helper", "exited 0")
	p.over("end")
}

// Then the helper has had no time to see it, but for the task waiting for the helper.
func testPodEndsAtOnce(t *testing.T, b *bed.Podman, text string) {
	p := create(b, t, text)
	p.endTask()
	p.Start()
	p.Expect("main", "exited 0")
	p.Expect("helper", "exited 0")
	p.over("end")
}

// The pod fails with the task, and ends as well.
func testPodFails(t *testing.T, b *bed.Podman, text string) {
	p := create(b, t, text)
	p.Start()
	p.running()
	p.Bed.Podman(t, "kill", "--signal=USR1", "task-main")
	p.Expect("main", "exited 138")
	p.Expect("helper", "exited 0")
	p.over()
}

// A task without its helper is stopped.
func testPodHelperFails(t *testing.T, b *bed.Podman, text string) {
	p := create(b, t, text)
	p.Start()
	p.running()
	p.Bed.Podman(t, "kill", "--signal=USR1", "task-helper")
	p.Expect("helper", "exited 138")
	p.Expect("main", "exited 143")
	p.over()
}

// without takes a line out of the example.
func without(t *testing.T, text, line string) string {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.TrimSpace(l) == line })
	if i < 0 {
		t.Fatalf("%s has no line %q", podExample, line)
	}
	return strings.Join(slices.Delete(lines, i, i+1), "")
}

// expectNoEnd fails the test if the helper ends, in a time in which it would have.
func (p *bedPod) expectNoEnd() {
	p.T.Helper()
	time.Sleep(2 * time.Second)
	if state := p.State("helper"); state != "running 0" {
		p.T.Errorf("the helper is %s by itself", state)
	}
}

// Control: the helper of such a pod runs on.
func testPodWithoutWhile(t *testing.T, b *bed.Podman, text string) {
	text = without(t, without(t, text, "- -while=/shared/main.pid"), "- -removed-exit=0")
	p := create(b, t, text)
	p.Start()
	p.running()
	p.endTask()
	p.Expect("main", "exited 0")
	p.expectNoEnd()
}

// TestPodOrder runs the commands of the example without containers. Whichever is
// first, and however short the task, both end with success.
func TestPodOrder(t *testing.T) {
	t.Parallel()
	text := readPod(t)
	for range 20 {
		for _, order := range [][]string{{"main", "helper"}, {"helper", "main"}} {
			dir := bed.OpenDir(t)
			runs := map[string]*bed.Run{}
			for _, name := range order {
				runs[name] = startContainer(t, text, name, dir)
				if name == order[0] {
					runs[name].AwaitStderr(t, "waiting for ")
				}
			}
			runs["main"].ExpectCode(t, 0)
			runs["helper"].ExpectCode(t, 0)
			bed.ExpectEmptyDir(t, dir)
		}
	}
	// Control: a task that does not wait for the helper may be over before that has
	// looked, which then waits for ever.
	t.Run("without waiting for the helper", func(t *testing.T) {
		text := without(t, without(t, text, "- -while=/shared/helper.pid"), "- -start-timeout=5m")
		dir := bed.OpenDir(t)
		startContainer(t, text, "main", dir).ExpectCode(t, 0)
		startContainer(t, text, "helper", dir).AwaitStderr(t, "waiting for "+dir+"/main.pid")
	})
}

// startContainer runs what the example has as a container's command, with another
// task and helper, and dir for what they share.
func startContainer(t *testing.T, text, name, dir string) *bed.Run {
	t.Helper()
	_, text, found := strings.Cut(text, "- name: "+name+"\n")
	text, _, foundEnd := strings.Cut(text, "volumeMounts:")
	if !found || !foundEnd {
		t.Fatalf("%s has no container %s", podExample, name)
	}
	text = strings.NewReplacer("/shared", dir, "/usr/local/bin/task", "true", "/usr/local/bin/helper", bed.CompileC(t, "first.c")+"\n- hold").Replace(text)
	_, list, _ := strings.Cut(text, "args:\n")
	var args []string
	for line := range strings.Lines(list) {
		if arg, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			args = append(args, arg)
		}
	}
	env := []string{"PATH=" + filepath.Dir(bed.Pidleash) + ":" + os.Getenv("PATH"), "PIDLEASH_LOG_LEVEL=info"}
	return bed.Start(t, bed.How{Env: env}, args...)
}
