package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// troubles has what must be so before the commands of a section of docs/troubleshooting.md are run, by heading.
var troubles = map[string]string{
	"It does not start: already running, held by pidleash": "pidleash -pidfile /run/app.pid -- sleep 600 &\n" + awaitFile,
	"It does not start: already running, held by nobody":   "sleep 600 & echo $! >/run/app.pid\n",
	"pidleash was killed, and the program runs on": "pidleash -pidfile /run/app.pid -- setpriv --reuid 65534 --clear-groups sleep 600 &\n" +
		awaitFile + `until read name </proc/$(cat /run/app.pid)/comm && [ $name = sleep ]; do :; done; kill -9 $!; wait $!` + "\n",
	"status, stop or signal ends with code 4": "pidleash -pidfile /run/app.pid -- sleep 600 &\n" + awaitFile + "chmod 666 /run/app.pid\n",
}

const awaitFile = "until [ -s /run/app.pid ]; do :; done\n"

// TestTroubleshooting meets every symptom that the page shows, and compares what pidleash says with the page: as it
// stands there, and with -log-level debug.
func TestTroubleshooting(t *testing.T) {
	met := 0
	for heading, text := range sectionsOfTrouble(t) {
		block := regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindStringSubmatch(text)
		if block == nil {
			continue
		}
		before := troubles[heading]
		if before != "" {
			met++
		}
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			if got := meetTrouble(t, before, block[1]); got != levelled(block[1]) {
				t.Errorf("pidleash says\n%s\nthe page says\n%s", got, block[1])
			}
		})
		t.Run(heading+", debug", func(t *testing.T) {
			t.Parallel()
			got := meetTrouble(t, before, block[1], "PIDLEASH_LOG_LEVEL=debug")
			lines := debugLine.FindAllStringSubmatch(partsOfTrouble(text)["Debug"], -1)
			for _, m := range lines {
				if !strings.Contains(got, "\n"+levelled(m[1])+"\n") {
					t.Errorf("with -log-level debug pidleash says\n%s\nthe page says\n%s", got, m[1])
				}
			}
			if len(lines) == 0 && got != levelled(block[1]) {
				t.Errorf("the page says that -log-level debug adds nothing, pidleash says\n%s", got)
			}
		})
	}
	if met != len(troubles) {
		t.Errorf("%d sections of the page are prepared, %d preparations are there", met, len(troubles))
	}
}

var debugLine = regexp.MustCompile("`(pidleash: [^`]*)`")

// Every section says what debug shows, a line of pidleash's or nothing, the cause and the cure, in this order.
func TestTroublesHaveThreeParts(t *testing.T) {
	sections := sectionsOfTrouble(t)
	for heading, text := range sections {
		var names []string
		for _, m := range partOfTrouble.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		if got := strings.Join(names, ", "); got != "Debug, Cause, Cure" {
			t.Errorf("%q has the parts %s", heading, got)
			continue
		}
		parts := partsOfTrouble(text)
		if !debugLine.MatchString(parts["Debug"]) && !strings.HasPrefix(parts["Debug"], "It adds nothing: ") {
			t.Errorf("%q does not say what -log-level debug shows: %s", heading, parts["Debug"])
		}
		for name, part := range parts {
			if len(part) < 10 {
				t.Errorf("%q says nothing as its %s: %q", heading, name, part)
			}
		}
	}
	if len(sections) != 15 {
		t.Errorf("the page has %d symptoms, want 15", len(sections))
	}
}

var partOfTrouble = regexp.MustCompile(`\*\*(Debug|Cause|Cure)\.\*\*`)

// sectionsOfTrouble are the symptoms of the page, by heading. The table at the end has no parts.
func sectionsOfTrouble(t *testing.T) map[string]string {
	t.Helper()
	page, _, _ := strings.Cut(bed.ReadFile(t, bed.ModuleFile("docs/troubleshooting.md")), "\n## Shorter ones\n")
	sections := map[string]string{}
	for _, section := range strings.Split(page, "\n## ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		sections[heading] = text
	}
	return sections
}

// partsOfTrouble are the texts of a section's parts.
func partsOfTrouble(text string) map[string]string {
	parts := map[string]string{}
	starts := append(partOfTrouble.FindAllStringSubmatchIndex(text, -1), []int{len(text)})
	for i, at := range starts[:len(starts)-1] {
		parts[text[at[2]:at[3]]] = strings.TrimSpace(text[at[1]:starts[i+1][0]])
	}
	return parts
}

// meetTrouble runs the commands of a block and returns, levelled, what they print.
func meetTrouble(t *testing.T, before, block string, env ...string) string {
	dir := bed.OpenDir(t)
	var script strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(block, -1) {
		quoted := strings.ReplaceAll(m[1], "'", `'\''`)
		fmt.Fprintf(&script, "printf '%%s\\n' '$ %s'\n(exit $code)\n%s\ncode=$?\n", quoted, m[1])
	}
	// What was prepared in the background says its own things, and ends when the test does.
	text := "{ " + before + "} >/dev/null 2>&1 </dev/null\nexec 2>&1; code=0\n" + script.String() + "kill $! 2>/dev/null; wait\n"
	sh := exec.Command("sh", "-c", strings.ReplaceAll(strings.ReplaceAll(text, "{ }", ":"), "/run", dir))
	sh.Env = append(os.Environ(), append(env, "PATH="+filepath.Dir(bed.Pidleash)+":"+os.Getenv("PATH"))...)
	return levelled(strings.ReplaceAll(bed.Launch(t, sh).Rest(t), dir, "/run"))
}
