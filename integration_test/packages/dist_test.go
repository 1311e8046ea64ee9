package packages

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// What a release is called here, and its time.
const (
	commit = "0123456789abcdef0123456789abcdef01234567"
	epoch  = "1764115200"
)

// makeDist runs make dist in a copy of the source, and returns the directory with what it has made.
func makeDist(t *testing.T, source string, env []string, variables ...string) string {
	t.Helper()
	needNfpm(t)
	out := filepath.Join(t.TempDir(), "out")
	cmd := exec.Command("make", append([]string{"-s", "-C", source, "dist", "DIST=" + out, "COMMIT=" + commit,
		"SOURCE_DATE_EPOCH=" + epoch}, variables...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return out
}

// needNfpm has nfpm built. Its source comes from Go's module proxy, once for a machine.
func needNfpm(t *testing.T) {
	t.Helper()
	_, name, found := strings.Cut(bed.ReadFile(t, bed.ModuleFile("Makefile")), "\nNFPM    := ")
	if name, _, _ = strings.Cut(name, "\n"); !found {
		t.Fatal("the Makefile does not tell which nfpm")
	}
	if out, err := exec.Command("go", "run", name, "--version").CombinedOutput(); err != nil {
		bed.Missing(t, "%s: %v\n%s", name, err, out)
	}
}

// copySource copies the module, without what git and make have added.
func copySource(t *testing.T) string {
	t.Helper()
	target := t.TempDir()
	source := os.DirFS(bed.ModuleFile())
	bed.Must(t, fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "dist"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(target, name), 0o755)
		case !d.Type().IsRegular() || name == ".git": // a file, where git worktree has made it
			return nil
		}
		data, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(target, name), data, 0o644)
	}))
	return target
}

// The same source makes the same bytes, in another directory, of another clock's zone, with another umask and without
// git. -long has everything compiled for each of them, for all architectures; otherwise the second finds what the first
// has compiled, and links it.
func TestReproducible(t *testing.T) {
	t.Parallel()
	var env []string
	archs := []string{"arm64"}
	if bed.Long() {
		env = []string{"GOCACHE=" + t.TempDir()}
		archs = distArchs(t)
	}
	these := "ARCHS=" + strings.Join(archs, " ")
	first := makeDist(t, bed.ModuleFile(), []string{"TZ=Asia/Tokyo"}, these, "VERSION=v1.0.0")
	second := filepath.Join(t.TempDir(), "second")
	cmd := exec.Command("sh", "-c", `umask 077; exec make -s "$@"`, "sh", "-C", copySource(t), "dist", "DIST="+second,
		"COMMIT="+commit, "SOURCE_DATE_EPOCH="+epoch, these, "VERSION=v1.0.0")
	cmd.Env = append(os.Environ(), append(env, "TZ=America/Lima", "LANG=C.UTF-8", "GOARM64=v8.2")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	want := distFiles(archs)
	a, b := filesBelow(t, first), filesBelow(t, second)
	if names := slices.Sorted(maps.Keys(a)); !slices.Equal(names, want) {
		t.Errorf("make dist made %q, want %q", names, want)
	}
	if !equal(a, b) {
		t.Fatalf("made %v and %v", a, b)
	}
	for name := range a {
		x, y := bed.ReadFile(t, filepath.Join(first, name)), bed.ReadFile(t, filepath.Join(second, name))
		if x != y {
			t.Errorf("%s differs between two directories: %s", name, difference(x, y))
		}
	}
	t.Run("sums", func(t *testing.T) { testSums(t, first, want) })
	t.Run("arm64", func(t *testing.T) { testEmulated(t, filepath.Join(first, "pidleash-1.0.0-linux-arm64")) })
	t.Run("bill", func(t *testing.T) { testBill(t, first) })
	t.Run("deb", func(t *testing.T) { testDeb(t, filepath.Join(first, "pidleash_1.0.0_arm64.deb")) })
	t.Run("rpm", func(t *testing.T) { testRPM(t, filepath.Join(first, "pidleash-1.0.0-1.aarch64.rpm")) })
	t.Run("image", func(t *testing.T) { testImage(t, first, len(archs)) })
}

// distArchs are all that make dist builds for.
func distArchs(t *testing.T) []string {
	t.Helper()
	_, archs, found := strings.Cut(bed.ReadFile(t, bed.ModuleFile("Makefile")), "\nARCHS   ?= ")
	archs, _, _ = strings.Cut(archs, "\n")
	if !found || len(strings.Fields(archs)) != len(packaged) {
		t.Fatalf("make dist builds for %q, this test knows of %d architectures", archs, len(packaged))
	}
	return strings.Fields(archs)
}

// packaged is what Debian and Red Hat call an architecture of Go's.
var packaged = map[string]struct{ deb, rpm string }{
	"amd64": {"amd64", "x86_64"}, "arm64": {"arm64", "aarch64"}, "arm": {"armhf", "armv6hl"}, "386": {"i386", "i386"},
	"riscv64": {"riscv64", "riscv64"}, "ppc64le": {"ppc64el", "ppc64le"}, "s390x": {"s390x", "s390x"},
}

// distFiles are the names of what is made for these architectures, in their order.
func distFiles(archs []string) []string {
	names := []string{"SHA256SUMS", "THIRD_PARTY", "pidleash-1.0.0-oci.tar"}
	for _, arch := range archs {
		is := packaged[arch]
		binary := "pidleash-1.0.0-linux-" + arch
		names = append(names, binary, binary+".cdx.json", "pidleash-1.0.0-1."+is.rpm+".rpm", "pidleash_1.0.0_"+is.deb+".deb")
	}
	slices.Sort(names)
	return names
}

// difference shows where two files part, for a message.
func difference(a, b string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("at byte %d %q and %q", i, a[max(0, i-20):min(len(a), i+20)], b[max(0, i-20):min(len(b), i+20)])
		}
	}
	return fmt.Sprintf("%d and %d bytes", len(a), len(b))
}

