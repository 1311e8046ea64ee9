package integration

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

// A podmanBed is a podman of the tests' own: its images, containers, locks and
// cgroups are in places that no other podman of the machine uses, and go with
// the test. Its image has two files, /pidleash and /probe.
type podmanBed struct {
	dir        string // all that podman writes, and the image's files
	cgroup     string // parent of the containers' cgroups
	containers int    // started so far, for their names
}

const bedImage = "localhost/bed"

// Nothing in these tests takes that long; a container that does is stopped by
// podman itself, even when the test was killed and cannot clean up.
const bedTimeout = 60 * time.Second

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

func newPodmanBed(t *testing.T) *podmanBed {
	t.Helper()
	needForContainers(t)
	dir, err := os.MkdirTemp("", "pidleash-podman-")
	if err != nil {
		t.Fatal(err)
	}
	b := &podmanBed{dir: dir, cgroup: filepath.Base(dir)}
	t.Cleanup(func() { b.remove(t) })
	b.write(t, "containers.conf", fmt.Sprintf(bedConfig, filepath.Join(dir, "net")))
	b.buildImage(t)
	b.tryOut(t)
	return b
}

func needForContainers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "containers need root here")
	}
	for _, tool := range []string{"podman", "runc", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "%v", err)
		}
	}
}

func (b *podmanBed) buildImage(t *testing.T) {
	t.Helper()
	context := filepath.Join(b.dir, "image")
	b.write(t, "image/Dockerfile", "FROM scratch\nCOPY pidleash probe /\n")
	b.compileProbe(t)
	binary, err := os.ReadFile(pidleash)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(context, "pidleash"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	b.podman(t, "build", "--network=none", "--tag="+bedImage, context)
}

// probe is the host's path of the probe program.
func (b *podmanBed) probe() string { return filepath.Join(b.dir, "image", "probe") }

func (b *podmanBed) compileProbe(t *testing.T) {
	t.Helper()
	gcc := exec.Command("gcc", "-static", "-O", "-Wall", "-Wextra", "-o", b.probe(),
		filepath.Join("testdata", "probe.c"))
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", gcc, err, out)
	}
}

// tryOut tells a machine on which containers do not work at all from a
// failure of pidleash.
func (b *podmanBed) tryOut(t *testing.T) {
	t.Helper()
	c := b.start(t, nil, "/probe", "exit", "42")
	if code := c.exit(); code != 42 {
		missing(t, "podman runs no containers here: exit %d: %s", code, c.stderr())
	}
}

func (b *podmanBed) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b *podmanBed) command(args ...string) *exec.Cmd {
	in := func(name string) string { return filepath.Join(b.dir, name) }
	cmd := exec.Command("podman", append([]string{
		// vfs works on top of every file system and leaves no mount behind.
		"--storage-driver=vfs", "--root=" + in("root"), "--runroot=" + in("runroot"),
		"--tmpdir=" + in("tmp"), "--runtime-flag=root=" + in("runc"),
	}, args...)...)
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+in("containers.conf"),
		"TMPDIR="+b.dir, "HOME="+b.dir)
	return cmd
}

// podman runs a podman command that must succeed, and returns what it wrote to
// its standard output.
func (b *podmanBed) podman(t *testing.T, args ...string) string {
	t.Helper()
	cmd := b.command(args...)
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
func (b *podmanBed) remove(t *testing.T) {
	if out, err := b.command("rm", "--force", "--all", "--time=0").CombinedOutput(); err != nil {
		t.Errorf("podman rm: %v: %s", err, out)
	}
	if err := b.removeCgroups(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Error(err)
	}
}

// removeCgroups succeeds when no process is left in any of them.
func (b *podmanBed) removeCgroups() (err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		err = nil
		// Version 2 has one hierarchy, version 1 one for each controller.
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			roots, _ := filepath.Glob(pattern + b.cgroup)
			for _, root := range roots {
				err = errors.Join(err, removeCgroup(root))
			}
		}
		if err == nil {
			return nil
		}
	}
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

