package page

import (
	"os"
	"path/filepath"
)

// The files of docs that belong together.
const (
	DataFile  = "benchmarks.json"
	PageFile  = "benchmarks.md"
	ChartFile = "benchmarks.svg"
)

// Update writes all three.
func Update(docs string, d *Data) error {
	if err := d.Write(filepath.Join(docs, DataFile)); err != nil {
		return err
	}
	markdown, err := Markdown(d)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(docs, PageFile), []byte(markdown), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, ChartFile), []byte(Chart(d)), 0o644)
}
