package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// containerTests has every folder of examples/containers: the programs that it needs, and what its container does.
var containerTests = []struct {
	name  string
	needs []string
	run   func(*testing.T, *kitchen)
}{
	{"nginx", []string{"nginx", "bash"}, testNginx},
	{"java", nil, testJava},
	{"python", []string{"python3", "bash"}, testPython},
	{"entrypoint", []string{"redis-server", "redis-cli"}, testEntrypoint},
}

// TestContainers builds the Dockerfiles as they stand there, and runs their images. No registry is asked: in place of
// the images that they are made from there is one of this machine's own programs.
func TestContainers(t *testing.T) {
	t.Setenv("DISABLE_HC_SYSTEMD", "true") // no timer runs the checks; the tests do
	k := newKitchen(t)
	var tested []string
	for _, test := range containerTests {
		tested = append(tested, test.name)
		t.Run(test.name, func(t *testing.T) {
			for _, program := range test.needs {
				if _, err := exec.LookPath(program); err != nil {
					bed.Missing(t, "%v", err)
				}
			}
			test.run(t, k)
		})
	}
	if names := filesOf(t, "containers"); !slices.Equal(names, slices.Sorted(slices.Values(tested))) {
		t.Errorf("examples/containers has %v, the test has %v", names, tested)
	}
}

// host is the image with this machine's programs.
const host = "localhost/host"

// A kitchen builds and runs the images.
type kitchen struct {
	*bed.Podman
	mounts []string // options of podman run: this machine's programs
}

// nginxConfig is like that of the image: root's, and with a PID file of its own.
const nginxConfig = `user root;
pid /run/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path /tmp/body;
	proxy_temp_path /tmp/proxy;
	fastcgi_temp_path /tmp/fastcgi;
	uwsgi_temp_path /tmp/uwsgi;
	scgi_temp_path /tmp/scgi;
	server { listen 8080; return 200 up; }
}
`

func newKitchen(t *testing.T) *kitchen {
	k := &kitchen{Podman: bed.NewPodman(t)}
	k.Podman.Podman(t, "tag", bed.Image, "localhost/pidleash")
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64", "/usr/share", "/etc/alternatives"} {
		if _, err := os.Stat(dir); err == nil {
			k.mounts = append(k.mounts, "--volume="+dir+":"+dir+":ro")
		}
	}
	java, _ := filepath.Glob("/etc/java-*")
	for _, dir := range java {
		k.mounts = append(k.mounts, "--volume="+dir+":"+dir+":ro")
	}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib64"} {
		k.Write(t, "host/tmp/.keep", "")
		if target, err := os.Readlink(dir); err == nil {
			bed.Must(t, os.Symlink(target, filepath.Join(k.Dir, "host", dir)))
		} else if !os.IsNotExist(err) {
			k.mounts = append(k.mounts, "--volume="+dir+":"+dir+":ro")
		}
	}
	for _, name := range []string{"passwd", "group"} {
		k.Write(t, "host/etc/"+name, bed.ReadFile(t, "/etc/"+name))
	}
	k.Write(t, "host/etc/nginx/nginx.conf", nginxConfig)
	for _, dir := range []string{"run", "var/log/nginx", "var/lib/nginx"} {
		k.Write(t, "host/"+dir+"/.keep", "")
	}
	k.Write(t, "host.Dockerfile", "FROM scratch\nCOPY . /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
	k.build(t, host, "--file="+filepath.Join(k.Dir, "host.Dockerfile"), filepath.Join(k.Dir, "host"))
	return k
}

// build makes an image. Only Docker's format has HEALTHCHECK.
func (k *kitchen) build(t *testing.T, image string, words ...string) {
	t.Helper()
	k.Podman.Podman(t, append([]string{"build", "--network=none", "--pull=never", "--format=docker", "--tag=" + image}, words...)...)
}

// start builds the example in a copy of its folder, with these files more, and runs its image.
func (k *kitchen) start(t *testing.T, name, base string, more map[string]string) *bed.Container {
	t.Helper()
	context := filepath.Join(k.Dir, name)
	bed.Must(t, os.RemoveAll(context))
	bed.Must(t, os.CopyFS(context, os.DirFS(bed.ModuleFile("examples", "containers", name))))
	for file, text := range more {
		bed.WriteFile(t, filepath.Join(context, file), text, 0o644)
	}
	for line := range strings.Lines(bed.ReadFile(t, filepath.Join(context, "Dockerfile"))) {
		if from, ok := strings.CutPrefix(line, "FROM "); ok {
			k.Podman.Podman(t, "tag", base, strings.TrimSpace(from))
		}
	}
	image := "localhost/" + name
	k.build(t, image, context)
	return k.StartImage(t, image, k.mounts)
}

