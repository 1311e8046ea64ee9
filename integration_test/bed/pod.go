package bed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A Pod is one that podman plays.
type Pod struct {
	T      *testing.T
	Bed    *Podman
	Name   string // a Deployment's is made by podman
	cgroup string // below those of each hierarchy
}

// CreatePod makes a pod out of a text of Kubernetes, without starting it. It is the only one of this podman.
func (b *Podman) CreatePod(t *testing.T, text string) *Pod {
	t.Helper()
	b.Write(t, "pod.yaml", text)
	p := &Pod{T: t, Bed: b}
	t.Cleanup(p.remove)
	b.Podman(t, "kube", "play", "--network=none", "--start=false", filepath.Join(b.Dir, "pod.yaml"))
	p.Name = strings.TrimSpace(b.Podman(t, "pod", "ps", "--format={{.Name}}"))
	p.cgroup = strings.Trim(b.Podman(t, "pod", "inspect", "--format={{.CgroupPath}}", p.Name), "/\n")
	return p
}

// Start starts its containers.
func (p *Pod) Start() { p.T.Helper(); p.Bed.Podman(p.T, "pod", "start", p.Name) }

// remove is for a test that gave up, too. Podman leaves some of its cgroups behind; the
// parent of all pods' may have others.
func (p *Pod) remove() {
	for _, args := range [][]string{{"pod", "rm", "--force", "--all", "--time=0"}, {"volume", "prune", "--force"}} {
		if out, err := p.Bed.Command(args...).CombinedOutput(); err != nil {
			p.T.Errorf("podman %q: %v: %s", args, err, out)
		}
	}
	if p.cgroup == "" {
		return
	}
	left := Podman{Cgroup: p.cgroup}
	if err := left.RemoveCgroups(); err != nil {
		p.T.Error(err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		parents, _ := filepath.Glob(pattern + filepath.Dir(p.cgroup))
		for _, parent := range parents {
			_ = os.Remove(parent)
		}
	}
}

// Inspect returns what podman tells of a container.
func (p *Pod) Inspect(container, format string) string {
	p.T.Helper()
	return strings.TrimSpace(p.Bed.Podman(p.T, "container", "inspect", "--format="+format, p.Name+"-"+container))
}

// State is "running", or "exited" with the code.
func (p *Pod) State(container string) string {
	p.T.Helper()
	return p.Inspect(container, `{{.State.Status}} {{.State.ExitCode}}`)
}

// Expect waits for the container's end.
func (p *Pod) Expect(container, want string) {
	p.T.Helper()
	Await(p.T, container+" ends", func() bool { return strings.HasPrefix(p.State(container), "exited") })
	if state := p.State(container); state != want {
		p.T.Errorf("the container %s is %s, want %s", container, state, want)
	}
}
