package cli

import (
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"

	"pidleash/internal/fault"
	"pidleash/internal/signals"
)

// FuzzEnvironment sets two variables. Each means what the option means, and a start with both has a plan, or is refused
// in one line that names what is wrong and the remedy.
func FuzzEnvironment(f *testing.F) {
	all := slices.Concat(options, commandOptions)
	for i := range all {
		for j, sample := range samples {
			f.Add(uint8(i), sample, uint8(i+j+1), samples[(i+j)%len(samples)])
		}
		f.Add(uint8(i), "\n", uint8(i+1), "\x1b[31m\nforged")
		f.Add(uint8(i), "-stop\n\n", uint8(i+1), "~/x/%t/$HOME")
	}
	f.Add(uint8(0), "trace", uint8(1), "JSON")
	f.Fuzz(func(t *testing.T, first uint8, one string, second uint8, two string) {
		if strings.Contains(one+two, "\x00") {
			return // no variable can have it
		}
		a, b := all[int(first)%len(all)], all[int(second)%len(all)]
		t.Setenv(envName(a.name), one)
		sameAsOption(t, a, one)
		t.Setenv(envName(b.name), two)
		c, err := parse([]string{"program", "-stop", "x"})
		if err != nil {
			wantOneLine(t, err)
			return
		}
		if want := []string{"program", "-stop", "x"}; !slices.Equal(c.config.Args, want) {
			t.Errorf("the program is %q, want %q", c.config.Args, want)
		}
	})
}

// sameAsOption compares the variable with the option; empty, it is unset.
func sameAsOption(t *testing.T, o option, value string) {
	t.Helper()
	if value == "" {
		return
	}
	byVariable := newCommand([]option{o})
	err := byVariable.take([]option{o})
	if err != nil {
		wantOneLine(t, err)
		if !strings.Contains(err.Error(), "variable "+envName(o.name)+" ") {
			t.Errorf("%v: does not name the variable", err)
		}
	}
	values := []string{value}
	if o.isList {
		values = strings.Split(strings.TrimSuffix(value, "\n"), "\n")
	}
	if slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, "-") }) {
		return // on a command line that may be the next option
	}
	byOption := newCommand([]option{o})
	byOption.given[o.name].values = values
	failed := byOption.take([]option{o})
	byOption.given[o.name].values = nil
	if (err == nil) != (failed == nil) || err == nil && !reflect.DeepEqual(byVariable, byOption) {
		t.Errorf("%s=%q: %v, -%s: %v, and not the same", envName(o.name), value, err, o.name, failed)
	}
}

// wantOneLine wants what is written about a mistake to be a line with a remedy, and nothing that drives a terminal.
func wantOneLine(t *testing.T, err error) {
	t.Helper()
	if code := fault.Code(err); code != fault.Failed {
		t.Errorf("%v: code %d", err, code)
	}
	line := string((&log{text: true}).format(hclog.Error, []byte("[ERROR] pidleash: "+withHint(err)+"\n")))
	text, ended := strings.CutSuffix(line, "\n")
	hidden := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
	if !ended || hidden || !strings.HasPrefix(text, "pidleash: ") || !strings.Contains(text, "; hint: ") {
		t.Errorf("%q is not one line with a hint", line)
	}
}

// FuzzVariableName: a variable of any name is no mistake, and its program gets it unless it is an option's.
func FuzzVariableName(f *testing.F) {
	const names = "PIDLEASH_ PIDLEASH_PORT PIDLEASH_STOP PIDLEASH_stop PIDLEASH_SOTP PIDLEASH_LOG-LEVEL STOP"
	for name := range strings.FieldsSeq(names) {
		f.Add(name, "x")
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return
		}
		isOption := slices.ContainsFunc(slices.Concat(options, commandOptions), func(o option) bool {
			return "PIDLEASH_"+strings.ReplaceAll(strings.ToUpper(o.name), "-", "_") == name
		})
		entry := name + "=" + value
		var c command
		left := c.programEnv([]string{"A=1", entry, "B=2"})
		want := []string{"A=1", entry, "B=2"}
		if isOption || name == "PIDFILE" && c.usesFile(value) {
			want = []string{"A=1", "B=2"}
		}
		if !slices.Equal(left, want) {
			t.Errorf("with %q the program has %q, want %q", entry, left, want)
		}
		t.Setenv(name, value)
		l := &log{Logger: hclog.NewNullLogger()}
		warnVariables(l) // searches for what was meant
	})
}

// number is a signal's number by its name, as in signal(7) and "kill -l", or 0.
func number(name string) int {
	name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
	names := strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT " +
		"CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")
	others := map[string]int{"IOT": 6, "CLD": 17, "POLL": 29, "RTMIN": 34, "RTMAX": 64}
	for i := 1; i <= 15; i++ {
		others["RTMIN+"+strconv.Itoa(i)] = 34 + i
	}
	for i := 1; i <= 14; i++ {
		others["RTMAX-"+strconv.Itoa(i)] = 64 - i
	}
	return max(others[name], slices.Index(names, name)+1)
}

