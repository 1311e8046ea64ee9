package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pidleash/internal/fault"
	"pidleash/internal/pidfile"
)

// status reports each file, and returns the highest of their codes.
func (c *command) status(l *log) (code int) {
	for _, path := range c.files {
		r := newRecord(pidfile.Inspect(path))
		line := fault.Visible(r.line()) + "\n"
		if c.json {
			line = jsonLine(r)
		}
		code = max(code, r.Code, l.print(line))
	}
	return code
}

// record is what status and list report of a file; -json prints it as it is. Programs read its names and states: they
// must not change.
type record struct {
	File    string `json:"file"`
	Code    int    `json:"code"`  // what status ends with for this file alone
	State   string `json:"state"` // the verdict; running becomes held if a pidleash holds the file
	PID     int    `json:"pid,omitempty"`
	Program string `json:"program,omitempty"` // like Since, only if the process that the file names runs
	Since   string `json:"since,omitempty"`   // RFC 3339
	Holder  int    `json:"holder,omitempty"`
	Reason  string `json:"reason,omitempty"`

	since  time.Time
	locked bool // by a process that is no pidleash
}

func newRecord(r pidfile.Report) record {
	rec := record{File: r.Path, State: r.Verdict.String(), PID: r.PID, Holder: r.Holder, Reason: r.Reason}
	switch r.Verdict {
	case pidfile.Running:
		rec.Program, rec.since, rec.Since = r.Program, r.Since, r.Since.Format(time.RFC3339)
		if r.Holder != 0 {
			rec.State = "held"
		}
		if r.Holder == r.PID {
			rec.Reason = "no program runs at the moment, or it is a -supervisor-pidfile"
		}
	case pidfile.Stale, pidfile.Recycled, pidfile.Empty:
		rec.Code = fault.NoProcess
		if r.Verdict == pidfile.Empty {
			rec.Reason = "" // the same as the state
		}
		switch {
		case r.Holder != 0:
			rec.Reason = strings.TrimPrefix(fmt.Sprintf("%s; pidleash PID %d is still at work", rec.Reason, r.Holder), "; ")
		case r.Locker != "":
			rec.Reason, rec.locked = strings.TrimPrefix(rec.Reason+"; held by "+r.Locker, "; "), true
		}
	case pidfile.Missing:
		rec.Code = fault.NoFile
	default:
		rec.Code = fault.Refused
	}
	return rec
}

// stateText is the state in words, with the holder or the problem.
func (r *record) stateText() string {
	text := r.State
	switch text {
	case "recycled":
		text = "recycled PID"
	case "missing":
		text = "not running"
	case "held":
		text += " " + r.by()
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// by names the holder of a running process's file.
func (r *record) by() string {
	switch r.Holder {
	case 0:
		return "by nobody"
	case r.PID:
		return "by itself"
	}
	return "by pidleash PID " + strconv.Itoa(r.Holder)
}

// line describes the file for a person.
func (r *record) line() string {
	text := r.File + ": " + r.stateText()
	switch {
	case r.Code == fault.NoProcess && r.Holder == 0 && !r.locked:
		return text + "; held by nobody"
	case r.Code != 0:
		return text
	}
	text = fmt.Sprintf("%s: running, PID %d (%s), since %s (%s), held %s", r.File, r.PID, r.Program,
		r.since.Local().Format(time.DateTime), duration(time.Since(r.since)), r.by())
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// duration is how long in the two largest units: 3d4h, 12m30s, 5s.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", max(d/time.Second, 0))
}

// jsonLine makes a line of JSON that a terminal can show, too.
func jsonLine(v any) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // strings and numbers only
	return fault.Escaped(strings.TrimSuffix(out.String(), "\n")) + "\n"
}
