package process

import (
	"bytes"
	"slices"
)

// trace is what identifies a copy of a process after the process has ended, where pidleash is the parent of neither.
type trace struct {
	image     string // the path of what it executes; empty: unknown
	arguments []byte
	user      uint32
}

func traceOf(pid int) trace {
	owner, _ := OwnerOf(pid)
	return trace{ImageOf(pid), Arguments(pid), owner.Real}
}

// KeepTrace records the properties by which Copies recognises copies of this process. It is called while the process
// lives; a call after the end keeps the last record. With a nil receiver it does nothing.
func (h *Held) KeepTrace() {
	if h == nil {
		return
	}
	if t := traceOf(h.PID); t.image != "" {
		h.trace = t
	}
}

// Copies are the living processes that were forked from this one, have executed nothing since, and have gone to a
// session of their own, as daemon(3) does. A copy that has changed its arguments or its user is not found. Without
// KeepTrace there is none.
func (h *Held) Copies() (pids []int) {
	if h == nil || h.trace.image == "" {
		return nil
	}
	table, _ := Table()
	for pid, p := range table {
		if !p.Forked || p.Dead() || p.Start < h.Start || p.Session == h.Session {
			continue
		}
		t := traceOf(pid)
		if t.image == h.trace.image && t.user == h.trace.user && bytes.Equal(t.arguments, h.trace.arguments) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
