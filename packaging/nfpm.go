package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// The parts of nfpm's configuration that are used here. It is YAML, of which JSON is a part:
// https://nfpm.goreleaser.com/docs/configuration/.
type (
	config struct {
		Name        string    `json:"name"`
		Arch        string    `json:"arch"`
		Platform    string    `json:"platform"`
		Version     string    `json:"version"`
		Schema      string    `json:"version_schema"`
		Release     string    `json:"release"`
		Section     string    `json:"section"`
		Priority    string    `json:"priority"`
		Maintainer  string    `json:"maintainer"`
		Description string    `json:"description"`
		Licence     string    `json:"license"`
		Time        time.Time `json:"mtime"`
		Contents    []content `json:"contents"`
		RPM         struct {
			Group string `json:"group"`
			Host  string `json:"buildhost"`
		} `json:"rpm"`
	}
	content struct {
		Source string   `json:"src"`
		Target string   `json:"dst"`
		Type   string   `json:"type,omitempty"`
		Info   fileInfo `json:"file_info"`
	}
	fileInfo struct {
		Mode  fs.FileMode `json:"mode"`
		Owner string      `json:"owner"`
		Group string      `json:"group"`
		Time  time.Time   `json:"mtime"`
	}
)

const description = `run a program on the leash of its PID file
pidleash starts a program, writes its PID to a file, forwards signals to it,
stops it when that file is removed, removes the file when the program ends,
and then ends the way the program ended. It goes in front of a command line:
in a systemd unit, in a script, as a container's entrypoint.`

// packageAs makes a package of a binary: deb or rpm. It has no scripts and no configuration files, and it starts,
// enables and stops nothing. So an upgrade leaves alone who runs: the kernel keeps a replaced binary for them.
func (r *release) packageAs(format string, b binary, notices []byte) error {
	c := config{
		Name: "pidleash", Arch: targets[b.arch].nfpm, Platform: "linux", Version: r.packageVersion(), Schema: "none",
		Section: "admin", Priority: "optional", Maintainer: "The pidleash authors", Description: description,
		Licence: "MIT", Time: r.created,
	}
	c.RPM.Group, c.RPM.Host = "System Environment/Base", "localhost" // not the name of who builds
	if format == "rpm" {
		c.Release = "1"
	}
	contents, err := r.contents(format, b, notices)
	if err != nil {
		return err
	}
	c.Contents = contents
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	file := filepath.Join(r.stage, "nfpm.yaml")
	if err := write(file, text); err != nil {
		return err
	}
	made := filepath.Join(r.stage, format)
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(made) }()
	cmd := exec.Command("go", "run", r.nfpm, "package", "-p", format, "-f", file, "-t", made)
	// Of what has no time in the configuration.
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.created.Unix(), 10))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s for %s: %w\n%s", format, b.arch, err, out)
	}
	return r.collect(made)
}

// collect moves what nfpm has made and named, with the distribution's word for the architecture, to where everything
// goes.
func (r *release) collect(made string) error {
	entries, err := os.ReadDir(made)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(made, e.Name()))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(r.out, fileName(e.Name())), data); err != nil {
			return err
		}
	}
	return nil
}

// contents are the files of a package. The distributions differ in where licences and zsh's completions are.
func (r *release) contents(format string, b binary, notices []byte) (list []content, err error) {
	add := func(source, target string, mode fs.FileMode) {
		list = append(list, content{source, target, "", fileInfo{mode, "root", "root", r.created}})
	}
	staged := func(name string, data []byte, target string) {
		source := filepath.Join(r.stage, name)
		if err == nil {
			err = write(source, data)
		}
		add(source, target, 0o644)
	}
	read := func(name string) []byte {
		data, readErr := os.ReadFile(name)
		if err == nil {
			err = readErr
		}
		return data
	}
	const share, doc = "/usr/share/", "/usr/share/doc/pidleash/"
	add(b.path, "/usr/bin/pidleash", 0o755)
	staged("pidleash.1.gz", zipped(read("man/pidleash.1")), share+"man/man1/pidleash.1.gz")
	add("completions/pidleash.bash", share+"bash-completion/completions/pidleash", 0o644)
	add("completions/pidleash.fish", share+"fish/vendor_completions.d/pidleash.fish", 0o644)
	staged("changelog.gz", zipped(read("CHANGELOG.md")), doc+"changelog.gz")
	if format == "deb" {
		add("completions/_pidleash", share+"zsh/vendor-completions/_pidleash", 0o644)
		staged("copyright", append(append(read("LICENSE"), '\n'), notices...), doc+"copyright")
	} else {
		add("completions/_pidleash", share+"zsh/site-functions/_pidleash", 0o644)
		add("LICENSE", share+"licenses/pidleash/LICENSE", 0o644)
		staged("THIRD_PARTY", notices, share+"licenses/pidleash/THIRD_PARTY")
	}
	return list, first(err, eachPage(func(name string) { add(name, doc+name, 0o644) }))
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// pages are what there is to read and to copy from. They keep their places to one another, and are not compressed, so
// that every link of a page leads to its target there, too.
var pages = []string{"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs", "examples"}

// eachPage visits the files of pages, and those below its directories.
func eachPage(visit func(name string)) error {
	for _, root := range pages {
		if err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				visit(name)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// zipped is what gzip -9 -n makes: without a name and a time.
func zipped(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a known level has no error, nor has a buffer
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}
