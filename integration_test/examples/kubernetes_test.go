package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// podImage stands for every image of the examples: pidleash, a program that waits, and a shell, through which podman
// runs the probes.
const podImage = "localhost/examples"

// TestKubernetes plays the pods as they stand in the examples, with names of images that are here.
// The one of kubernetes-job.yaml is played by package containers.
func TestKubernetes(t *testing.T) {
	t.Setenv("DISABLE_HC_SYSTEMD", "true") // no timer runs the probes; the tests do
	b := bed.NewPodman(t)
	buildPodImage(t, b)
	t.Run("deployment", func(t *testing.T) { testDeployment(t, b) })
	t.Run("sidecar", func(t *testing.T) { testSidecar(t, b) })
}

func buildPodImage(t *testing.T, b *bed.Podman) {
	t.Helper()
	b.Write(t, "pod/tmp/.keep", "")
	b.Write(t, "pod/run/.keep", "")
	install := func(path, source string) {
		b.Write(t, "pod"+path, bed.ReadFile(t, source))
		bed.Must(t, os.Chmod(filepath.Join(b.Dir, "pod", path), 0o755))
	}
	install("/usr/local/bin/pidleash", bed.Pidleash)
	install("/usr/local/bin/probe", b.Probe())
	install("/bin/sh", "/bin/sh")
	for _, library := range librariesOf(t, "/bin/sh") {
		install(library, library)
	}
	for _, name := range []string{"app", "proxy", "task"} {
		path := filepath.Join(b.Dir, "pod/usr/local/bin", name)
		bed.WriteFile(t, path, "#!/bin/sh\nexec probe wait\n", 0o755)
	}
	b.Write(t, "pod.Dockerfile", "FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin:/bin\n")
	b.Podman(t, "build", "--network=none", "--tag="+podImage, "--file="+filepath.Join(b.Dir, "pod.Dockerfile"), filepath.Join(b.Dir, "pod"))
}

// librariesOf are the shared libraries of a program, by their paths.
func librariesOf(t *testing.T, program string) (paths []string) {
	t.Helper()
	out, err := exec.Command("ldd", program).Output()
	bed.Must(t, err)
	for _, m := range regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
		paths = append(paths, m[1])
	}
	return paths
}

var anyImage = regexp.MustCompile(`registry\.example/\w+`)

func readPod(t *testing.T, name string) string {
	t.Helper()
	return anyImage.ReplaceAllString(bed.ReadFile(t, bed.ModuleFile("examples", name)), podImage)
}

// commandOf is the command of a probe or a hook in a text of Kubernetes.
func commandOf(t *testing.T, text, name string) []string {
	t.Helper()
	list := regexp.MustCompile(name + `:\s+exec:\s+command: \[(.*)\]`).FindStringSubmatch(text)
	if list == nil {
		t.Fatalf("there is no %s in\n%s", name, text)
	}
	return strings.Split(strings.NewReplacer(`"`, "", " ", "").Replace(list[1]), ",")
}

// command is to run in a container of a pod.
func command(p *bed.Pod, container string, words ...string) *exec.Cmd {
	return p.Bed.Command(append([]string{"exec", p.Name + "-" + container}, words...)...)
}

func testDeployment(t *testing.T, b *bed.Podman) {
	text := readPod(t, "kubernetes-deployment.yaml")
	// Where a pod is about to end, as when its preStop hook runs, Kubernetes starts no container again; podman would.
	p := b.CreatePod(t, strings.Replace(text, "\n    spec:\n", "\n    spec:\n      restartPolicy: Never\n", 1))
	p.Start()
	startup := commandOf(t, text, "startupProbe")
	bed.Await(t, "the app is up", func() bool { return command(p, "app", startup...).Run() == nil })
	// Not before: podman kills a container at its first failure.
	if out, err := b.Command("healthcheck", "run", p.Name+"-app").CombinedOutput(); err != nil {
		t.Errorf("the liveness probe: %v: %s", err, out)
	}

	status := b.Podman(t, "exec", p.Name+"-app", "probe", "cat", "/proc/1/status")
	for _, line := range []string{`Uid:\t65532\t.*`, `Gid:\t65532\t.*`, `CapBnd:\t0+`, `NoNewPrivs:\t1`} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(status) {
			t.Errorf("process 1 has no line %s:\n%s", line, status)
		}
	}
	if command(p, "app", "sh", "-c", ": >/tmp/x").Run() == nil {
		t.Error("the root file system can be written")
	}

	// The hook's own status says nothing: it may be killed with its container. podman takes 5 s more to notice.
	process := "/proc/" + p.Inspect("app", "{{.State.Pid}}")
	if bed.IsGone(process) {
		t.Fatalf("%s is gone before the hook", process)
	}
	_ = command(p, "app", commandOf(t, text, "preStop")...).Run()
	bed.Await(t, "the end of the app", func() bool { return bed.IsGone(process) })
}

// testSidecar plays the side-car as an ordinary container, and does what Kubernetes does with it.
func testSidecar(t *testing.T, b *bed.Podman) {
	text := readPod(t, "kubernetes-sidecar.yaml")
	probe := commandOf(t, text, "startupProbe")
	for _, line := range []string{"      restartPolicy: Always\n", "  containers:\n"} {
		if strings.Count(text, line) != 1 {
			t.Fatalf("the side-car has not one line %q", line)
		}
		text = strings.Replace(text, line, "", 1)
	}
	p := b.CreatePod(t, strings.Replace(text, "  initContainers:\n", "  containers:\n", 1))
	p.Start()
	bed.Await(t, "the proxy is up", func() bool { return command(p, "proxy", probe...).Run() == nil })
	// The kernel drops a TERM for process 1 if that has no handler. Without pidleash both would run until a KILL.
	for _, container := range []string{"main", "proxy"} {
		b.Podman(t, "stop", "--time=30", p.Name+"-"+container)
		p.Expect(container, "exited 143")
	}
}
