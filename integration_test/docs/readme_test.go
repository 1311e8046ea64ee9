package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
	proc "pidleash/internal/process"
)

// What the README, the pages of docs and the manual show is run as it stands
// there, so that none of them can promise what is not so.

// pageBlocks returns a page's code blocks of a language.
func pageBlocks(t testing.TB, page, language string) (blocks []string) {
	t.Helper()
	fence := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$")
	for _, m := range fence.FindAllStringSubmatch(bed.ReadFile(t, bed.ModuleFile(page)), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no %s block", page, language)
	}
	return blocks
}

// anyPID and anyDir are what differs from run to run.
var (
	anyPID = regexp.MustCompile(`\b[0-9]{2,7}\b`)
	anyDir = regexp.MustCompile(`pidfile /\S*/`)
)

func TestReadmeDemonstration(t *testing.T) {
	block := pageBlocks(t, "README.md", "console")[0]
	command, want, _ := strings.Cut(strings.TrimPrefix(block, "$ "), "\n")
	sh := exec.Command("sh", "-c", command)
	sh.Dir = bed.ModuleFile()
	out, _ := sh.CombinedOutput() // its status is that of go run
	level := func(text string) string {
		return anyPID.ReplaceAllString(anyDir.ReplaceAllString(text, "pidfile /DIR/"), "PID")
	}
	if level(string(out)) != level(want) {
		t.Errorf("%s\nprinted\n%s\nthe README says\n%s", command, out, want)
	}
	if pids := anyPID.FindAllString(string(out), 2); len(pids) != 2 || pids[0] != pids[1] {
		t.Errorf("the file says %v, not the program's PID", pids)
	}
	if _, err := os.Lstat(bed.ModuleFile("demo.pid")); err == nil {
		t.Error("demo.pid is left behind")
		os.Remove(bed.ModuleFile("demo.pid"))
	}
}

// TestManualExamples runs the examples of -h, of -h all and of the manual page with an app of our own.
func TestManualExamples(t *testing.T) {
	page := regexp.MustCompile(`(?s)\n\.SH EXAMPLES\n(.*?)\n\.SH `).FindString(bed.ReadFile(t, bed.ModuleFile("man/pidleash.1")))
	page = strings.NewReplacer(`\e`+"\n", "", `\-`, "-", "\npidleash", "\n    pidleash").Replace(page)
	seen := map[string]bool{}
	for source, text := range map[string]string{
		"-h": bed.Start(t, bed.How{}, "-h").Rest(t), "-h all": bed.Start(t, bed.How{}, "-h", "all").Rest(t), "man/pidleash.1": page,
	} {
		_, examples, _ := strings.Cut(text, "EXAMPLES\n")
		commands := regexp.MustCompile(`(?m)^    (pidleash .*)$`).FindAllStringSubmatch(examples, -1)
		if len(commands) < 3 {
			t.Errorf("%d examples in %s, 3 or more were expected", len(commands), source)
		}
		for _, m := range commands {
			// The page has examples with other programs, too.
			if ours := source[0] == '-' || strings.Contains(m[1], "/usr/sbin/app"); ours && !seen[m[1]] {
				t.Run(m[1], func(t *testing.T) { runExample(t, m[1]) })
			}
			seen[m[1]] = true
		}
	}
}

