package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The parts of https://github.com/opencontainers/image-spec that are used here.
type (
	descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Platform    *platform         `json:"platform,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	platform struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
		Variant      string `json:"variant,omitempty"`
	}
	index struct {
		Version     int               `json:"schemaVersion"`
		MediaType   string            `json:"mediaType"`
		Manifests   []descriptor      `json:"manifests"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	manifest struct {
		Version     int               `json:"schemaVersion"`
		MediaType   string            `json:"mediaType"`
		Config      descriptor        `json:"config"`
		Layers      []descriptor      `json:"layers"`
		Annotations map[string]string `json:"annotations"`
	}
	imageConfig struct {
		Created time.Time `json:"created"`
		platform
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		} `json:"config"`
		Rootfs struct {
			Type  string   `json:"type"`
			Diffs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
)

// A layout collects the files of an OCI layout.
type layout map[string][]byte

// add keeps a blob under its digest.
func (l layout) add(kind string, data []byte) descriptor {
	sum := fmt.Sprintf("%x", sha256.Sum256(data))
	l["blobs/sha256/"+sum] = data
	return descriptor{MediaType: "application/vnd.oci.image." + kind, Digest: "sha256:" + sum, Size: len(data)}
}

func (l layout) addJSON(kind string, value any) descriptor {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err) // these types have nothing that JSON has not
	}
	return l.add(kind, data)
}

// image writes one image for every architecture, as the Dockerfile makes it for one: the binary, and the licences
// that must go with it.
func (r *release) image(binaries []binary, notices []byte) error {
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	l := layout{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	labels := map[string]string{
		"org.opencontainers.image.title":       "pidleash",
		"org.opencontainers.image.description": "Run a program on the leash of its PID file",
		"org.opencontainers.image.version":     r.packageVersion(),
		"org.opencontainers.image.revision":    r.commit,
		"org.opencontainers.image.created":     r.created.Format(time.RFC3339),
		"org.opencontainers.image.licenses":    "MIT",
	}
	all := index{Version: 2, MediaType: "application/vnd.oci.image.index.v1+json", Annotations: labels}
	for _, b := range binaries {
		layer := archive(r.created, []entry{
			{"LICENSE", licence, 0o644}, {"THIRD_PARTY", notices, 0o644}, {"pidleash", b.data, 0o755},
		})
		c := imageConfig{Created: r.created, platform: platform{b.arch, "linux", targets[b.arch].variant}}
		// As in the Dockerfile, whose comments have the reasons.
		c.Config.User, c.Config.Entrypoint, c.Config.Labels = "65532:65532", []string{"/pidleash"}, labels
		c.Rootfs.Type, c.Rootfs.Diffs = "layers", []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}
		m := manifest{
			Version: 2, MediaType: "application/vnd.oci.image.manifest.v1+json",
			Config: l.addJSON("config.v1+json", c), Layers: []descriptor{l.add("layer.v1.tar+gzip", zipped(layer))},
			Annotations: labels,
		}
		d := l.addJSON("manifest.v1+json", m)
		d.Platform = &c.platform
		all.Manifests = append(all.Manifests, d)
	}
	// Podman and skopeo take the only entry of the outer index, and choose the architecture in the inner one.
	d := l.addJSON("index.v1+json", all)
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": "pidleash:" + tag(r.packageVersion())}
	outer, err := json.Marshal(index{Version: 2, MediaType: all.MediaType, Manifests: []descriptor{d}})
	if err != nil {
		return err
	}
	l["index.json"] = outer
	return write(filepath.Join(r.out, "pidleash-"+fileName(r.packageVersion())+"-oci.tar"), l.archive(r.created))
}

// tag is a version as the tag of an image, which has no "+".
func tag(version string) string { return strings.ReplaceAll(fileName(version), "+", "-") }

func (l layout) archive(at time.Time) []byte {
	var entries []entry
	for name, data := range l {
		entries = append(entries, entry{name, data, 0o644})
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return archive(at, entries)
}

// An entry is a regular file of an archive.
type entry struct {
	name string
	data []byte
	mode int64
}

// archive is a tar archive of root's files. Directories have no entries of their own: who unpacks makes them.
func archive(at time.Time, entries []entry) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		// A buffer takes everything, and these headers fit into the oldest format.
		header := tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.data)), ModTime: at, Format: tar.FormatUSTAR}
		_ = w.WriteHeader(&header)
		_, _ = io.Copy(w, bytes.NewReader(e.data))
	}
	_ = w.Close()
	return b.Bytes()
}
