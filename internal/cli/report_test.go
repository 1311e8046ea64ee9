package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pidleash/internal/fault"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:           "0s",
		0:                      "0s",
		999 * time.Millisecond: "0s",
		59 * time.Second:       "59s",
		time.Minute:            "1m0s",
		90 * time.Second:       "1m30s",
		time.Hour:              "1h0m",
		3*time.Hour - 1:        "2h59m",
		24 * time.Hour:         "1d0h",
		400*24*time.Hour + 3*time.Hour + 59*time.Minute: "400d3h",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A terminal can show the line, and a program reads what was meant.
func TestJSONLine(t *testing.T) {
	for _, text := range []string{"/run/app.pid", "a\nb\tc\x1b[31m\x7f", "grüße 漢字 🐕 <&>", "\u009b\u202e\u2028", "\U000e0001 tag"} {
		line := jsonLine(result{File: text})
		if fault.Visible(line[:len(line)-1]) != line[:len(line)-1] || !strings.HasSuffix(line, "}\n") {
			t.Errorf("%q becomes %q", text, line)
		}
		var back result
		if err := json.Unmarshal([]byte(line), &back); err != nil || back.File != text {
			t.Errorf("%q comes back as %q: %v", text, back.File, err)
		}
	}
}
