package docs

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// completed is a command line whose last word is to be completed. prog is a program with a completion of its own,
// which offers own-word, and DIR a directory that has a file and a directory.
type completed struct{ line, want string }

var completions = []completed{
	{"pidleash -pidf", "-pidfile"},
	{"pidleash --pidf", "--pidfile"},
	{"pidleash -daemon -kill-m", "-kill-mode"},
	{"pidleash -pidfile DIR/fi", "DIR/file"},
	{"pidleash -chdir DIR/di", "DIR/dir/"},
	{"pidleash -log-level de", "debug"},
	{"pidleash --log-level de", "debug"},
	{"pidleash -ready not", "notify"},
	{"pidleash -pdeathsig no", "none"},
	{"pidleash -restart-signal WIN", "WINCH"},
	{"pidleash -ignore PIPE,STK", "PIPE,STKFLT"},
	{"pidleash -rewrite TERM:QUI", "TERM:QUIT"},
	{"pidleash -stop INT/5s/KIL", "INT/5s/KILL"},
	{"pidleash -user daem", "daemon"},
	{"pidleash -user root:daem", "root:daemon"},

	{"pidleash stat", "stat"}, // or status
	{"pidleash statu", "status"},
	{"pidleash status -js", "-json"},
	{"pidleash status DIR/fi", "DIR/file"},
	{"pidleash stop -timeout 5s DIR/fi", "DIR/file"},
	{"pidleash wait DIR/file -until run", "running"},
	{"pidleash signal WIN", "WINCH"},
	{"pidleash signal WINCH DIR/fi", "DIR/file"},
	{"pidleash help al", "all"},
	{"pidleash -h al", "all"},

	// PROGRAM is a program, what is behind it is its own, and not an option of pidleash.
	{"pidleash -daemon setpri", "setpriv"},
	{"pidleash -pidfile DIR/file setpri", "setpriv"},
	{"pidleash -- setpri", "setpriv"},
	{"pidleash prog ow", "own-word"},
	{"pidleash -pidfile DIR/file -daemon -- prog ow", "own-word"},
	{"pidleash -log-level=debug prog ow", "own-word"},
	{"pidleash -log-level debug prog x ow", "own-word"},
	{"pidleash prog -log-lev", "-log-lev"},
	{"pidleash -- prog -log-lev", "-log-lev"},
}

// words are those that pidleash would get.
func (c *completed) words() string {
	words := strings.Fields(c.line)[1:]
	words[len(words)-1] = c.want
	return "<" + strings.Join(words, "><") + ">"
}

// completionCases has DIR replaced.
func completionCases(t *testing.T) (cases []completed) {
	t.Helper()
	dir := bed.OpenDir(t)
	bed.WriteFile(t, dir+"/file", "", 0o644)
	bed.Must(t, os.Mkdir(dir+"/dir", 0o755))
	for _, c := range completions {
		cases = append(cases, completed{strings.ReplaceAll(c.line, "DIR", dir), strings.ReplaceAll(c.want, "DIR", dir)})
	}
	return cases
}

// bashCompletion is what has the completion of another command in bash.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

const zshSetUp = `fpath=(COMPLETIONS $fpath); autoload -U compinit; compinit -u -D; unsetopt beep`

func needFile(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		bed.Missing(t, "%v", err)
	}
}

// A person types the line up to the tabulator key, and then enters it.
func TestCompletionTyped(t *testing.T) {
	t.Parallel()
	const show = `pidleash() { printf '<%s>' "$@"; echo .; }; prog() { :; }; `
	for _, shell := range []struct {
		words   []string
		library string
		setUp   string
	}{
		{[]string{"bash", "--norc", "--noprofile", "-i"}, bashCompletion, show + `. ` + bashCompletion + `; . COMPLETIONS/pidleash.bash; complete -W own-word prog`},
		{[]string{"zsh", "-f", "-i"}, "/", show + zshSetUp + `; _prog() { compadd own-word }; compdef _prog prog`},
	} {
		t.Run(shell.words[0], func(t *testing.T) {
			t.Parallel()
			needProgram(t, shell.words[0])
			needFile(t, shell.library)
			c := bed.NewConsole(t, []string{"PS1=", "TERM=dumb", "INPUTRC=/dev/null", "HISTFILE=", "LC_ALL=C"}, shell.words...)
			c.Types(strings.ReplaceAll(shell.setUp, "COMPLETIONS", bed.ModuleFile("completions")) + "; echo 'rea'dy\n")
			c.Expect("ready")
			for _, one := range completionCases(t) {
				c.Types(one.line + "\t\n")
				// zsh takes the slash behind a directory back.
				if got := c.Expect(`(<[^\r\n]*>)\.\r?\n`)[1]; got != one.words() && got != strings.Replace(one.words(), "/>", ">", 1) {
					t.Errorf("%s: %s, want %s", one.line, got, one.words())
				}
			}
		})
	}
}

