package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A module is a library that is linked in. The path of Go's own is "std".
type module struct {
	path, version, sum string
	licence            string // SPDX's name
	text               string // of its licence files
}

// modulesOf has the libraries of all binaries, as `go version -m` tells them, sorted by path.
func modulesOf(binaries []binary) ([]module, error) {
	found := map[string]module{}
	for _, b := range binaries {
		found["std"] = module{path: "std", version: b.info.GoVersion}
		for _, d := range b.info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			found[d.Path] = module{path: d.Path, version: d.Version, sum: d.Sum}
		}
	}
	dirs, err := directories(found)
	if err != nil {
		return nil, err
	}
	var list []module
	for _, path := range slices.Sorted(maps.Keys(found)) {
		m := found[path]
		if m.text, m.licence, err = licenceIn(dirs[path]); err != nil {
			return nil, fmt.Errorf("licence of %s %s: %w", path, m.version, err)
		}
		list = append(list, m)
	}
	return list, nil
}

// directories is where the source of the modules lies. The Go command has it: the binaries were built of it.
func directories(modules map[string]module) (map[string]string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{"std": strings.TrimSpace(string(root))}
	words := []string{"mod", "download", "-json"}
	for path, m := range modules {
		if path != "std" {
			words = append(words, path+"@"+m.version)
		}
	}
	cmd := exec.Command("go", words...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go mod download: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Dir string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return dirs, nil
		} else if err != nil {
			return nil, err
		}
		dirs[m.Path] = m.Dir
	}
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)[^/]*$`)

// licenceIn reads the licence files in a module's top directory.
func licenceIn(dir string) (text, licence string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", "", err
	}
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", "", err
		}
		text += strings.TrimRight(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n") + "\n"
	}
	for _, known := range licences {
		if strings.Contains(strings.Join(strings.Fields(text), " "), known.words) {
			return text, known.name, nil
		}
	}
	return "", "", errors.New("not recognised; hint: read it, then add it to licences in packaging/notices.go")
}

// licences are known by words of theirs that no other has, or that stand further up here. All of them let a binary be
// handed on, if their texts go with it.
var licences = []struct{ name, words string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge"},
	{"BSD-3-Clause", "contributors may be used to endorse or promote products derived"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms"},
}

// notices is what must go with the binaries: the texts of the licences of what is inside.
func notices(modules []module) []byte {
	var b bytes.Buffer
	b.WriteString("pidleash contains these libraries. Their licences want their texts to go with it.\n")
	for _, m := range modules {
		fmt.Fprintf(&b, "\n%s\n%s %s (%s)\n\n%s", strings.Repeat("=", 78), m.title(), m.version, m.licence, m.text)
	}
	return b.Bytes()
}

func (m *module) title() string {
	if m.path == "std" {
		return "The Go standard library and runtime"
	}
	return m.path
}
