package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// The parts of a bill of materials that are used here: https://cyclonedx.org/docs/1.6/json/.
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	}
	component struct {
		Type       string     `json:"type"`
		Ref        string     `json:"bom-ref"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		Hashes     []hash     `json:"hashes,omitempty"`
		Licences   []licensed `json:"licenses"`
		PURL       string     `json:"purl"`
		Properties []property `json:"properties,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licensed struct {
		Licence struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

// bill writes the bill of materials of one binary: what `go version -m` tells of it, and the licences.
func (r *release) bill(b binary, modules []module) error {
	sum := sha256.Sum256(b.data)
	own := component{
		Type: "application", Name: "pidleash", Version: r.packageVersion(), Licences: underLicence("MIT"),
		Hashes:     []hash{{"SHA-256", b.sum()}},
		PURL:       "pkg:generic/pidleash@" + url.QueryEscape(r.packageVersion()) + "?arch=" + b.arch,
		Properties: []property{{"commit", r.commit}},
	}
	own.Ref = own.PURL
	for _, s := range b.info.Settings {
		own.Properties = append(own.Properties, property{"go:" + s.Key, s.Value})
	}
	bill := bom{
		Format: "CycloneDX", Spec: "1.6", Serial: serial(sum), Version: 1,
		Metadata: metadata{r.created.Format(time.RFC3339), own},
	}
	inside := map[string]bool{"std": true}
	for _, d := range b.info.Deps {
		inside[d.Path] = true
		if d.Replace != nil {
			inside[d.Replace.Path] = true
		}
	}
	on := dependency{Ref: own.Ref}
	for _, m := range modules {
		if inside[m.path] {
			c := m.component()
			bill.Components, on.DependsOn = append(bill.Components, c), append(on.DependsOn, c.Ref)
		}
	}
	bill.Dependencies = []dependency{on}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(bill); err != nil {
		return err
	}
	return write(filepath.Join(r.out, filepath.Base(b.path)+".cdx.json"), text.Bytes())
}

func (m *module) component() component {
	c := component{Type: "library", Name: m.path, Version: m.version, Licences: underLicence(m.licence)}
	c.PURL = "pkg:golang/" + m.path + "@" + url.QueryEscape(strings.TrimPrefix(m.version, "go"))
	c.Ref = c.PURL
	if m.sum != "" {
		c.Properties = []property{{"go:sum", m.sum}}
	}
	return c
}

func underLicence(name string) []licensed {
	var l licensed
	l.Licence.ID = name
	return []licensed{l}
}

// serial is a UUID of this binary, the same at every build. Version 8 is for UUIDs of one's own making (RFC 9562).
func serial(sum [sha256.Size]byte) string {
	sum[6], sum[8] = 0x80|sum[6]&0x0f, 0x80|sum[8]&0x3f
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
