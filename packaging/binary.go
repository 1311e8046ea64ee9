package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A target is an architecture in everybody's words.
type target struct {
	env     string // which of its processors, for Go; the oldest that Go, and what Debian calls so, runs on
	nfpm    string // for nfpm, which translates for dpkg and rpm
	variant string // for OCI's image index
}

var targets = map[string]target{
	"amd64":   {"GOAMD64=v1", "amd64", ""},
	"arm64":   {"GOARM64=v8.0", "arm64", "v8"},
	"arm":     {"GOARM=6", "arm6", "v6"}, // the first Raspberry Pi is one, and its Debian says armhf, too
	"386":     {"GO386=sse2", "386", ""},
	"riscv64": {"GORISCV64=rva20u64", "riscv64", ""},
	"ppc64le": {"GOPPC64=power8", "ppc64le", ""},
	"s390x":   {"", "s390x", ""},
}

// A binary is a built one.
type binary struct {
	arch, path string
	data       []byte
	info       *buildinfo.BuildInfo
}

func (b *binary) sum() string {
	sum := sha256.Sum256(b.data)
	return hex.EncodeToString(sum[:])
}

// build makes the binary for an architecture as `make build` does. What Go itself knows of git is left out, because
// it is another thing in an archive of the source; the commit is in the binary anyway.
func (r *release) build(arch string) (b binary, err error) {
	path := filepath.Join(r.out, "pidleash-"+fileName(r.packageVersion())+"-linux-"+arch)
	absolute, err := filepath.Abs(path)
	if err != nil {
		return b, err
	}
	cmd := exec.Command("make", "-s", "build", "OUT="+absolute, "VERSION="+r.version, "COMMIT="+r.commit)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { // of the make that has started this
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS")
	})
	cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH="+arch, "GOFLAGS=-buildvcs=false", "GOEXPERIMENT=", targets[arch].env)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return b, fmt.Errorf("build for %s: %w", arch, err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		return b, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return b, err
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err != nil {
		return b, fmt.Errorf("%s: %w", path, err)
	}
	return binary{arch, path, data, info}, nil
}

// sums writes SHA256SUMS, for sha256sum(1) -c in that directory.
func sums(dir string) error {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return write(filepath.Join(dir, "SHA256SUMS"), []byte(lines.String()))
}
