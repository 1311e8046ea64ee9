package pidfile

import (
	"pidleash/internal/safeopen"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParsePID(t *testing.T) {
	for content, want := range map[string]int{
		"812\n":                     812,
		"812":                       812,
		" \t\r\n812\n":              812,
		"812 nginx\n":               812,
		"812\r\n":                   812,
		"812\x00\x00":               812,
		"812\n/var/lib/postgres\n5": 812,
		"2147483647\n":              2147483647,
		"0012\n":                    12,
		"":                          0,
		"\n":                        0,
		"\x00\x00\x00\x00":          0,
		"\x00812\n":                 0,
		"0\n":                       0,
		"-1\n":                      0,
		"-812\n":                    0,
		"+812\n":                    0,
		"2147483648\n":              0,
		"99999999999999999999\n":    0,
		"812x\n":                    0,
		"0x10\n":                    0,
		"8_12\n":                    0,
		"nginx\n":                   0,
		"8\u0661\n":                 0, // an Arabic digit
	} {
		if pid := parsePID([]byte(content)); pid != want {
			t.Errorf("parsePID(%q) = %d, want %d", content, pid, want)
		}
	}
}

func TestBlankAndUnfinished(t *testing.T) {
	for content, want := range map[string]struct{ blank, unfinished bool }{
		"":             {true, true},
		"\n":           {true, true},
		" \t\r\n":      {true, true},
		"\x00\x00\x00": {true, true},
		"8":            {false, true},
		"81":           {false, true},
		"812":          {false, true},
		"8123":         {false, false},
		"812\n":        {false, false}, // finished
		"9":            {false, false},
		"x":            {false, false},
		"\n8":          {false, false},
	} {
		if b := blank([]byte(content)); b != want.blank {
			t.Errorf("blank(%q) = %v", content, b)
		}
		if u := unfinished([]byte(content), 812); u != want.unfinished {
			t.Errorf("unfinished(%q, 812) = %v", content, u)
		}
	}
}

// Only the beginning of a file is read: a log named by mistake may be huge.
func TestReadContentIsBounded(t *testing.T) {
	path := in(t, "big")
	write(t, path, []byte(strings.Repeat("7", 10*contentLimit)))
	fd, err := safeopen.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	content, err := readContent(fd)
	if err != nil || len(content) != contentLimit {
		t.Errorf("read %d bytes, %v; want %d", len(content), err, contentLimit)
	}
}
