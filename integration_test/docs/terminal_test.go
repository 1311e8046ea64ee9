package docs

import (
	"cmp"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// terminal is the README's recording. It is written by:
//
//	go test ./integration_test/docs -run TestTerminal -update
const terminal = "docs/terminal.svg"

// TestTerminal records a real run. A directory of the test takes the place of /run. The picture is right if a new run
// prints the same text with other numbers, and if the picture is drawn from the text that it contains.
func TestTerminal(t *testing.T) {
	session := record(t)
	if *update {
		bed.WriteFile(t, bed.ModuleFile(terminal), draw(session), 0o644)
	}
	picture := bed.ReadFile(t, bed.ModuleFile(terminal))
	recorded := html.UnescapeString(regexp.MustCompile(`(?s)<desc>(.*)</desc>`).FindStringSubmatch(picture)[1])
	if levelled(recorded) != levelled(session) {
		t.Errorf("%s shows\n%s\na new run prints\n%s", terminal, recorded, session)
	}
	if picture != draw(recorded) {
		t.Errorf("%s is not the drawing of the text that is inside it", terminal)
	}
}

// record runs the session and returns what a terminal would show of it.
func record(t *testing.T) string {
	bin, dir := t.TempDir(), bed.OpenDir(t)
	bed.WriteFile(t, bin+"/app", "#!/bin/sh\necho up\nread line\n", 0o755)
	path := "PATH=" + bin + ":" + filepath.Dir(bed.Pidleash) + ":" + os.Getenv("PATH")
	leashed := bed.Start(t, bed.How{Env: []string{path}}, "-pidfile", dir+"/app.pid", "app")
	leashed.Expect(t, "up")

	session := "$ pidleash -pidfile /run/app.pid -- app &\n"
	for _, command := range []string{
		"cat /run/app.pid", "pidleash status /run/app.pid", "rm /run/app.pid", "pidleash status /run/app.pid",
	} {
		sh := exec.Command("sh", "-c", strings.ReplaceAll(command, "/run", dir))
		sh.Env = append(os.Environ(), path)
		out, _ := sh.CombinedOutput() // the code of a status is no failure
		session += "$ " + command + "\n" + string(out)
		if strings.HasPrefix(command, "rm ") {
			leashed.Wait(t)
			session += leashed.Stderr()
		}
	}
	return strings.ReplaceAll(session, dir, "/run")
}

// The measures of the picture: columns, the rest in pixels.
const (
	terminalColumns         = 100
	cellWidth, lineHeight   = 8.43, 20
	marginLeft, marginAbove = 18, 52
)

// draw makes the picture: a window that is dark on any page, whose lines appear one after another. Who shows it
// without animation sees all of them.
func draw(session string) string {
	var lines strings.Builder
	rows, pause := 0, 0.0
	for line := range strings.Lines(session) {
		class, step := "out", 0.1
		if strings.HasPrefix(line, "$ ") {
			class, step = "in", 1.2
		} else if strings.HasPrefix(line, "pidleash: ") {
			class = "warn"
		}
		pause += step
		for _, row := range wrapped(strings.TrimSuffix(line, "\n")) {
			y := marginAbove + rows*lineHeight
			fmt.Fprintf(&lines, `<text class="%s" style="animation-duration:%.1fs" x="%d" y="%d">%s</text>`+"\n",
				class, pause, marginLeft, y, html.EscapeString(row))
			rows++
		}
	}
	width, height := 2*marginLeft+terminalColumns*cellWidth, marginAbove+rows*lineHeight
	return fmt.Sprintf(terminalFrame, width, height, html.EscapeString(session), width-1, height-1, lines.String())
}

// wrapped cuts a line as a terminal does.
func wrapped(line string) (rows []string) {
	for len(line) > terminalColumns {
		rows, line = append(rows, line[:terminalColumns]), line[terminalColumns:]
	}
	return append(rows, cmp.Or(line, " "))
}

// terminalFrame is what is around the lines. A line is hidden as long as its animation lasts.
const terminalFrame = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" role="img">
<title>A program on the leash of its PID file</title>
<desc>%s</desc>
<style>
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre;
  animation-name: hidden; }
.in { fill: #f0f6fc; font-weight: bold; }
.out { fill: #adbac7; }
.warn { fill: #e3b341; }
@keyframes hidden { from, to { opacity: 0 } }
@media (prefers-reduced-motion: reduce) { text { animation-name: none } }
</style>
<rect x="0.5" y="0.5" width="%.0f" height="%d" rx="8" fill="#161b22" stroke="#57606a"/>
<circle cx="20" cy="20" r="6" fill="#f85149"/><circle cx="40" cy="20" r="6" fill="#e3b341"/>
<circle cx="60" cy="20" r="6" fill="#3fb950"/>
%s</svg>
`
