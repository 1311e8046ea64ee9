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

// TestTroubleshooting meets every symptom that the page shows, and compares what pidleash says with the page.
func TestTroubleshooting(t *testing.T) {
	sections := strings.Split(bed.ReadFile(t, bed.ModuleFile("docs/troubleshooting.md")), "\n## ")[1:]
	met := 0
	for _, section := range sections {
		heading, text, _ := strings.Cut(section, "\n")
		block := regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindStringSubmatch(text)
		if block == nil {
			continue
		}
		if troubles[heading] != "" {
			met++
		}
		t.Run(heading, func(t *testing.T) {
			t.Parallel()
			meetTrouble(t, troubles[heading], block[1])
		})
	}
	if met != len(troubles) {
		t.Errorf("%d sections of the page are prepared, %d preparations are there", met, len(troubles))
	}
}

func meetTrouble(t *testing.T, before, want string) {
	dir := bed.OpenDir(t)
	var script strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(want, -1) {
		quoted := strings.ReplaceAll(m[1], "'", `'\''`)
		fmt.Fprintf(&script, "printf '%%s\\n' '$ %s'\n(exit $code)\n%s\ncode=$?\n", quoted, m[1])
	}
	// What was prepared in the background says its own things, and ends when the test does.
	text := "{ " + before + "} >/dev/null 2>&1 </dev/null\nexec 2>&1; code=0\n" + script.String() + "kill $! 2>/dev/null; wait\n"
	sh := exec.Command("sh", "-c", strings.ReplaceAll(strings.ReplaceAll(text, "{ }", ":"), "/run", dir))
	sh.Env = append(os.Environ(), "PATH="+filepath.Dir(bed.Pidleash)+":"+os.Getenv("PATH"))
	got := strings.ReplaceAll(bed.Launch(t, sh).Rest(t), dir, "/run")
	if levelled(got) != levelled(want) {
		t.Errorf("pidleash says\n%s\nthe page says\n%s", got, want)
	}
}
