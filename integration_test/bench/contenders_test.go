//go:build bench

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

// contender is one way to run the program.
type contender struct {
	name     string
	wrapper  []string // what stands before the program
	round    func(t *testing.T)
	pidFile  string   // empty: there is none, and no removal to measure
	pidleash string   // for its commands; empty: it has none
	fifo     string   // of a program in the background, for its reports; empty: it is a child
	storm    []string // the program that makes orphans; nil: they do not fall to this one
	counted  bool
	samples  map[string][]time.Duration

	probe string
	mark  bed.Mark
	// stderr takes the message of a removal: it is made and sent as ever.
	stderr *os.File
}

// loop is what people write without pidleash. It looks before it waits.
const loop = `"$2" & pid=$!
echo $pid >"$1"
while [ -e "$1" ]; do inotifywait -qq -e attrib,delete_self,move_self "$1"; done
kill $pid
wait $pid`

// packages are Debian's, by the program.
var packages = []string{"tini", "dumb-init", "catatonit", "inotify-tools"}

func contenders(t *testing.T) []*contender {
	for _, program := range []string{"tini", "dumb-init", "catatonit", "inotifywait"} {
		if _, err := exec.LookPath(program); err != nil {
			bed.Missing(t, "%v: .ci/setup installs it", err)
		}
	}
	dir, err := os.MkdirTemp("/dev/shm", "pidleash-bench-")
	if err != nil {
		bed.Missing(t, "no tmpfs at /dev/shm: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	bed.Must(t, err)
	t.Cleanup(func() { null.Close() })
	file, fifo := filepath.Join(dir, "bench.pid"), filepath.Join(dir, "fifo")
	bed.Must(t, unix.Mkfifo(fifo, 0o600))
	storm := []string{bed.CompileC(t, "orphans.c")}
	libraries := build(t, "floorlibs")
	list := []*contender{
		{name: "no wrapper"},
		{name: page.Tini, wrapper: []string{"tini", "-s", "--"}, storm: storm, counted: true},
		{name: "dumb-init", wrapper: []string{"dumb-init", "--"}, counted: true},
		{name: "catatonit", wrapper: []string{"catatonit", "--"}, storm: storm, counted: true},
		{name: page.Loop, wrapper: []string{"sh", "-c", loop, "loop", file}, pidFile: file},
		{name: page.Least, wrapper: []string{build(t, "floor")}, counted: true},
		{name: page.Library, wrapper: []string{libraries}, counted: true},
		{name: page.Threads, wrapper: []string{libraries, "-threads"}, counted: true},
		{name: page.Watch, wrapper: []string{libraries, "-watch", file}, pidFile: file},
	}
	ways := func(binary, label string) []*contender {
		return []*contender{
			{name: page.Plain + label, wrapper: []string{binary, "--"}, storm: storm, counted: true},
			{name: page.File + label, wrapper: []string{binary, "-pidfile", file, "-settle", "0", "--"},
				pidFile: file, pidleash: binary, storm: storm, counted: true},
			{name: page.Daemon + label, wrapper: []string{binary, "-daemon", "-pidfile", file, "-settle", "0",
				"-stdout", fifo, "--"}, pidFile: file, fifo: fifo, counted: true},
		}
	}
	list = append(list, ways(bed.Pidleash, "")...)
	if *benchBefore != "" {
		list = append(list, ways(*benchBefore, " before")...)
	}
	for _, c := range list {
		c.probe, c.stderr, c.mark = bed.CompileC(t, "bench.c"), null, bed.NewMark(t)
		c.samples = map[string][]time.Duration{}
		c.find(t)
		c.round = c.chooseRound()
	}
	return list
}

// find makes the wrapper's name a path: the search is the shell's, and not measured.
func (c *contender) find(t *testing.T) {
	if len(c.wrapper) > 0 {
		path, err := exec.LookPath(c.wrapper[0])
		bed.Must(t, err)
		c.wrapper[0] = path
	}
}

// command is the whole command line.
func (c *contender) command(program ...string) []string { return slices.Concat(c.wrapper, program) }

// chooseRound has one life for each thing that ends one.
func (c *contender) chooseRound() func(t *testing.T) {
	switch {
	case c.fifo != "":
		return c.goToBackground
	case c.pidleash != "":
		return func(t *testing.T) {
			c.live(t)
			c.loseFile(t)
			c.beStopped(t)
		}
	case c.pidFile != "":
		return c.loseFile
	}
	return c.live
}

// build makes one of the yardsticks, in the way in which pidleash is made.
func build(t *testing.T, name string) string {
	path := filepath.Join(t.TempDir(), name)
	words := strings.Fields("build -trimpath -tags urfave_cli_no_docs -o")
	build := exec.Command("go", append(words, path, "-ldflags", "-s -w", "./testdata/"+name)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", name, err, out)
	}
	return path
}

func (c *contender) add(phase string, d time.Duration) {
	c.samples[phase] = append(c.samples[phase], d)
}

// result is for the page: without the paths of this machine.
func (c *contender) result(t *testing.T) page.Contender {
	words := c.command("PROGRAM")
	words[0] = filepath.Base(words[0])
	for i, word := range words {
		switch word {
		case loop:
			words[i] = "SCRIPT"
		case c.pidFile:
			words[i] = "FILE"
		case c.fifo:
			words[i] = "FIFO"
		}
	}
	r := page.Contender{Name: c.name, Command: strings.Join(words, " "), Times: map[string]page.Times{}}
	for phase, samples := range c.samples {
		r.Times[phase] = page.TimesOf(samples)
	}
	if c.counted {
		r.First, r.Whole = c.count(t)
	}
	return r
}

// machine describes this one, as far as it matters and tells nobody whose it is.
func machine(t *testing.T) page.Machine {
	var name unix.Utsname
	bed.Must(t, unix.Uname(&name))
	kernel, _, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	m := page.Machine{
		Kernel: kernel, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Load: load(),
		Go: strings.Replace(runtime.Version(), "go", "Go ", 1), Rounds: *benchRounds,
	}
	for _, p := range packages {
		version, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", p).Output()
		bed.Must(t, err)
		m.Peers = append(m.Peers, p+" "+string(version))
	}
	return m
}
