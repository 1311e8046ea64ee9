package bed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Podman is a podman of the tests' own: its images, containers, locks and
// cgroups are in places that no other podman of the machine uses, and go with
// the test. Its image has two files, /pidleash and /probe.
type Podman struct {
	Dir        string // all that podman writes, and the image's files
	Cgroup     string // parent of the containers' cgroups
	Containers int    // started so far, for their names
}

// Image is what the containers run.
const Image = "localhost/bed"

// Nothing in these tests takes that long; a container that does is stopped by
// podman itself, even when the test was killed and cannot clean up.
const ContainerTimeout = 60 * time.Second

// Where a test may not raise rlimits, the defaults of podman stop every
// container: no limit here is above what an ordinary process has. The locks go
// into files because the usual ones, in /dev/shm, are one set for all podmans.
const bedConfig = `[containers]
default_ulimits = ["core=0:0", "nofile=1024:1024", "nproc=1024:1024"]
log_driver = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
[network]
network_config_dir = "%s"
`

// NewPodman returns when a container has run, and removes everything with the test. If the
// machine cannot have containers it reports that by Missing.
func NewPodman(t *testing.T) *Podman {
	t.Helper()
	needForContainers(t)
	takeMachine(t)
	dir, err := os.MkdirTemp("", "pidleash-podman-")
	if err != nil {
		t.Fatal(err)
	}
	b := &Podman{Dir: dir, Cgroup: filepath.Base(dir)}
	t.Cleanup(func() { b.remove(t) })
	b.Write(t, "containers.conf", fmt.Sprintf(bedConfig, filepath.Join(dir, "net")))
	b.buildImage(t)
	b.tryOut(t)
	return b
}

func needForContainers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "containers need root here")
	}
	for _, tool := range []string{"podman", "runc", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			Missing(t, "%v", err)
		}
	}
}

func (b *Podman) buildImage(t *testing.T) {
	t.Helper()
	context := filepath.Join(b.Dir, "image")
	b.Write(t, "image/Dockerfile", "FROM scratch\nCOPY pidleash probe /\n")
	WriteFile(t, b.Probe(), ReadFile(t, CompileC(t, "probe.c")), 0o755)
	WriteFile(t, filepath.Join(context, "pidleash"), ReadFile(t, Pidleash), 0o755)
	b.Podman(t, "build", "--network=none", "--tag="+Image, context)
}

// Probe is the host's path of the probe program.
func (b *Podman) Probe() string { return filepath.Join(b.Dir, "image", "probe") }

// tryOut tells a machine on which containers do not work at all from a
// failure of pidleash.
func (b *Podman) tryOut(t *testing.T) {
	t.Helper()
	c := b.Start(t, nil, "/probe", "exit", "42")
	if code := c.Exit(); code != 42 {
		Missing(t, "podman runs no containers here: exit %d: %s", code, c.Stderr())
	}
}

