package ready

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/plan"
)

// limit is how long something may take that happens if all is well. It only ends a test
// that has failed.
const limit = time.Minute

// bed is a waiter of a test.
type bed struct {
	*Waiter
	t *testing.T
}

func prepare(t *testing.T, ready string, paths ...string) *bed {
	t.Helper()
	r, err := plan.ParseReady(ready)
	must(t, err)
	w, err := Prepare(&r, Note(paths...))
	must(t, err)
	t.Cleanup(w.Close)
	return &bed{w, t}
}

// expect waits for what C has; empty: nil.
func (b *bed) expect(want string) {
	b.t.Helper()
	select {
	case err := <-b.C():
		if err == nil && want != "" || err != nil && err.Error() != want {
			b.t.Errorf("%v, want %q", err, want)
		}
		var e *fault.Error
		if err != nil && !errors.As(err, &e) {
			b.t.Errorf("%v is a %T", err, err)
		}
	case <-time.After(limit):
		b.t.Fatalf("nothing in %v, want %q", limit, want)
	}
}

// nothing fails the test when there is something already.
func (b *bed) nothing() {
	b.t.Helper()
	if len(b.C()) != 0 {
		b.t.Fatalf("too early: %v", <-b.C())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

func add(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	must(t, err)
	defer f.Close()
	_, err = f.WriteString(text)
	must(t, err)
}

func TestExec(t *testing.T) {
	b := prepare(t, "exec")
	b.nothing()
	b.Await(nil)
	if len(b.C()) != 1 {
		t.Error("not at once")
	}
	b.expect("")
}

func TestAfter(t *testing.T) {
	const after = 50 * time.Millisecond
	b := prepare(t, after.String())
	start := time.Now()
	b.Await(nil)
	b.expect("")
	if took := time.Since(start); took < after {
		t.Errorf("up after %v, want %v", took, after)
	}
}

// A program may say READY=1 again and again: only the first counts.
func TestNotify(t *testing.T) {
	b := prepare(t, "notify")
	notified := make(chan error, 2)
	b.Await(notified)
	b.nothing()
	notified <- nil
	notified <- nil
	b.expect("")
	b.nothing()
	if len(notified) != 1 {
		t.Error("the second has been taken, too")
	}
}

// What comes after Close is of the next start. Without the wait in Close, some of these
// would take it.
func TestNotifyAfterClose(t *testing.T) {
	for range 1000 {
		b := prepare(t, "notify")
		notified := make(chan error, 1)
		b.Await(notified)
		b.Close()
		notified <- nil
		runtime.Gosched() // to goroutines that have not ended
		next := prepare(t, "notify")
		next.Await(notified)
		next.expect("")
	}
}

// end is the program's end of the pipe, as the program gets it.
func (b *bed) end() *os.File {
	b.t.Helper()
	fd, to, ok := b.Inherit()
	if !ok || to != b.ready.FD {
		b.t.Fatalf("Inherit is %d, %d, %v", fd, to, ok)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		b.t.Errorf("the program's descriptor does not block: %#o, %v", flags, err)
	}
	flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		b.t.Errorf("others inherit it: %#o, %v", flags, err)
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(b.t, err)
	b.Launched()
	if _, _, ok := b.Inherit(); ok {
		b.t.Error("there is something to inherit after Launched")
	}
	f := os.NewFile(uintptr(own), "program's end")
	b.t.Cleanup(func() { f.Close() })
	return f
}

func TestFD(t *testing.T) {
	b := prepare(t, "fd:7")
	end := b.end()
	b.Await(nil)
	for _, text := range []string{"x", strings.Repeat("x", 10000), "x\nx"} {
		b.nothing()
		_, err := end.WriteString(text)
		must(t, err)
	}
	b.expect("")
}

func TestFDWrittenBefore(t *testing.T) {
	b := prepare(t, "fd:3")
	end := b.end()
	_, err := end.WriteString("\n")
	must(t, err)
	must(t, end.Close())
	b.Await(nil)
	b.expect("")
}

// The end of the pipe counts only when nobody has it any more, this process included.
func TestFDClosed(t *testing.T) {
	b := prepare(t, "fd:7")
	end := b.end()
	b.Await(nil)
	_, err := end.WriteString("almost")
	must(t, err)
	b.nothing()
	closed := time.Now()
	must(t, end.Close())
	b.expect("closed descriptor 7 without writing a newline")
	if took := time.Since(closed); took < endPatience {
		t.Errorf("after %v already: the end of the program would say more", took)
	}
}

// Descendants of an ended program may hold their end of the pipe for ever.
func TestFDIsLetGo(t *testing.T) {
	b := prepare(t, "fd:7")
	end := b.end()
	b.Await(nil)
	b.Close()
	poll := []unix.PollFd{{Fd: int32(end.Fd())}}
	if n, err := unix.Poll(poll, int(limit.Milliseconds())); n != 1 || err != nil || poll[0].Revents&unix.POLLERR == 0 {
		t.Errorf("somebody still reads: %d, %v", n, err)
	}
}

func TestSocketOfManager(t *testing.T) {
	self := os.Getpid()
	for _, c := range []struct {
		pid, fd int
		refused bool
	}{
		{self, 3, true},
		{self, 4, true},
		{self, 5, false},
		{os.Getppid(), 3, false},
		{0, 3, false},
	} {
		t.Setenv("LISTEN_FDS", "2")
		t.Setenv("LISTEN_PID", strconv.Itoa(c.pid))
		w, err := Prepare(&plan.Ready{Kind: plan.ReadyFD, FD: c.fd}, nil)
		w.Close()
		if (err != nil) != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && (fault.Hint(err) == "" || !strings.HasPrefix(err.Error(), "-ready fd:")) {
			t.Errorf("%v; hint: %s", err, fault.Hint(err))
		}
	}
	for _, fds := range []string{"", "x", "0"} {
		t.Setenv("LISTEN_PID", strconv.Itoa(self))
		t.Setenv("LISTEN_FDS", fds)
		if isSocketOfManager(3) {
			t.Errorf("LISTEN_FDS=%s: 3 is a socket", fds)
		}
	}
}

func TestNoPipe(t *testing.T) {
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}))
	w, err := Prepare(&plan.Ready{Kind: plan.ReadyFD, FD: 3}, nil)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	var e *fault.Error
	if w != nil || !errors.As(err, &e) || e.Object != "-ready fd:3" || !errors.Is(err, unix.EMFILE) {
		t.Errorf("%v, %v", w, err)
	}
}

