package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// inPackages are files of every package, below /usr, beside the pages.
var inPackages = []string{
	"bin/pidleash",
	"share/bash-completion/completions/pidleash",
	"share/doc/pidleash/changelog.gz",
	"share/fish/vendor_completions.d/pidleash.fish",
	"share/man/man1/pidleash.1.gz",
}

const pages = "share/doc/pidleash/"

// withPages adds what there is to read and to copy from to the files of every package.
func withPages(t *testing.T, names ...string) []string {
	t.Helper()
	for _, dir := range []string{"docs", "examples"} {
		below := filesBelow(t, bed.ModuleFile(dir))
		if len(below) == 0 {
			t.Fatalf("%s is empty", dir)
		}
		for name := range below {
			names = append(names, pages+dir+"/"+name)
		}
	}
	return append(append(names, pages+"README.md", pages+"SECURITY.md"), inPackages...)
}

var (
	linked  = regexp.MustCompile(`\]\(([^):#]+)(?:#[^)]*)?\)`)
	pointed = regexp.MustCompile(`(\S*/)?(?:docs/[a-z-]+\.md|README\.md|SECURITY\.md)`)
)

// expectPages checks that a package has all files that it must have, and that what is read in it leads on: each
// relative link of a page, and each page that an example or the manual page names. files are all paths, from /usr/ on.
func expectPages(t *testing.T, files []string, want []string) {
	t.Helper()
	is := map[string]bool{}
	for _, file := range files {
		for is[file] = true; file != "/" && file != "."; is[file] = true {
			file = filepath.Dir(file)
		}
	}
	for _, name := range want {
		if !is["/usr/"+name] {
			t.Errorf("it lacks /usr/%s", name)
		}
	}
	links, named := 0, 0
	for _, file := range append(files, "man/pidleash.1") {
		name, isPage := strings.CutPrefix(file, "/usr/"+pages)
		switch text := ""; {
		case isPage && strings.HasSuffix(name, ".md"):
			text = bed.ReadFile(t, bed.ModuleFile(name))
			for _, m := range linked.FindAllStringSubmatch(text, -1) {
				links++
				if target := filepath.Join(filepath.Dir(file), m[1]); !is[target] {
					t.Errorf("%s links %s, which is not in the package", file, target)
				}
			}
		case strings.HasPrefix(name, "examples/"), name == "man/pidleash.1":
			text = bed.ReadFile(t, bed.ModuleFile(name))
			for _, path := range pointed.FindAllString(text, -1) {
				named++
				if !is[path] {
					t.Errorf("%s names %s, which is not in the package", file, path)
				}
			}
		}
	}
	if links < 50 || named < 4 {
		t.Errorf("only %d links and %d names of pages were found", links, named)
	}
}