// Write makes a file in the bed's directory.
func (b *Podman) Write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(b.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Command is a podman command on the bed.
func (b *Podman) Command(args ...string) *exec.Cmd {
	in := func(name string) string { return filepath.Join(b.Dir, name) }
	cmd := exec.Command("podman", append([]string{
		// vfs works on top of every file system and leaves no mount behind.
		"--storage-driver=vfs", "--root=" + in("root"), "--runroot=" + in("runroot"),
		"--tmpdir=" + in("tmp"), "--runtime-flag=root=" + in("runc"),
	}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+in("containers.conf"),
		"TMPDIR="+b.Dir, "HOME="+b.Dir)
	return cmd
}

// Podman runs a podman command that must succeed, and returns what it wrote to
// its standard output.
func (b *Podman) Podman(t *testing.T, args ...string) string {
	t.Helper()
	cmd := b.Command(args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("podman %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// remove waits for the last of podman's own helpers, which end after the
// command that started them and would write into the directory again.
func (b *Podman) remove(t *testing.T) {
	if out, err := b.Command("rm", "--force", "--all", "--time=0").CombinedOutput(); err != nil {
		t.Errorf("podman rm: %v: %s", err, out)
	}
	if err := b.RemoveCgroups(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(b.Dir); err != nil {
		t.Error(err)
	}
}

// RemoveCgroups succeeds when no process is left in any of them.
func (b *Podman) RemoveCgroups() (err error) {
	Poll(func() bool {
		err = nil
		// Version 2 has one hierarchy, version 1 one for each controller.
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			roots, _ := filepath.Glob(pattern + b.Cgroup)
			for _, root := range roots {
				err = errors.Join(err, removeCgroup(root))
			}
		}
		return err == nil
	})
	return err
}

func removeCgroup(dir string) error {
	children, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, child := range children {
		if child.IsDir() {
			err = errors.Join(err, removeCgroup(filepath.Join(dir, child.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}

// A Container is one container in the foreground of its `podman run`.
type Container struct {
	T      *testing.T
	bed    *Podman
	Name   string
	cmd    *exec.Cmd
	pipe   *os.File // the container's standard output
	stdout *bufio.Reader
	log    string // the file with its standard error
}

// Start runs args in a new container of the bed's image.
func (b *Podman) Start(t *testing.T, opts []string, args ...string) *Container {
	t.Helper()
	return b.StartImage(t, Image, opts, args...)
}

// StartImage is Start with another image.
func (b *Podman) StartImage(t *testing.T, image string, opts []string, args ...string) *Container {
	t.Helper()
	b.Containers++
	name := fmt.Sprintf("c%d", b.Containers)
	run := []string{
		"run", "--rm", "--name=" + name, "--network=none", "--sig-proxy=false",
		"--cgroup-parent=/" + b.Cgroup, fmt.Sprintf("--timeout=%.0f", ContainerTimeout.Seconds()),
	}
	run = append(append(append(run, opts...), image), args...)
	c := &Container{T: t, bed: b, Name: name, cmd: b.Command(run...), log: filepath.Join(b.Dir, name+".log")}
	c.begin()
	return c
}

func (c *Container) begin() {
	c.T.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		c.T.Fatal(err)
	}
	defer write.Close()
	// A file, not a pipe: podman's helper keeps it open beyond podman's end.
	log, err := os.Create(c.log)
	if err != nil {
		c.T.Fatal(err)
	}
	defer log.Close()
	c.pipe, c.stdout = read, bufio.NewReader(read)
	c.cmd.Stdout, c.cmd.Stderr = write, log
	if err := c.cmd.Start(); err != nil {
		c.T.Fatal(err)
	}
	c.T.Cleanup(c.end)
}

// end is for a test that gave up; after exit it does nothing.
func (c *Container) end() {
	c.pipe.Close()
	if c.cmd.ProcessState != nil {
		return
	}
	out, err := c.bed.Command("rm", "--force", "--ignore", "--time=0", c.Name).CombinedOutput()
	if err != nil {
		c.T.Errorf("podman rm %s: %v: %s", c.Name, err, out)
	}
	// In vain if it ends by itself now; otherwise nothing waits for ever.
	time.AfterFunc(ContainerTimeout, func() { c.cmd.Process.Kill() })
	c.cmd.Wait()
}

// Line is the next line of the container's standard output.
func (c *Container) Line() string {
	c.T.Helper()
	c.pipe.SetReadDeadline(time.Now().Add(ContainerTimeout))
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		c.T.Fatalf("container %s: read %q: %v\n%s", c.Name, line, err, c.Stderr())
	}
	return strings.TrimSuffix(line, "\n")
}

// Expect fails the test unless the next line is want.
func (c *Container) Expect(want string) {
	c.T.Helper()
	if line := c.Line(); line != want {
		c.T.Fatalf("container %s: wrote %q, want %q\n%s", c.Name, line, want, c.Stderr())
	}
}

// Rest is what the container still writes to its standard output until its end.
func (c *Container) Rest() string {
	c.T.Helper()
	c.pipe.SetReadDeadline(time.Now().Add(ContainerTimeout))
	rest, err := io.ReadAll(c.stdout)
	if err != nil {
		c.T.Fatalf("container %s: read %q: %v\n%s", c.Name, rest, err, c.Stderr())
	}
	return string(rest)
}

// Exit waits for the container's end and returns its exit code. What it still
// writes to its standard output is an error: nobody asked for it.
func (c *Container) Exit() int {
	c.T.Helper()
	if rest := c.Rest(); rest != "" {
		c.T.Fatalf("container %s: at its end: %q\n%s", c.Name, rest, c.Stderr())
	}
	c.cmd.Wait() // the exit code says it all
	return c.cmd.ProcessState.ExitCode()
}

// ExpectExit fails the test unless the exit code is want.
func (c *Container) ExpectExit(want int) {
	c.T.Helper()
	if code := c.Exit(); code != want {
		c.T.Errorf("container %s: exit code %d, want %d\n%s", c.Name, code, want, c.Stderr())
	}
}

// Stderr is what the container, and podman about it, have written so far.
func (c *Container) Stderr() string {
	c.T.Helper()
	text, err := os.ReadFile(c.log)
	if err != nil {
		c.T.Fatal(err)
	}
	return string(text)
}

// Exec runs args in the running container and returns its standard output.
func (c *Container) Exec(args ...string) string {
	c.T.Helper()
	return c.bed.Podman(c.T, append([]string{"exec", c.Name}, args...)...)
}

// Kill sends a signal to process 1.
func (c *Container) Kill(signal string) {
	c.T.Helper()
	c.bed.Podman(c.T, "kill", "--signal="+signal, c.Name)
}
