package containers

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// TestDockerfile builds the project's own Dockerfile and runs its image as it
// is meant to be run: without root, on a read-only file system. No registry is
// asked; the build image is this machine's toolchain.
func TestDockerfile(t *testing.T) {
	b := bed.NewPodman(t)
	const image = "localhost/pidleash"
	build := append(toolchainBuild(t, b), "--tag="+image, "--build-arg=VERSION=1.2.3", "--build-arg=COMMIT=0123abcd", bed.ModuleFile())
	b.Podman(t, build...)

	t.Run("version", func(t *testing.T) {
		c := b.StartImage(t, image, nil, "-version")
		if got := c.Line(); !strings.HasPrefix(got, "pidleash 1.2.3 (commit 0123abcd, go") {
			t.Errorf("-version says %q", got)
		}
		c.ExpectExit(0)
	})
	t.Run("configuration", func(t *testing.T) { testImageConfig(t, b, image) })
	t.Run("run", func(t *testing.T) {
		opts := []string{
			"--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
			"--tmpfs=/run:mode=1777", "--volume=" + b.Probe() + ":/probe:ro",
		}
		c := b.StartImage(t, image, opts, "-pidfile", "/run/p.pid", "/probe", "ids")
		ids := parseIDs(t, c.Line())
		c.ExpectExit(0)
		if ids.uid != 65532 || ids.gid != 65532 || ids.ppid != 1 || ids.init != "pidleash" {
			t.Errorf("PROGRAM is %+v, want user and group 65532, a child of pidleash", ids)
		}
	})
}

func testImageConfig(t *testing.T, b *bed.Podman, image string) {
	var images []struct {
		Config struct {
			User       string
			Entrypoint []string
		}
	}
	text := b.Podman(t, "image", "inspect", image)
	if err := json.Unmarshal([]byte(text), &images); err != nil || len(images) != 1 {
		t.Fatalf("podman image inspect: %v: %s", err, text)
	}
	config := images[0].Config
	if config.User != "65532:65532" || !slices.Equal(config.Entrypoint, []string{"/pidleash"}) {
		t.Errorf("the image's configuration is %+v", config)
	}
}

// toolchainBuild makes a build image out of nothing but directories, into
// which the build then mounts the host's programs, Go and Go's caches. It
// returns the podman command that builds with it.
func toolchainBuild(t *testing.T, b *bed.Podman) []string {
	t.Helper()
	const image = "localhost/toolchain"
	env := goEnv(t, "GOROOT", "GOMODCACHE", "GOCACHE")
	build := []string{
		"build", "--network=none", "--pull=never", "--layers=false", "--build-arg=BUILD_IMAGE=" + image,
		// A cgroup of its own: a build takes the parent itself, and a cgroup of
		// version 1 with children cannot be given device rules.
		"--cgroup-parent=/" + b.Cgroup + "/build",
	}
	mount := func(dir, mode string) { build = append(build, "--volume="+dir+":"+dir+":"+mode) }
	for _, dir := range append(systemDirs(t, b, "toolchain"), env["GOROOT"], env["GOMODCACHE"]) {
		mount(dir, "ro")
	}
	mount(env["GOCACHE"], "rw")
	b.Write(t, "toolchain/Dockerfile", fmt.Sprintf(`FROM scratch
COPY . /
ENV PATH=%s/bin:/usr/bin:/bin GOPROXY=off GOTOOLCHAIN=local GOPATH=/go GOMODCACHE=%s GOCACHE=%s
`, env["GOROOT"], env["GOMODCACHE"], env["GOCACHE"]))
	b.Podman(t, "build", "--network=none", "--tag="+image, filepath.Join(b.Dir, "toolchain"))
	return build
}

func goEnv(t *testing.T, names ...string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"env", "-json"}, names...)...).Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	env := map[string]string{}
	if err := json.Unmarshal(out, &env); err != nil {
		t.Fatal(err)
	}
	return env
}

// systemDirs gives the build image's root the links that this machine's root
// has into /usr, and returns the directories to mount.
func systemDirs(t *testing.T, b *bed.Podman, root string) (dirs []string) {
	t.Helper()
	b.Write(t, filepath.Join(root, "tmp", ".keep"), "")
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64"} {
		target, err := os.Readlink(dir)
		switch {
		case err == nil:
			link := filepath.Join(b.Dir, root, dir)
			if err := os.Symlink(strings.TrimPrefix(target, "/"), link); err != nil {
				t.Fatal(err)
			}
		case !os.IsNotExist(err):
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
