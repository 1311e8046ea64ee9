// Command packaging makes the files of a release: binaries, packages, a container image, and the lists about them.
// `make dist` runs it in the top directory of the module.
//
//	pidleash-VERSION-linux-ARCH           the static binary
//	pidleash-VERSION-linux-ARCH.cdx.json  its bill of materials, CycloneDX
//	pidleash_VERSION_ARCH.deb, pidleash-VERSION-1.ARCH.rpm
//	pidleash-VERSION-oci.tar              one image for all architectures, an OCI layout
//	THIRD_PARTY                           the licences of the libraries inside
//	SHA256SUMS                            of all of these
//
// The same source and the same version of Go make the same bytes, in any directory and at any time. Times are those of
// the commit (https://reproducible-builds.org/specs/source-date-epoch/).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A release is what was asked for.
type release struct {
	version, commit string // as -version tells them
	created         time.Time
	archs, formats  []string
	out             string // where everything goes
	stage           string // where files are prepared, removed at the end
	nfpm            string // module@version of the tool that makes packages
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	r := &release{}
	flag.StringVar(&r.version, "version", "", "of pidleash, as git describe tells it; without one the commit is used")
	flag.StringVar(&r.commit, "commit", "", "of the source")
	epoch := flag.Int64("epoch", 0, "seconds since 1970: the time of everything that is made")
	archs := flag.String("archs", "amd64", "architectures, in Go's words")
	formats := flag.String("formats", "deb rpm oci", "what to make of the binaries")
	flag.StringVar(&r.out, "out", "dist", "where everything goes; its files of an earlier run are removed")
	flag.StringVar(&r.nfpm, "nfpm", "", "module@version of nfpm")
	flag.Parse()
	if r.commit == "" || *epoch == 0 {
		return errors.New("no commit, or no time; hint: without .git give make VERSION=, COMMIT= and SOURCE_DATE_EPOCH=")
	}
	r.version, r.created = strings.TrimPrefix(r.version, "v"), time.Unix(*epoch, 0).UTC() // of a tag, v1.0.0
	r.archs, r.formats = strings.Fields(*archs), strings.Fields(*formats)
	if err := r.check(); err != nil {
		return err
	}
	if r.stage, err = os.MkdirTemp("", "pidleash-dist-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(r.stage) }()
	return r.make()
}

// check refuses what nobody can make, before anything is made.
func (r *release) check() error {
	for _, name := range r.archs {
		if _, ok := targets[name]; !ok {
			return fmt.Errorf("architecture %s: unknown; hint: a new one is a line of targets in packaging/binary.go", name)
		}
	}
	for _, name := range r.formats {
		if !slices.Contains([]string{"deb", "rpm", "oci"}, name) {
			return fmt.Errorf("format %s: unknown; hint: there are deb, rpm and oci", name)
		}
	}
	if len(r.archs) == 0 {
		return errors.New("no architecture; hint: give make ARCHS=")
	}
	return nil
}

func (r *release) make() error {
	if err := r.clear(); err != nil {
		return err
	}
	var binaries []binary
	for _, arch := range r.archs {
		b, err := r.build(arch)
		if err != nil {
			return err
		}
		binaries = append(binaries, b)
	}
	modules, err := modulesOf(binaries)
	if err != nil {
		return err
	}
	notices := notices(modules)
	if err := write(filepath.Join(r.out, "THIRD_PARTY"), notices); err != nil {
		return err
	}
	for _, b := range binaries {
		if err := r.bill(b, modules); err != nil {
			return err
		}
		for _, format := range r.formats {
			if format != "oci" {
				if err := r.packageAs(format, b, notices); err != nil {
					return err
				}
			}
		}
	}
	if slices.Contains(r.formats, "oci") {
		if err := r.image(binaries, notices); err != nil {
			return err
		}
	}
	return sums(r.out)
}

// ours are the names of what this makes, and of the signature that a release adds.
var ours = regexp.MustCompile(`^(pidleash[-_][0-9].*|THIRD_PARTY|SHA256SUMS(\..*)?)$`)

// clear removes the files of an earlier run, because SHA256SUMS lists every file in the directory. It leaves other
// files alone.
func (r *release) clear() error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours.MatchString(e.Name()) || e.IsDir() {
			return fmt.Errorf("%s: not made by this; hint: give another directory", filepath.Join(r.out, e.Name()))
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(r.out, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// write makes a file that everybody may read, whatever the umask is.
func write(path string, data []byte) error {
	return errors.Join(os.WriteFile(path, data, 0o644), os.Chmod(path, 0o644))
}
