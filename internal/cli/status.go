package cli

import "pidleash/internal/pidfile"

// status reports each file, and returns the highest of their codes.
func (c *command) status(l *log) (code int) {
	for _, path := range c.files {
		r := newRecord(pidfile.Inspect(path))
		line := textLine(r.line())
		if c.json {
			line = jsonLine(r)
		}
		code = max(code, r.Code, l.print(line))
	}
	return code
}