func TestLog(t *testing.T) {
	for _, c := range []struct {
		name, ready, before string
		less                []string // which is not enough
		enough              string
	}{
		{"growth", "log", "old\n", nil, "x"},
		{"growth of nothing", "log", "", nil, "x"},
		{"a line", "log:^up$", "up\n", []string{"", "upper\n", "\nU"}, "P\nup\n"},
		{"a whole line", "log:up", "", []string{"u", "p, almost"}, "\n"},
		{"after a line that is too long", "log:up", "", []string{strings.Repeat("x", 3*maxNews)}, "\nup\n"},
		{"among many", "log:up", "", []string{strings.Repeat("line\n", maxNews/5+1000)}, "up\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			write(t, path, c.before)
			log := *Note(path)[0]
			b := prepare(t, c.ready, "", path+".none", path)
			b.Await(nil)
			match := b.ready.Match
			for _, text := range c.less {
				add(t, path, text)
				for range 5 {
					if log.has(match) {
						t.Fatalf("%.20q is enough", text)
					}
				}
				b.nothing()
			}
			add(t, path, c.enough)
			b.expect("")
			if !log.has(match) {
				t.Error("the same log does not have it")
			}
		})
	}
}

// A log that begins anew is new as a whole.
func TestLogBeginsAnew(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, path string){
		"made": func(t *testing.T, path string) {
			must(t, os.Remove(path))
			write(t, path, "up\n")
		},
		"replaced": func(t *testing.T, path string) {
			write(t, path+".new", "up\nlonger than the one before\n")
			must(t, os.Rename(path+".new", path))
		},
		"truncated":             func(t *testing.T, path string) { write(t, path, "up\n") },
		"truncated, as long":    func(t *testing.T, path string) { write(t, path, "up\nand as long as that\n") },
		"truncated, and longer": func(t *testing.T, path string) { write(t, path, "up\nlonger than what was there before\n") },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			write(t, path, "what was there before.\n")
			b := prepare(t, "log:^up$", path)
			log := Note(path)[0]
			b.Await(nil)
			b.nothing()
			do(t, path)
			b.expect("")
			if words := log.LastWords(); !strings.HasPrefix(words, `"up"`) {
				t.Errorf("the last words are %s", words)
			}
		})
	}
}

