package cli

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
)

// table is what list prints for a person: a row of cells for each file, cut to the width of the terminal, or in full
// where there is none.
type table struct {
	rows    [][]string // the first has the names of the columns
	colours []string   // of each row's state, as SGR numbers of console_codes(4); empty: none
	limit   int        // the terminal's width in cells; 0: there is none, or one that does not know
}

// Columns of a table that are not as the others, and what stands between two.
const (
	columnFile, columnPID, columnState, columnCount = 0, 1, 4, 5

	gap = "  "
)

func newTable(records []record) *table {
	t := &table{colours: make([]string, len(records)+1)}
	t.rows = append(t.rows, []string{"FILE", "PID", "PROGRAM", "UP SINCE", "STATE"})
	size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
	if err == nil {
		t.limit = int(size.Col)
	}
	now := time.Now()
	for i := range records {
		t.rows = append(t.rows, records[i].cells(now))
		if err == nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
			t.colours[i+1] = records[i].colour()
		}
	}
	return t
}

func (r *record) colour() string {
	const red, green, yellow = "31", "32", "33"
	switch r.State {
	case "running", "held":
		return green
	case "recycled", "untrusted", "unreadable":
		return red
	}
	return yellow
}

func (r *record) cells(now time.Time) []string {
	pid, program, since := "-", "-", "-"
	if r.PID != 0 {
		pid = strconv.Itoa(r.PID)
	}
	if r.Program != "" {
		program, since = fault.Visible(r.Program), shortTime(r.since.Local(), now)
	}
	return []string{fault.Visible(r.File), pid, program, since, fault.Visible(r.stateText())}
}

// shortTime is the time of a day that is today's, else the day.
func shortTime(t, now time.Time) string {
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04:05")
	}
	return t.Format(time.DateOnly)
}

func (t *table) String() string {
	widths := t.widths()
	var b strings.Builder
	for i, row := range t.rows {
		var line strings.Builder
		for column, cell := range row {
			cell = cut(cell, widths[column], column == columnFile)
			pad := strings.Repeat(" ", widths[column]-width(cell))
			switch {
			case column == columnPID:
				line.WriteString(pad + cell + gap)
			case column < columnState:
				line.WriteString(cell + pad + gap)
			case t.colours[i] == "":
				line.WriteString(cell)
			default:
				line.WriteString("\x1b[" + t.colours[i] + "m" + cell + "\x1b[m")
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// widths gives each column what it needs. Where that is too much, the file and the state share what the others leave.
func (t *table) widths() (widths [columnCount]int) {
	total := len(gap) * (columnCount - 1)
	for column := range widths {
		for _, row := range t.rows {
			widths[column] = max(widths[column], width(row[column]))
		}
		total += widths[column]
	}
	if t.limit == 0 || total <= t.limit {
		return widths
	}
	// On a very narrow terminal the lines are broken: a table is of no use there.
	const least = 8
	room := max(t.limit-(total-widths[columnFile]-widths[columnState]), 2*least)
	file := min(widths[columnFile], max(room/2, room-widths[columnState]))
	widths[columnFile], widths[columnState] = file, min(widths[columnState], room-file)
	return widths
}

// cut shortens a text to a number of cells: at its end, or at its beginning, as it is best for paths.
func cut(text string, cells int, atFront bool) string {
	if width(text) <= cells {
		return text
	}
	const mark = "…"
	left := []rune(text)
	for len(left) > 0 && width(string(left)) > cells-1 {
		if atFront {
			left = left[1:]
		} else {
			left = left[:len(left)-1]
		}
	}
	if atFront {
		return mark + string(left)
	}
	return string(left) + mark
}

// width is how many cells of a terminal a text takes at most: what may be a wide character counts as one.
func width(text string) (cells int) {
	const firstWide = 0x1100 // Hangul Jamo
	for _, r := range text {
		cells++
		if r >= firstWide && r != '…' {
			cells++
		}
	}
	return cells
}