// testBill compares the bill of materials with what Go says of the binary.
func testBill(t *testing.T, dir string) {
	var bill struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct {
				Version string
				Hashes  []struct{ Alg, Content string }
			}
		}
		Components []struct{ Name, Version, PURL string }
	}
	binary := filepath.Join(dir, "pidleash-1.0.0-linux-arm64")
	bed.Must(t, json.Unmarshal([]byte(bed.ReadFile(t, binary+".cdx.json")), &bill))
	own := bill.Metadata.Component
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(bed.ReadFile(t, binary))))
	if bill.BOMFormat != "CycloneDX" || own.Version != "1.0.0" || len(own.Hashes) != 1 || own.Hashes[0].Content != sum {
		t.Errorf("the bill is not about this binary: %+v", bill)
	}
	notices := bed.ReadFile(t, filepath.Join(dir, "THIRD_PARTY"))
	var got, want []string
	for _, c := range bill.Components {
		got = append(got, c.Name+" "+c.Version)
		name := c.Name
		if name == "std" {
			name = "The Go standard library and runtime"
		}
		if !strings.Contains(notices, "\n"+name+" "+c.Version+" (") {
			t.Errorf("THIRD_PARTY has no licence of %s", c.Name)
		}
		if !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%s is called %q", c.Name, c.PURL)
		}
	}
	for i, line := range strings.Split(output(t, "go", "version", "-m", binary), "\n") {
		switch words := strings.Fields(line); {
		case i == 0:
			want = append(want, "std "+words[1])
		case len(words) > 2 && words[0] == "dep":
			want = append(want, words[1]+" "+words[2])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(got) < 5 {
		t.Errorf("the bill has %q, go version -m %q", got, want)
	}
}

// inPlace are the directories of a package's files. Units and scripts among them are examples.
var inPlace = regexp.MustCompile(`^\./usr/(bin|share/(man|doc|bash-completion|zsh|fish))/`)

// testDeb looks into the package: whose files, what modes, no scripts.
func testDeb(t *testing.T, file string) {
	needTool(t, "dpkg-deb")
	for field, want := range map[string]string{
		"Package": "pidleash", "Version": "1.0.0", "Architecture": "arm64", "Depends": "",
	} {
		if got := strings.TrimSpace(output(t, "dpkg-deb", "--field", file, field)); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
	control, err := exec.Command("sh", "-c", `dpkg-deb --ctrl-tarfile "$0" | tar -t | sort | tr '\n' ' '`, file).Output()
	if err != nil || string(control) != "./control ./md5sums " {
		t.Errorf("beside its files it has %q, %v: scripts and conffiles may act on who runs", control, err)
	}
	list := output(t, "dpkg-deb", "--contents", file)
	var files []string
	modes := []string{"drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"}
	for line := range strings.SplitSeq(strings.TrimSpace(list), "\n") {
		if words := strings.Fields(line); !slices.Contains(modes, words[0]) || words[1] != "root/root" {
			t.Errorf("mode or owner: %s", line)
		} else if name := words[len(words)-1]; !strings.HasSuffix(name, "/") && !inPlace.MatchString(name) {
			t.Errorf("%s: nothing is to be configured or enabled", name)
		} else if !strings.HasSuffix(name, "/") {
			files = append(files, strings.TrimPrefix(name, "."))
		}
	}
	expectPages(t, files, withPages(t, pages+"copyright", "share/zsh/vendor-completions/_pidleash"))
}

// testRPM has rpm read the package, and check its sums.
func testRPM(t *testing.T, file string) {
	needTool(t, "rpm")
	rpm := func(words ...string) string {
		t.Helper()
		return output(t, append([]string{"rpm", "--dbpath", t.TempDir()}, append(words, file)...)...)
	}
	if got := rpm("--nosignature", "-Kv"); !strings.Contains(got, "SHA256 digest: OK") {
		t.Errorf("rpm -K says %s", got)
	}
	want := "pidleash 1.0.0 1 aarch64 MIT localhost " + epoch
	const format = "%{NAME} %{VERSION} %{RELEASE} %{ARCH} %{LICENSE} %{BUILDHOST} %{BUILDTIME}"
	if got := rpm("--nosignature", "-qp", "--qf", format); got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	files := strings.Fields(rpm("--nosignature", "-qpl"))
	expectPages(t, files, withPages(t, "share/licenses/pidleash/LICENSE", "share/licenses/pidleash/THIRD_PARTY",
		"share/zsh/site-functions/_pidleash"))
	if got := strings.TrimSpace(rpm("--nosignature", "-qp", "--scripts")); got != "" {
		t.Errorf("it has scripts: %s", got)
	}
}

// testImage follows the digests of the layout, from the outer index to the layer for arm64, one of so many.
func testImage(t *testing.T, dir string, archs int) {
	files := untar(t, []byte(bed.ReadFile(t, filepath.Join(dir, "pidleash-1.0.0-oci.tar"))))
	type list struct {
		Manifests []struct {
			Digest   string
			Platform struct{ Architecture, OS, Variant string }
		}
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	open := func(name string, into any) {
		t.Helper()
		if sum, ok := strings.CutPrefix(name, "sha256:"); ok {
			name = "blobs/sha256/" + sum
			if got := fmt.Sprintf("%x", sha256.Sum256(files[name])); got != sum {
				t.Errorf("%s has the sum %s", name, got)
			}
		}
		bed.Must(t, json.Unmarshal(files[name], into))
	}
	var outer, inner, manifest list
	open("index.json", &outer)
	open(outer.Manifests[0].Digest, &inner)
	found := ""
	for _, m := range inner.Manifests {
		if fmt.Sprint(m.Platform) == "{arm64 linux v8}" {
			found = m.Digest
		}
	}
	if found == "" || len(inner.Manifests) != archs {
		t.Fatalf("the image is for %v, want %d, of which one is arm64", inner.Manifests, archs)
	}
	open(found, &manifest)
	var config struct {
		Config struct{ Labels map[string]string }
	}
	open(manifest.Config.Digest, &config)
	for label, want := range map[string]string{
		"version": "1.0.0", "revision": commit, "licenses": "MIT", "created": "2025-11-26T00:00:00Z",
	} {
		if got := config.Config.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s: %q, want %q", label, got, want)
		}
	}
	blob := "blobs/sha256/" + strings.TrimPrefix(manifest.Layers[0].Digest, "sha256:")
	unzipped, err := gzip.NewReader(bytes.NewReader(files[blob]))
	bed.Must(t, err)
	layer, err := io.ReadAll(unzipped)
	bed.Must(t, err)
	inside := untar(t, layer)
	for name, source := range map[string]string{
		"pidleash": filepath.Join(dir, "pidleash-1.0.0-linux-arm64"), "THIRD_PARTY": filepath.Join(dir, "THIRD_PARTY"),
		"LICENSE": bed.ModuleFile("LICENSE"),
	} {
		if string(inside[name]) != bed.ReadFile(t, source) {
			t.Errorf("the image's %s is not %s", name, source)
		}
	}
}

func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		bed.Must(t, err)
		files[h.Name], err = io.ReadAll(r)
		bed.Must(t, err)
	}
}