// testSums has the sums checked by who checks them: every file but SHA256SUMS itself.
func testSums(t *testing.T, dir string, files []string) {
	cmd := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), ": OK\n") != len(files)-1 {
		t.Errorf("sha256sum -c: %v\n%s", err, out)
	}
}

// testEmulated runs the binary for arm64. What such a binary does in general, integration_test/exit tries.
func testEmulated(t *testing.T, file string) {
	h := bed.How{File: file, Before: []string{needTool(t, "qemu-aarch64-static")}}
	r := bed.Start(t, h, "-version")
	if got := r.Rest(t); !strings.HasPrefix(got, "pidleash 1.0.0 (commit "+commit+", go") {
		t.Errorf("-version says %q", got)
	}
	r.ExpectCode(t, 0)
	dir := bed.OpenDir(t)
	r, _ = bed.Leashed(t, h, "-pidfile", dir+"/p.pid", "-settle", "0")
	bed.RemoveFile(t, dir+"/p.pid")
	<-r.Done
	bed.ExpectEmptyDir(t, dir)
}

// needTool is where a program of this machine is.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		bed.Missing(t, "%v", err)
	}
	return path
}

// output is what a command prints, which must succeed.
func output(t *testing.T, words ...string) string {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", words, err, out, stderr.String())
	}
	return string(out)
}

// What cannot be made is refused before anything is made or removed, with the remedy.
func TestDistRefuses(t *testing.T) {
	t.Parallel()
	out := bed.OpenDir(t)
	bed.WriteFile(t, out+"/SHA256SUMS", "kept", 0o644)
	for _, c := range []struct{ variables, want string }{
		{"COMMIT=", "no commit, or no time; hint: without .git give make VERSION="},
		{"SOURCE_DATE_EPOCH=0", "no commit, or no time; hint: "},
		{"ARCHS=arm65", "architecture arm65: unknown; hint: "},
		{"ARCHS=", "no architecture; hint: "},
		{"FORMATS=apk", "format apk: unknown; hint: there are deb, rpm and oci"},
		{"DIST=packaging", "not made by this; hint: give another directory"},
	} {
		cmd := exec.Command("make", "-s", "-C", bed.ModuleFile(), "dist", "DIST="+out, "COMMIT="+commit,
			"SOURCE_DATE_EPOCH="+epoch, c.variables)
		text, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(text), "packaging: ") || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: got %v and %q, want %q", c.variables, err, text, c.want)
		}
	}
	if got := bed.ReadFile(t, out+"/SHA256SUMS"); got != "kept" || len(filesBelow(t, out)) != 1 {
		t.Errorf("left are %v", filesBelow(t, out))
	}
}