// Only regular files are read: others have no end.
func TestLogIsNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	for _, log := range Note(path, dir, "/dev/zero", dir+"/none") {
		if log.has(nil) || log.LastWords() != "" {
			t.Errorf("%s has something", log.Path)
		}
	}
}

// The last words are those since Note, however often they are asked for.
func TestLastWords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, "before\n")
	log := Note(path)[0]
	if words := log.LastWords(); words != "" {
		t.Errorf("without a word: %s", words)
	}
	r := plan.Ready{Kind: plan.ReadyLog, Match: regexp.MustCompile("c")}
	w, err := Prepare(&r, Note(path))
	must(t, err)
	defer w.Close()
	noted := *log
	add(t, path, "a\n b\t\n\n")
	if w.logs[0].has(r.Match) {
		t.Error("there is a match already")
	}
	add(t, path, "c\n")
	if !w.logs[0].has(r.Match) {
		t.Error("there is no match")
	}
	for _, c := range []struct{ text, want string }{
		{"", `"a" "b" "c"`},
		{"\x1bd", `"b" "c" "\x1bd"`},
		{"\n" + strings.Repeat("e", 300) + "\n", `"c" "\x1bd" "` + strings.Repeat("e", 200) + `"`},
		{strings.Repeat("f\n", 2*maxNews) + "g\n", `"f" "f" "g"`},
	} {
		add(t, path, c.text)
		for range 2 {
			if words := log.LastWords(); words != c.want {
				t.Errorf("%.200s, want %.200s", words, c.want)
			}
		}
	}
	write(t, path+".new", strings.Repeat("h\n", 2*maxNews)+"i")
	must(t, os.Rename(path+".new", path))
	if words := log.LastWords(); words != `"h" "h" "i"` {
		t.Errorf("of another file: %.200s", words)
	}
	if *log != noted {
		t.Errorf("%+v has become %+v", noted, *log)
	}
}

func TestNilWaiter(t *testing.T) {
	var w *Waiter
	w.Launched()
	w.Close()
	if _, _, ok := w.Inherit(); ok || w.C() != nil {
		t.Error("nil has something")
	}
}

// Whatever was waited for, nothing comes after Close, and no pipe is left.
func TestNothingAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	before := openPipes(t)
	for _, ready := range []string{"exec", "1ns", "notify", "fd:5", "log"} {
		b := prepare(t, ready, path)
		notified := make(chan error, 1)
		notified <- nil
		b.Await(notified)
		b.Close()
		if b.C() != nil {
			t.Errorf("%s: there may be something after Close", ready)
		}
		b.Close()
	}
	// A reader that is interrupted closes its descriptor itself.
	for end := time.Now().Add(limit); !slices.Equal(openPipes(t), before); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("pipes open: %q, and there were %q", openPipes(t), before)
		}
	}
}

func openPipes(t *testing.T) (list []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "pipe:") {
			list = append(list, to)
		}
	}
	return list
}
