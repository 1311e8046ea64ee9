package main

import (
	"regexp"
	"strings"
)

var (
	// What git describe appends: the commits since the tag.
	sinceTag   = regexp.MustCompile(`-([0-9]+)-g([0-9a-f]+)`)
	preRelease = regexp.MustCompile(`-(alpha|beta|rc|pre)`)
)

// packageVersion is the version in the words of dpkg and rpm, so that they order versions as git does: "~" sorts
// before the end, "+" after it, "-" begins the package's own number (deb-version(7)). Without a tag it is before all others.
func (r *release) packageVersion() string {
	v := r.version
	if v == "" || v[0] < '0' || v[0] > '9' {
		return "0~" + r.created.Format("20060102") + ".g" + r.commit[:min(12, len(r.commit))]
	}
	v = preRelease.ReplaceAllString(v, "~$1")
	v = sinceTag.ReplaceAllString(v, "+$1.g$2")
	return strings.ReplaceAll(v, "-", "+")
}

// fileName is a name with a version in it, as GitHub would have it, which renames what has other characters, and then
// SHA256SUMS would name no file.
func fileName(name string) string { return strings.ReplaceAll(name, "~", "-") }