// awaitHealth runs the check of the image until it says that all is well.
func (k *kitchen) awaitHealth(t *testing.T, c *bed.Container) {
	t.Helper()
	var out []byte
	if !bed.Poll(func() (healthy bool) {
		var err error
		out, err = k.Command("healthcheck", "run", c.Name).CombinedOutput()
		return err == nil
	}) {
		t.Fatalf("%s is not healthy: %s\n%s", c.Name, out, c.Stderr())
	}
}

// awaitAnswer asks the program on a port.
func (k *kitchen) awaitAnswer(t *testing.T, c *bed.Container) {
	t.Helper()
	ask := `exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3`
	bed.Await(t, "an answer of "+c.Name, func() bool {
		out, _ := k.Command("exec", c.Name, "bash", "-c", ask).Output()
		return strings.HasPrefix(string(out), "HTTP/1.") && strings.HasSuffix(strings.TrimSpace(string(out)), "up")
	})
}

// stop stops the container as its users do; it has to end in good order.
func (k *kitchen) stop(t *testing.T, c *bed.Container) {
	t.Helper()
	k.Podman.Podman(t, "stop", fmt.Sprintf("--time=%.0f", bed.ContainerTimeout.Seconds()), c.Name)
	c.Rest() // daemons say much
	c.ExpectExit(0)
}

func testNginx(t *testing.T, k *kitchen) {
	c := k.start(t, "nginx", host, nil)
	k.awaitAnswer(t, c)
	k.awaitHealth(t, c)
	c.Exec("pidleash", "status", "/run/leash.pid", "/run/nginx.pid")
	k.stop(t, c)
	if text := c.Stderr(); text != "" {
		t.Errorf("standard error: %q", text)
	}
}

func testPython(t *testing.T, k *kitchen) {
	c := k.start(t, "python", host, nil)
	k.awaitAnswer(t, c)
	k.awaitHealth(t, c)
	k.stop(t, c)
}

func testEntrypoint(t *testing.T, k *kitchen) {
	c := k.start(t, "entrypoint", host, nil)
	k.awaitHealth(t, c)
	bed.Await(t, "an answer of redis", func() bool {
		out, _ := k.Command("exec", c.Name, "redis-cli", "ping").Output()
		return string(out) == "PONG\n"
	})
	status := c.Exec("sh", "-c", `stat -c %U /proc/1 /proc/"$(cat /run/redis/redis.pid)"`)
	if status != "root\nredis\n" {
		t.Errorf("process 1 and redis run as %q", status)
	}
	k.stop(t, c)
}

// standInForJava is what a JVM is to pidleash: it prints its threads on QUIT and goes on, and ends with 143 on TERM.
const standInForJava = `#!/bin/sh
trap 'echo "Full thread dump"' QUIT
trap 'exit 143' TERM
echo "$@"
while :; do sleep 600 & wait $!; done
`

// testJava has a JVM only in the long form, which takes a while, and where there is one with its compiler.
func testJava(t *testing.T, k *kitchen) {
	t.Run("stand-in", func(t *testing.T) {
		k.Write(t, "java-base/java", standInForJava)
		k.Write(t, "java-base/Dockerfile", "FROM "+host+"\nCOPY --chmod=755 java /usr/local/bin/java\n")
		k.build(t, "localhost/java-base", filepath.Join(k.Dir, "java-base"))
		c := k.start(t, "java", "localhost/java-base", map[string]string{"app.jar": ""})
		c.Expect("-XX:+PrintClassHistogram -jar /app/app.jar")
		k.dumpsAndStops(t, c)
	})
	if !bed.Long() {
		return
	}
	t.Run("JVM", func(t *testing.T) {
		c := k.start(t, "java", host, map[string]string{"app.jar": buildJar(t)})
		c.Expect("up")
		c.Exec("sh", "-c", `jcmd "$(cat /run/app.pid)" GC.heap_dump /tmp/heap.hprof && test -s /tmp/heap.hprof`)
		k.dumpsAndStops(t, c)
	})
}

func (k *kitchen) dumpsAndStops(t *testing.T, c *bed.Container) {
	t.Helper()
	k.awaitHealth(t, c)
	c.Exec("pidleash", "signal", "QUIT", "/run/app.pid")
	for !strings.HasPrefix(c.Line(), "Full thread dump") {
	}
	k.awaitHealth(t, c)
	k.stop(t, c)
}

// buildJar returns a program for a JVM that waits for its end.
func buildJar(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bed.WriteFile(t, filepath.Join(dir, "App.java"), `public class App {
	public static void main(String[] args) throws Exception {
		System.out.println("up");
		Thread.currentThread().join();
	}
}
`, 0o644)
	for _, words := range [][]string{{"javac", "-d", ".", "App.java"}, {"jar", "cfe", "app.jar", "App", "App.class"}} {
		command := exec.Command("/usr/bin/"+words[0], words[1:]...) // the same JDK as in the container
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			bed.Missing(t, "a JDK: %v: %s", err, out)
		}
	}
	return bed.ReadFile(t, filepath.Join(dir, "app.jar"))
}