// signalIn is the signal that a text means, by name or number, or 0.
func signalIn(text string) int {
	if regexp.MustCompile(`^\+?0*[1-9][0-9]?$`).MatchString(text) {
		if n, _ := strconv.Atoi(text); n <= 64 {
			return n
		}
		return 0
	}
	return number(text)
}

// FuzzRewrite compares with a second reading. KILL and STOP never arrive, nor do those that
// Go or the C libraries keep to themselves; CHLD and PIPE are about pidleash.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{
		"TERM:QUIT", "term:sigquit", "WINCH:none", "15:3", "RTMIN+1:rtmax-14", "KILL:TERM", "TERM:KILL", "USR1",
		"USR1:", ":USR1", "HUP:INT:TERM", "32:1", "URG:HUP", "STOP:HUP", "CHLD:HUP", "PIPE:HUP", "PROF:HUP",
		"34:1", "TERM:0", "SIGSIGINT:1", "NONE:none",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }) {
			return // letters of other alphabets have capitals that are Latin
		}
		left, right, _ := strings.Cut(value, ":")
		from, to := signalIn(left), signalIn(right)
		none := strings.ToLower(right) == "none"
		accepted := from != 0 && (to != 0 || none) && signals.Forwarded(syscall.Signal(from))
		if slices.Contains([]int{9, 13, 17, 19, 23, 27, 32, 33, 34}, from) && signals.Forwarded(syscall.Signal(from)) {
			t.Fatalf("signal %d counts as forwarded", from)
		}
		var c command
		err := setRewrite(&c, value)
		if (err == nil) != accepted {
			t.Fatalf("%q: %v, want it accepted: %v", value, err, accepted)
		}
		got := c.config.Rewrite[syscall.Signal(from)]
		if accepted && (len(c.config.Rewrite) != 1 || got != syscall.Signal(to)) {
			t.Errorf("%q is %v, want %d to %d", value, c.config.Rewrite, from, to)
		}
		if accepted && setRewrite(&c, value) == nil {
			t.Errorf("%q is accepted twice", value)
		}
	})
}

// span reads a duration as the documentation of package time has it, with whole numbers as long as they are wanted.
func span(text string) (sum *big.Rat, parts int) {
	units := map[string]int64{"ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
	signed := regexp.MustCompile(`^[-+]?`).FindString(text)
	rest := text[len(signed):]
	sum = new(big.Rat)
	if rest == "0" {
		return sum, 0
	}
	part := regexp.MustCompile(`^([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)`)
	for rest != "" {
		found := part.FindStringSubmatch(rest)
		if found == nil {
			return nil, 0
		}
		digits := "0" + strings.TrimSuffix(found[1], ".")
		n, _ := new(big.Rat).SetString(digits)
		sum.Add(sum, n.Mul(n, new(big.Rat).SetInt64(units[found[2]])))
		rest = rest[len(found[0]):]
		parts++
	}
	if parts == 0 {
		return nil, 0
	}
	if signed == "-" {
		sum.Neg(sum)
	}
	return sum, parts
}

// FuzzDuration reckons durations with fractions. A negative one is none, nor is one that is too long.
func FuzzDuration(f *testing.F) {
	for _, seed := range []string{
		"100ms", "0", "-0", "+5s", "1h30m", "1.5s", ".5s", "1.s", ".s", "5", "", "-1s", "2562047h47m16.854775807s",
		"2562047h47m16.854775808s", "9223372036854775807ns", "1e3s", "1µs", "1d", "5 s", "0.0000000001ns",
		"99999999999999999999h",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if len(value) > 200 {
			return
		}
		var got time.Duration
		err := setDuration(&got, value)
		want, parts := span(value)
		limit := new(big.Rat).SetInt64(1<<63 - 1)
		switch {
		case err == nil && (want == nil || want.Sign() < 0 && got < 0):
			t.Fatalf("%q is accepted as %v", value, got)
		case err != nil && want != nil && want.Sign() >= 0 && want.Cmp(limit) <= 0 && !tooPrecise(value):
			t.Fatalf("%q is refused: %v", value, err)
		case err != nil:
			return
		}
		off := new(big.Rat).Sub(want, new(big.Rat).SetInt64(int64(got)))
		if off.Abs(off).Cmp(new(big.Rat).SetInt64(int64(parts))) > 0 {
			t.Errorf("%q is %v, want %v ns", value, got, want.FloatString(1))
		}
	})
}

// tooPrecise: package time may refuse a number that is too long for it alone, whatever the unit makes of it.
func tooPrecise(value string) bool {
	return regexp.MustCompile(`[0-9]{18}`).MatchString(value)
}

// wellFormed is the grammar of exit codes: items with commas between them, a code or two with a dash.
var wellFormed = regexp.MustCompile(`^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$`)

// inRange knows that the text is well formed.
func inRange(value string) bool {
	for item := range strings.SplitSeq(value, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		if from, to := digits(first), digits(last); from > to || to > 255 {
			return false
		}
	}
	return true
}