// fish tells what it would offer.
func TestCompletionFish(t *testing.T) {
	t.Parallel()
	needProgram(t, "fish")
	cases := completionCases(t)
	for i, offered := range askFish(t, cases) {
		c := cases[i]
		if ends := strings.HasPrefix(c.want, "-log"); ends && offered != nil || !ends && !slices.Contains(offered, c.want) {
			t.Errorf("%s: %q, want %s", c.line, offered, c.want)
		}
	}
}

func askFish(t *testing.T, cases []completed) (offered [][]string) {
	t.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "source %s; complete -c prog -f -a own-word\n", bed.ModuleFile("completions/pidleash.fish"))
	for _, c := range cases {
		fmt.Fprintf(&script, "complete -C '%s'; echo =\n", c.line)
	}
	fish := exec.Command("fish", "-c", script.String())
	fish.Env = append(fish.Environ(), "HOME="+t.TempDir())
	out, err := fish.CombinedOutput()
	if err != nil {
		t.Fatalf("fish: %v\n%s", err, out)
	}
	for text := range strings.SplitSeq(strings.TrimSuffix(string(out), "=\n"), "=\n") {
		var words []string
		for line := range strings.Lines(text) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			words = append(words, word)
		}
		offered = append(offered, words)
	}
	return offered
}

// askZsh types the lines up to the tabulator key, and returns what is handed to compadd of zshcompwid(1).
func askZsh(t *testing.T, lines []string) (offered []string) {
	t.Helper()
	needProgram(t, "zsh")
	out := t.TempDir() + "/offered"
	// Calls with -A, -D and -O only ask. They are in front of the first word that is offered, behind "-" or "--".
	const spy = `compadd() { local -a hits; if [[ ${@[1,(i)(-|--)]} != *-[ADO]\ * ]]; then builtin compadd -O hits "$@"; ` +
		`print -rl -- $hits >>OUT; fi; builtin compadd "$@" }; unsetopt autolist automenu; pidleash() { echo 'do'ne; }; `
	setUp := strings.NewReplacer("COMPLETIONS", bed.ModuleFile("completions"), "OUT", out).Replace(spy + zshSetUp)
	c := bed.NewConsole(t, []string{"PS1=", "TERM=dumb", "LC_ALL=C"}, "zsh", "-f", "-i")
	c.Types(setUp + "; echo 'rea'dy\n")
	c.Expect("ready")
	for _, line := range lines {
		bed.WriteFile(t, out, "", 0o644)
		c.Types(line + "\t\n")
		c.Expect("done")
		offered = append(offered, bed.ReadFile(t, out))
	}
	return offered
}

// A shell offers exactly the options that -h all and the texts of the commands have.
func TestCompletionHasEveryOption(t *testing.T) {
	t.Parallel()
	needProgram(t, "bash")
	needProgram(t, "fish")
	lines := []string{"", "status ", "stop ", "signal ", "wait ", "list "}
	for i, words := range lines {
		lines[i] = "pidleash " + words + "-"
	}
	zsh := askZsh(t, lines)
	for i, line := range lines {
		words := strings.TrimSuffix(strings.TrimPrefix(line, "pidleash "), "-")
		help := append(strings.Fields(words), "-h")
		if words == "" {
			help = append(help, "all")
		}
		want := shownOptions(bed.Start(t, bed.How{}, help...).Rest(t), `(?m)^  -([a-z-]+)`)
		fish := askFish(t, []completed{{line, ""}})[0]
		bash, err := exec.Command("bash", "-c", ". "+bed.ModuleFile("completions/pidleash.bash")+
			"; COMP_WORDS=("+line+"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _pidleash 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\"").Output()
		bed.Must(t, err)
		for shell, text := range map[string]string{"fish": strings.Join(fish, "\n"), "bash": string(bash), "zsh": zsh[i]} {
			if got := shownOptions(text, `(?m)^-([a-z][a-z-]*)$`); !slices.Equal(got, want) {
				t.Errorf("%s: %s offers\n%q, the options are\n%q", line, shell, got, want)
			}
		}
	}
}
