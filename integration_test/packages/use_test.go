package packages

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// What make dist makes for this machine is used as its users do.
func TestUse(t *testing.T) {
	t.Parallel()
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	// The image is for another architecture first: who runs it has to choose.
	out := makeDist(t, bed.ModuleFile(), nil, "ARCHS="+other+" "+runtime.GOARCH, "FORMATS=deb oci", "VERSION=v1.0.0")
	later := makeDist(t, bed.ModuleFile(), nil, "ARCHS="+runtime.GOARCH, "FORMATS=deb", "VERSION=v1.0.1")
	t.Run("deb", func(t *testing.T) {
		needTool(t, "dpkg")
		arch := strings.TrimSpace(output(t, "dpkg", "--print-architecture"))
		testDebian(t, filepath.Join(out, "pidleash_1.0.0_"+arch+".deb"), filepath.Join(later, "pidleash_1.0.1_"+arch+".deb"))
	})
	t.Run("image", func(t *testing.T) { testContainer(t, filepath.Join(out, "pidleash-1.0.0-oci.tar")) })
}

// testContainer has podman load the image, and run it as it is meant to be run.
func testContainer(t *testing.T, archive string) {
	b := bed.NewPodman(t)
	b.Podman(t, "load", "--quiet", "--input", archive)
	c := b.StartImage(t, "localhost/pidleash:1.0.0", nil, "-version")
	if got := c.Line(); !strings.HasPrefix(got, "pidleash 1.0.0 (commit "+commit+", go") {
		t.Errorf("-version says %q", got)
	}
	c.ExpectExit(0)
	opts := []string{
		"--read-only", "--read-only-tmpfs=false", "--cap-drop=all",
		"--tmpfs=/run:mode=1777", "--volume=" + b.Probe() + ":/probe:ro",
	}
	b.StartImage(t, "localhost/pidleash:1.0.0", opts, "-pidfile", "/run/p.pid", "/probe", "exit", "42").ExpectExit(42)
	const format = `{{index .Labels "org.opencontainers.image.revision"}} {{.Architecture}} {{.User}}`
	label := b.Podman(t, "image", "inspect", "--format", format, "localhost/pidleash:1.0.0")
	if want := commit + " " + runtime.GOARCH + " 65532:65532"; strings.TrimSpace(label) != want {
		t.Errorf("the image says %q, want %q", label, want)
	}
}
