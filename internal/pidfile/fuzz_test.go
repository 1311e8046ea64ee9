package pidfile

import (
	"bytes"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pidleash/internal/fault"
	"pidleash/internal/process"
)

// These are the rules of the documentation, written as regular expressions. A file names a PID if its first word is a
// number; more may follow. A file may be replaced if it has only that number, or only blanks.
var (
	namesPID = regexp.MustCompile(`(?s)^[ \t\r\n]*([0-9]+)(?:[ \t\r\n\x00]|$)`)
	onlyPID  = regexp.MustCompile(`^[ \t\r\n]*[0-9]+[ \t\r\n\x00]*$`)
	noText   = regexp.MustCompile(`^[ \t\r\n\x00]*$`)
)

// pidIn is the PID that a content names; 0: none. A number that reaches to the end of what is read is none: there may
// be more of it.
func pidIn(content string) int {
	if len(content) >= contentLimit {
		content = content[:contentLimit] + "?"
	}
	found := namesPID.FindStringSubmatch(content)
	if found == nil {
		return 0
	}
	n, _ := new(big.Int).SetString(found[1], 10)
	if n.Sign() == 0 || n.BitLen() > 31 {
		return 0
	}
	return int(n.Int64())
}

// FuzzContent puts a file where nobody runs, and asks in every way what it is: whom it names, whether a start
// replaces it, and whether anything else touches it.
func FuzzContent(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "\x00\x00\x00\x00", "4194305\n", "4194305", " \t4194305\r\n", "0004194305\x00\x00", "4194305 nginx\n",
		"4194305\n/var/lib/postgresql\n5432\n", "\x004194305", "-1\n", "+5\n", "0\n", "2147483647\n", "2147483648\n",
		"nginx\n", "4194305x", "8\u0661\n", strings.Repeat(" ", contentLimit), strings.Repeat(" ", contentLimit+1),
		"4194305\n" + strings.Repeat("\n", contentLimit), strings.Repeat("0", contentLimit-2) + "4194305\n",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		setClock(t, 0)
		path := filepath.Join(dir, "p.pid")
		write(t, path, content)
		old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC) // older than any process
		must(t, os.Chtimes(path, old, old))

		text, long := string(content), len(content) > contentLimit
		pid, blank := pidIn(text), noText.MatchString(text) && !long
		replaced := blank || pid != 0 && onlyPID.MatchString(text) && !long

		if got := Named(path); got != pid {
			t.Errorf("%q names %d, want %d", content, got, pid)
		}
		switch r := Inspect(path); {
		case pid != 0 && (r.Verdict == Stale || r.Verdict == Recycled) && r.PID == pid:
		case pid == 0 && blank && r.Verdict == Empty:
		case pid == 0 && !blank && r.Verdict == Unreadable:
		default:
			t.Errorf("%q is %v, PID %d: %s", content, r.Verdict, r.PID, r.Reason)
		}
		c, err := New(path, false)
		wantRefused(t, content, err, !replaced)
		if err == nil {
			c.Abandon()
		}
		// A daemon may know what else is in its own file.
		l, err := Reserve(path)
		wantRefused(t, content, err, !replaced && pid == 0)
		if err == nil {
			must(t, l.Release())
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%q has become %q, %v", content, now, err)
		}
		must(t, RemoveStale(path))
		if _, err := os.Lstat(path); os.IsNotExist(err) != replaced {
			t.Errorf("%q: removed as stale: %v, want that %v", content, err, replaced)
		}
		if left, _ := os.ReadDir(dir); len(left) > 1 || replaced && len(left) > 0 {
			t.Errorf("%q: left are %v", content, left)
		}
	})
}

// wantRefused wants a file that is refused to be a failure of this start, and to say so.
func wantRefused(t *testing.T, content []byte, err error, refused bool) {
	t.Helper()
	if (err != nil) != refused {
		t.Errorf("%q: %v, want it refused: %v", content, err, refused)
	}
	var e *fault.Error
	if err != nil && (!errors.As(err, &e) || fault.Code(err) != fault.Failed || e.Hint == "" || e.Object == "") {
		t.Errorf("%q: %#v is no error of a start", content, err)
	}
}

// FuzzOther has a file in the place of ours: only one that names the program was written by it, and only one that
// may become such a file is looked at again.
func FuzzOther(f *testing.F) {
	for _, seed := range []string{"", "\n", "8", "81", "812", "812\n", "8123", "9", " 812 nginx\n", "\x00", "0812", "\n8", "08"} {
		f.Add([]byte(seed), 812)
	}
	path := filepath.Join(f.TempDir(), "p.pid")
	f.Fuzz(func(t *testing.T, content []byte, pid int) {
		if pid < 1 || pid > 1<<31-1 {
			return
		}
		write(t, path, content)
		want, text := Replaced, string(content)
		switch {
		case pidIn(text) == pid:
			want = Rewritten
		case noText.MatchString(text[:min(len(text), contentLimit)]) || strings.HasPrefix(strconv.Itoa(pid), text):
			want = Unfinished
		}
		file := &File{path: path, at: process.At(path), PID: pid, fd: -1}
		if got, err := file.Look(); got != want || err != nil {
			t.Errorf("%q in place of %d: %v, %v; want %v", content, pid, got, err, want)
		}
	})
}

// FuzzHiddenName: the names of hidden files are found again, and no other name is taken for one.
func FuzzHiddenName(f *testing.F) {
	form := regexp.MustCompile(`(?s)^\.(.*)\.pidleash-([0-9]+)-([-+]?[0-9a-zA-Z]+)$`)
	f.Add("p.pid", ".p.pid.pidleash-812-abc")
	f.Add("p.pid", ".p.pid.pidleash-812-")
	f.Add("p", ".p.pidleash-1-1.pidleash-2-2")
	f.Add(strings.Repeat("x", 255), "."+strings.Repeat("x", 237)+".pidleash-812-abcd")
	f.Fuzz(func(t *testing.T, base, name string) {
		if base == "" || len(base) > 255 || len(name) > 255 {
			return
		}
		if made := hiddenName(base); len(made) > 255 || !isHiddenOf(made, base) {
			t.Errorf("the hidden name of %q is %q, of %d bytes, and is not found again", base, made, len(made))
		}
		want := false
		if part := form.FindStringSubmatch(name); part != nil {
			pid, _ := new(big.Int).SetString(part[2], 10)
			stamp, ok := new(big.Int).SetString(part[3], 36)
			cut := len(name) == 255 && strings.HasPrefix(base, part[1])
			want = pid.BitLen() <= 31 && ok && stamp.IsInt64() && (part[1] == base || cut)
		}
		if got := isHiddenOf(name, base); got != want {
			t.Errorf("%q is a hidden name of %q: %v, want %v", name, base, got, want)
		}
	})
}
