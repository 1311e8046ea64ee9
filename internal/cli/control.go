package cli

import (
	"strings"
	"time"

	"pidleash/internal/control"
	"pidleash/internal/fault"
)

// stop and wait act on what PID files name. Each file has an exit code of its own; that of the whole is the highest.
func (c *command) stop(l *log) int {
	return c.atOnce(l, func(path string, until time.Time) error { return control.Stop(path, c.config.Stop, until) })
}

func (c *command) wait(l *log) int {
	return c.atOnce(l, func(path string, until time.Time) error { return control.Wait(path, until, c.running) })
}

// sendSignal keeps to the order of the files.
func (c *command) sendSignal(l *log) (code int) {
	for _, path := range c.files {
		code = max(code, c.report(l, path, control.Signal(path, c.signal)))
	}
	return code
}

// atOnce acts on all files at the same time, and reports the results in their order.
func (c *command) atOnce(l *log, do func(path string, until time.Time) error) (code int) {
	var until time.Time // zero: there is none
	if c.timeout > 0 {
		until = time.Now().Add(c.timeout)
	}
	results := make([]chan error, len(c.files))
	for i, path := range c.files {
		results[i] = make(chan error, 1)
		go func() { results[i] <- do(path, until) }()
	}
	for i, path := range c.files {
		code = max(code, c.report(l, path, <-results[i]))
	}
	return code
}

// result is the line of -json for a file. Programs read its names: they must not change.
type result struct {
	File  string `json:"file"`
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

// report reports the result for a file, and returns its exit code.
func (c *command) report(l *log, path string, err error) int {
	r := result{File: path}
	switch {
	case err == nil && !c.json:
		return 0
	case !c.json:
		return l.fail(err)
	case err != nil:
		r.Error = strings.TrimPrefix(err.Error(), "pidfile "+path+": ")
		r.Hint, r.Code = fault.Hint(err), fault.Code(err)
	}
	return max(r.Code, l.print(jsonLine(r)))
}
