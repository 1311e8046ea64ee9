package process

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"pidleash/internal/sys"
)

// Trace is by what a copy of a process is known when that has ended, and is not this process's to wait for.
type Trace struct {
	image   string // the path of what it executes
	words   []byte // its arguments
	start   Ticks
	session int
	user    uint32
}

// TraceOf describes a living process. Of one that has ended, or that may not be looked at, there is never a copy.
func TraceOf(pid int) (t Trace) {
	p, err := Read(pid)
	if err == nil {
		t = traceOf(pid)
		t.start, t.session = p.Start, p.Session
	}
	return t
}

func traceOf(pid int) (t Trace) {
	dir := "/proc/" + strconv.Itoa(pid)
	t.image, _ = os.Readlink(dir + "/exe")
	t.words, _ = sys.ReadFile(dir+"/cmdline", 4096)
	owner, _ := OwnerOf(pid)
	t.user = owner.Real
	return t
}

// Copies are the living who were forked from the process, have executed nothing since, and have gone to a session of
// their own, as daemon(3) does. Those that have changed their arguments or their user are not known by that.
func (t Trace) Copies() (pids []int) {
	if t.image == "" {
		return nil
	}
	table, _ := Table()
	for pid, p := range table {
		if !p.Forked || p.Dead() || p.Start < t.start || p.Session == t.session {
			continue
		}
		other := traceOf(pid)
		if other.image == t.image && other.user == t.user && bytes.Equal(other.words, t.words) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
