package units

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"pidleash/integration_test/bed"
)

// TestForgedName has a path that would say something of its own, to the service manager, in a log and on a terminal.
func TestForgedName(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			m := bed.NewManager(t)
			file := filepath.Join(bed.OpenDir(t), "p\nREADY=1\nX=\x1b[31m\u202e\u009b<0>.pid")
			r, _ := bed.StartLed(t, m.How(), "-log-format", format, "-pidfile", file, "-settle", "0")
			bed.RemoveFile(t, file)
			r.ExpectSignal(t, syscall.SIGTERM)
			for _, state := range []string{"Stopping", "Stopped"} {
				text, _ := m.Read()
				if !strings.HasPrefix(text, "STATUS="+state) || strings.ContainsFunc(text, isRaw) {
					t.Errorf("the service manager gets %q", text)
				}
			}
			text := strings.TrimSuffix(r.Stderr(), "\n")
			if strings.ContainsFunc(text, isRaw) {
				t.Errorf("standard error has %q", text)
			}
			var line struct {
				Message string `json:"@message"`
			}
			if format == "json" && (json.Unmarshal([]byte(text), &line) != nil || !strings.Contains(line.Message, file)) {
				t.Errorf("the line %q does not name %q", text, file)
			}
		})
	}
}

func isRaw(r rune) bool { return !unicode.IsPrint(r) }
