//go:build bench

package bench

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
)

// counted are the kernel's own counts, perf_event_open(2), in the order of
// page.Counts. Nothing is stopped for them as under ptrace(2), which makes Go's
// scheduler start threads because system calls take long. A tracepoint is one of
// tracefs, with a filter.
var counted = [4]struct{ tracepoint, filter string }{
	{}, // minor faults: an event of software
	{"task/task_newtask", "clone_flags&65536"}, // CLONE_THREAD
	// The low bits are the state in which it went to sleep; a higher one says that
	// it was preempted.
	{"sched/sched_switch", "prev_state&255"},
	{"raw_syscalls/sys_enter", ""},
}

// openCounter counts what the calling thread's next child does from its execve
// on, with all that comes of it.
func openCounter(t *testing.T) (leader int) {
	t.Helper()
	leader = -1
	for _, c := range counted {
		attr := unix.PerfEventAttr{
			Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_PAGE_FAULTS_MIN,
			Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Read_format: unix.PERF_FORMAT_GROUP, Bits: unix.PerfBitInherit,
		}
		if c.tracepoint != "" {
			attr.Type, attr.Config = unix.PERF_TYPE_TRACEPOINT, tracepoint(t, c.tracepoint)
		}
		if leader < 0 {
			attr.Bits |= unix.PerfBitDisabled | unix.PerfBitEnableOnExec
		}
		fd, err := unix.PerfEventOpen(&attr, 0, -1, leader, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			bed.Missing(t, "perf_event_open, %q: %v", c.tracepoint, err)
		}
		if leader < 0 {
			leader = fd
		} else {
			t.Cleanup(func() { unix.Close(fd) })
		}
		if c.filter != "" {
			bed.Must(t, setFilter(fd, c.filter))
		}
	}
	return leader
}

// tracepoint is the kernel's number for one.
func tracepoint(t *testing.T, name string) (id uint64) {
	t.Helper()
	text, err := os.ReadFile("/sys/kernel/tracing/events/" + name + "/id")
	if err != nil {
		bed.Missing(t, "%v; mount -t tracefs none /sys/kernel/tracing", err)
	}
	_, err = fmt.Sscan(strings.TrimSpace(string(text)), &id)
	bed.Must(t, err)
	return id
}

func setFilter(fd int, filter string) error {
	text, err := unix.BytePtrFromString(filter)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.PERF_EVENT_IOC_SET_FILTER, uintptr(unsafe.Pointer(text)))
	if errno != 0 {
		return fmt.Errorf("filter %q: %w", filter, errno)
	}
	return nil
}

// readCounter reads the whole group: their number comes first.
func readCounter(t *testing.T, leader int) (figures [4]int) {
	t.Helper()
	var b [8 * (1 + len(counted))]byte
	n, err := unix.Read(leader, b[:])
	bed.Must(t, err)
	if n != len(b) {
		t.Fatalf("%d bytes of the counters, want %d", n, len(b))
	}
	for i := range figures {
		figures[i] = int(binary.NativeEndian.Uint64(b[8*(i+1):]))
	}
	return figures
}