// A bedContainer is one container in the foreground of its `podman run`.
type bedContainer struct {
	t      *testing.T
	bed    *podmanBed
	name   string
	cmd    *exec.Cmd
	pipe   *os.File // the container's standard output
	stdout *bufio.Reader
	log    string // the file with its standard error
}

// start runs args in a new container of the bed's image.
func (b *podmanBed) start(t *testing.T, opts []string, args ...string) *bedContainer {
	t.Helper()
	return b.startImage(t, bedImage, opts, args...)
}

func (b *podmanBed) startImage(t *testing.T, image string, opts []string, args ...string) *bedContainer {
	t.Helper()
	b.containers++
	name := fmt.Sprintf("c%d", b.containers)
	run := []string{
		"run", "--rm", "--name=" + name, "--network=none", "--sig-proxy=false",
		"--cgroup-parent=/" + b.cgroup, fmt.Sprintf("--timeout=%.0f", bedTimeout.Seconds()),
	}
	run = append(append(append(run, opts...), image), args...)
	c := &bedContainer{t: t, bed: b, name: name, cmd: b.command(run...), log: filepath.Join(b.dir, name+".log")}
	c.begin()
	return c
}

func (c *bedContainer) begin() {
	c.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	defer write.Close()
	// A file, not a pipe: podman's helper keeps it open beyond podman's end.
	log, err := os.Create(c.log)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	c.pipe, c.stdout = read, bufio.NewReader(read)
	c.cmd.Stdout, c.cmd.Stderr = write, log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.end)
}

// end is for a test that gave up; after exit it does nothing.
func (c *bedContainer) end() {
	c.pipe.Close()
	if c.cmd.ProcessState != nil {
		return
	}
	out, err := c.bed.command("rm", "--force", "--ignore", "--time=0", c.name).CombinedOutput()
	if err != nil {
		c.t.Errorf("podman rm %s: %v: %s", c.name, err, out)
	}
	// In vain if it ends by itself now; otherwise nothing waits for ever.
	time.AfterFunc(bedTimeout, func() { c.cmd.Process.Kill() })
	c.cmd.Wait()
}

// line is the next line of the container's standard output.
func (c *bedContainer) line() string {
	c.t.Helper()
	c.pipe.SetReadDeadline(time.Now().Add(bedTimeout))
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		c.t.Fatalf("container %s: read %q: %v\n%s", c.name, line, err, c.stderr())
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *bedContainer) expect(want string) {
	c.t.Helper()
	if line := c.line(); line != want {
		c.t.Fatalf("container %s: wrote %q, want %q\n%s", c.name, line, want, c.stderr())
	}
}

// exit waits for the container's end and returns its exit code. What it still
// writes to its standard output is an error: nobody asked for it.
func (c *bedContainer) exit() int {
	c.t.Helper()
	c.pipe.SetReadDeadline(time.Now().Add(bedTimeout))
	rest, err := io.ReadAll(c.stdout)
	if err != nil || len(rest) > 0 {
		c.t.Fatalf("container %s: at its end: %q, %v\n%s", c.name, rest, err, c.stderr())
	}
	c.cmd.Wait() // the exit code says it all
	return c.cmd.ProcessState.ExitCode()
}

func (c *bedContainer) expectExit(want int) {
	c.t.Helper()
	if code := c.exit(); code != want {
		c.t.Errorf("container %s: exit code %d, want %d\n%s", c.name, code, want, c.stderr())
	}
}

// stderr is what the container, and podman about it, have written so far.
func (c *bedContainer) stderr() string {
	c.t.Helper()
	text, err := os.ReadFile(c.log)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

// exec runs args in the running container and returns its standard output.
func (c *bedContainer) exec(args ...string) string {
	c.t.Helper()
	return c.bed.podman(c.t, append([]string{"exec", c.name}, args...)...)
}

func (c *bedContainer) kill(signal string) {
	c.t.Helper()
	c.bed.podman(c.t, "kill", "--signal="+signal, c.name)
}