func runExample(t *testing.T, command string) {
	dir := t.TempDir()
	app, pidfile := filepath.Join(dir, "app"), filepath.Join(dir, "app.pid")
	bed.WriteFile(t, app, "#!/bin/sh\necho up\nread wait || exec sleep 600\n", 0o755)
	leashed := strings.Contains(command, "/run/app.pid")
	command = strings.NewReplacer("/usr/sbin/app", app, "/run/app.pid", pidfile).Replace(command)
	sh := exec.Command("sh", "-c", "exec "+command)
	sh.Env = append(os.Environ(), "PATH="+filepath.Dir(bed.Pidleash)+":"+os.Getenv("PATH"))
	r := bed.Launch(t, sh)
	switch {
	case strings.HasPrefix(command, "pidleash stop"):
		r.ExpectCode(t, 0)
		return
	case !leashed:
		r.Line(t)
		r.ExpectCode(t, 0)
		return
	case strings.Contains(command, "-daemon"):
		r.ExpectCode(t, 0)
		pid, err := strconv.Atoi(strings.TrimSpace(bed.ReadFile(t, pidfile)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(pidfile); err != nil {
			t.Fatal(err)
		}
		bed.Await(t, "the end of the app", func() bool { p, err := proc.Read(pid); return err != nil || p.Dead() })
		return
	}
	r.Expect(t, "up")
	if err := os.Remove(pidfile); err != nil {
		t.Fatal(err)
	}
	if status := r.Wait(t); !status.Signaled() {
		t.Errorf("ended by %s after the removal of the PID file", bed.Describe(status))
	}
}

// TestReadmeRecipes runs the README's recipes that are a command.
func TestReadmeRecipes(t *testing.T) {
	t.Parallel()
	all := strings.Join(pageBlocks(t, "README.md", "sh"), "")
	recipes := regexp.MustCompile(`(?m)^pidleash .*$`).FindAllString(all, -1)
	if len(recipes) != 2 || !strings.Contains(recipes[0], "-restart ") || !strings.Contains(recipes[1], "-while ") {
		t.Fatalf("the README has the recipes %q, one of restarts and one of a helper were expected", recipes)
	}
	runExample(t, recipes[0])

	dir := t.TempDir()
	helper, main := filepath.Join(dir, "helper"), filepath.Join(dir, "main.pid")
	bed.WriteFile(t, helper, "#!/bin/sh\necho up\nexec sleep 600\n", 0o755)
	bed.WriteFile(t, main, "", 0o644)
	command := strings.NewReplacer("/usr/local/bin/helper", helper, "/shared/main.pid", main).Replace(recipes[1])
	sh := exec.Command("sh", "-c", "exec "+command)
	sh.Env = append(os.Environ(), "PATH="+filepath.Dir(bed.Pidleash)+":"+os.Getenv("PATH"))
	r := bed.Launch(t, sh)
	r.Expect(t, "up")
	bed.Must(t, os.Remove(main))
	r.ExpectCode(t, 0)
}

// TestPageCommands runs what docs/commands.md shows. The daemons are scripts of
// their names, and /run is a directory of the test's.
func TestPageCommands(t *testing.T) {
	bin, dir := t.TempDir(), bed.OpenDir(t)
	path := bed.How{Env: []string{"PATH=" + bin + ":" + filepath.Dir(bed.Pidleash) + ":" + os.Getenv("PATH")}}
	for name, ignored := range map[string]string{"app": "HUP", "nginx": "HUP", "db": "TERM"} {
		bed.WriteFile(t, bin+"/"+name, "#!/bin/sh\ntrap '' "+ignored+"\necho $$\nread line\n", 0o755)
	}
	bed.Start(t, path, "-pidfile", dir+"/app.pid", "app").Number(t)
	nginx := bed.Launch(t, exec.Command(bin+"/nginx")).Number(t)
	bed.PlantPID(t, dir+"/nginx.pid", nginx)
	bed.PlantPID(t, dir+"/db.pid", bed.Launch(t, exec.Command(bin+"/db")).Number(t))
	bed.PlantPIDAt(t, dir+"/cron.pid", nginx, time.Unix(1, 0))
	bed.PlantPID(t, dir+"/old.pid", bed.DeadPID)
	bed.WriteFile(t, dir+"/empty.pid", "", 0o644)

	blocks := pageBlocks(t, "docs/commands.md", "console")
	if len(blocks) != 5 {
		t.Fatalf("docs/commands.md shows %d commands", len(blocks))
	}
	// What ends a program comes last.
	for _, i := range []int{0, 2, 3, 4, 1} {
		want := blocks[i]
		var script strings.Builder
		for _, m := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(want, -1) {
			fmt.Fprintf(&script, "echo '$ %s'\n(exit $code)\n%s\ncode=$?\n", m[1], strings.ReplaceAll(m[1], "/run", dir))
		}
		sh := exec.Command("sh", "-c", "exec 2>&1; code=0\n"+script.String())
		sh.Env = append(os.Environ(), path.Env...)
		r := bed.Launch(t, sh)
		got := strings.ReplaceAll(r.Rest(t), dir, "/run")
		if levelled(got) != levelled(want) {
			t.Errorf("the commands print\n%s\ndocs/commands.md says\n%s", got, want)
		}
	}
}

// levelled is a text without numbers, durations, and the width of columns.
func levelled(text string) string {
	for _, r := range [][2]string{{`\((\d+[dhms])+\)`, "(DURATION)"}, {`Z"|[+-]\d\d:\d\d"`, `ZONE"`}, {`\d+`, "N"}, {` +`, " "}} {
		text = regexp.MustCompile(r[0]).ReplaceAllString(text, r[1])
	}
	return text
}

// TestPageUnits runs the units of the README and of docs/systemd.md under a real
// systemd. The first one of that page is run by package units.
func TestPageUnits(t *testing.T) {
	readme, page := pageBlocks(t, "README.md", "ini"), pageBlocks(t, "docs/systemd.md", "ini")
	turned := strings.NewReplacer("/usr/sbin/appd", asDaemon, "/usr/sbin/nginx", asDaemon)
	background := page[1]
	for name, unit := range map[string]string{
		"foreground": readme[0],
		"legacy":     turned.Replace(readme[1]),
		"background": background,
		"daemon":     turned.Replace(withSettings(background, page[2])),
		"supervisor": withSettings(background, page[3]),
	} {
		t.Run(name, func(t *testing.T) { runPageUnit(t, unit) })
	}
}

// asDaemon is a command that goes to the background and writes its PID file.
const asDaemon = "/bin/sh -c '/usr/sbin/app -f & echo $! >$PIDFILE'"

// withSettings has the lines of a unit replaced by others of the same settings.
func withSettings(unit, lines string) string {
	for line := range strings.Lines(strings.ReplaceAll(lines, "\\\n", "")) {
		name, _, _ := strings.Cut(line, "=")
		setting := regexp.MustCompile("(?m)^" + name + "=.*\n")
		if !setting.MatchString(unit) {
			unit += line
		}
		unit = setting.ReplaceAllLiteralString(unit, line)
	}
	return unit
}

func runPageUnit(t *testing.T, text string) {
	machine := bed.BootSystemd(t, nil)
	program := machine.Program(t, "page")
	text = strings.NewReplacer(
		"/usr/local/bin/pidleash", "/run/lab/pidleash",
		"/usr/sbin/app -f", program.Command,
	).Replace(text)
	u := machine.Unit(t, "app.service", text)
	u.Must("start")
	if pid := program.Says(); machine.Read(t, "/run/app/app.pid") != pid+"\n" {
		t.Errorf("/run/app/app.pid does not name the program, PID %s", pid)
	}
	machine.Remove(t, "/run/app/app.pid")
	u.Await("ActiveState", "inactive", "failed")
	u.Want("ActiveState", "inactive")
	u.Want("Result", "success")
	u.Must("start")
	program.Says()
	u.Must("stop")
	u.Want("ActiveState", "inactive")
	u.Want("Result", "success")
}
