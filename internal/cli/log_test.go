package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// readBack gives descriptor 2 to the test for as long as it runs. Nothing reads
// it before the returned function is called: a pipe of one page that is full
// blocks the writer, as a reader does that has stopped reading.
func readBack(t *testing.T) (read func() string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Dup3(kept, 2, 0)
		unix.Close(kept)
		reader.Close()
	})
	size, err := unix.FcntlInt(writer.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(writer.Fd()), 2, 0); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	return func() string {
		text := make(chan string)
		go func() { text <- drain(reader, size) }()
		return <-text
	}
}

// drain reads behind the filling until the line that ends the test.
func drain(reader *os.File, size int) string {
	var text []byte
	buf := make([]byte, 1<<16)
	for !strings.Contains(string(text), "the last") {
		n, err := reader.Read(buf)
		if err != nil {
			return err.Error()
		}
		text = append(text, buf[:n]...)
	}
	return string(text[size:])
}

// A reader of standard error who has stopped reading delays nobody; what could
// not be kept for him is counted.
func TestLogDropsAndCounts(t *testing.T) {
	read := readBack(t)
	l := newLog("info", false)
	const sent = 10 * logQueue
	for i := range sent {
		l.Info(fmt.Sprintf("message %d", i))
	}
	texts := make(chan string)
	go func() { texts <- read() }()
	// Not dropped: once the reader is there, room comes.
	for l.dropped.Load() != 0 || len(l.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	l.Info("the last")
	text := <-texts
	l.flush()

	kept := strings.Count(text, "pidleash: message ")
	if kept < logQueue || kept > logQueue+1 { // one is in the writer's hand
		t.Errorf("%d messages of %d were kept, want the queue's %d", kept, sent, logQueue)
	}
	if want := fmt.Sprintf("pidleash: %d messages lost: standard error was not read\n", sent-kept); !strings.Contains(text, want) {
		t.Errorf("the loss of %d is not told in:\n%s", sent-kept, text)
	}
	if strings.Count(text, "messages lost") != 1 {
		t.Errorf("the loss is told more than once in:\n%s", text)
	}
}

// The end of pidleash waits for that reader, but not for ever.
func TestFlushHasAnEnd(t *testing.T) {
	read := readBack(t)
	l := newLog("info", false)
	l.Info("the last")
	begin := time.Now()
	l.flush()
	if took := time.Since(begin); took < logPatience {
		t.Errorf("gave up after %v, want %v", took, logPatience)
	}
	l.flush() // may be called twice
	if text := read(); text != "pidleash: the last\n" {
		t.Errorf("got %q", text)
	}
	<-l.written // before descriptor 2 is somebody else's again
}

func TestLogLines(t *testing.T) {
	for _, c := range []struct {
		name string
		log  *log
		line string
		want string
	}{
		{"text", &log{text: true}, "[WARN]  pidleash: pidfile /run/x: removed\n", "pidleash: pidfile /run/x: removed\n"},
		{"text in the journal", &log{text: true, journal: true}, "[WARN]  pidleash: x\n", "<4>pidleash: x\n"},
		{"a bracket in the text", &log{text: true}, "[ERROR] pidleash: [x] y\n", "pidleash: [x] y\n"},
		{"a forged line", &log{text: true, journal: true}, "[WARN]  pidleash: x\n<0>panic\n", "<4>pidleash: x?<0>panic\n"},
		{"json", &log{}, `{"@message":"x"}` + "\n", `{"@message":"x"}` + "\n"},
	} {
		if got := string(c.log.format(hclog.Warn, []byte(c.line))); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestJSONIsOneLine(t *testing.T) {
	var out strings.Builder
	logger := hclog.New(&hclog.LoggerOptions{Name: "pidleash", Output: &out, JSONFormat: true})
	logger.Warn("x\ny\x1b")
	var fields map[string]any
	if strings.Count(out.String(), "\n") != 1 || json.Unmarshal([]byte(out.String()), &fields) != nil || fields["@message"] != "x\ny\x1b" {
		t.Errorf("got %q", out.String())
	}
}

func TestPriority(t *testing.T) {
	for level, want := range map[hclog.Level]int{hclog.Error: 3, hclog.Warn: 4, hclog.Info: 6, hclog.Debug: 7, hclog.Trace: 7} {
		if got := priority(level); got != want {
			t.Errorf("%v: got %d, want %d", level, got, want)
		}
	}
}
