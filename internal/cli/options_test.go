package cli

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSetSuccess(t *testing.T) {
	for value, want := range map[string][]int{
		"0":           {0},
		"3":           {3},
		"255":         {255},
		"3,140-142":   {3, 140, 141, 142},
		"140-142,3":   {3, 140, 141, 142},
		"143,143":     {143},
		"5-5":         {5},
		"1-3,2-4":     {1, 2, 3, 4},
		"007":         {7},
		"254-255,0-1": {0, 1, 254, 255},
	} {
		var c command
		if err := setSuccess(&c, value); err != nil {
			t.Errorf("%q: %v", value, err)
		}
		if got := codes(&c); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestSetSuccessRefuses(t *testing.T) {
	for value, item := range map[string]string{
		"":            `""`,
		"256":         `"256"`,
		"-1":          `"-1"`,
		"+1":          `"+1"`,
		"3,":          `""`,
		"3, 4":        `" 4"`,
		"3,150-140":   `"150-140"`,
		"140-":        `"140-"`,
		"1-2-3":       `"1-2-3"`,
		"0x10":        `"0x10"`,
		"1_0":         `"1_0"`,
		"TERM":        `"TERM"`,
		"all":         `"all"`,
		"3;4":         `"3;4"`,
		"99999999999": `"99999999999"`,
	} {
		var c command
		want := item + " is neither a code nor a range"
		if err := setSuccess(&c, value); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", value, err, want)
		}
	}
}

// FuzzSetSuccess compares with a second reading of the same text: a code is a
// success exactly when an item or the two ends of a range enclose it.
func FuzzSetSuccess(f *testing.F) {
	for _, seed := range []string{"3,140-150", "", "0-255", "255-0", "3,,4", "00000000001", "1-2-3", "-", ",", "９"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var c command
		err := setSuccess(&c, value)
		if want := wellFormed.MatchString(value) && inRange(value); (err == nil) != want {
			t.Fatalf("%q: %v, want it accepted: %v", value, err, want)
		}
		if err != nil {
			return
		}
		for code, on := range c.config.Success {
			if on != encloses(value, code) {
				t.Errorf("%q: code %d is %v", value, code, on)
			}
		}
	})
}

// encloses knows that the text is well formed and reads it digit by digit.
func encloses(value string, code int) bool {
	for item := range strings.SplitSeq(value, ",") {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		if digits(first) <= code && code <= digits(last) {
			return true
		}
	}
	return false
}

// digits reads a number; one that is too large for a code stays too large.
func digits(text string) (n int) {
	for _, d := range []byte(text) {
		n = min(n*10+int(d-'0'), 256)
	}
	return n
}

func codes(c *command) (list []int) {
	for code, on := range c.config.Success {
		if on {
			list = append(list, code)
		}
	}
	return list
}

func TestEnvName(t *testing.T) {
	for option, want := range map[string]string{
		"stop":               "PIDLEASH_STOP",
		"log-level":          "PIDLEASH_LOG_LEVEL",
		"supervisor-pidfile": "PIDLEASH_SUPERVISOR_PIDFILE",
	} {
		if got := envName(option); got != want {
			t.Errorf("%s: got %s, want %s", option, got, want)
		}
	}
}

// Two options of one variable could not both be set.
func TestEnvNamesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, o := range slices.Concat(options, commandOptions) {
		name := envName(o.name)
		if other, ok := seen[name]; ok {
			t.Errorf("-%s and -%s have the same variable %s", o.name, other, name)
		}
		seen[name] = o.name
	}
}

// samples has a value for every kind of option.
var samples = []string{"true", "running", "json", "info", "always", "tree", "fd:3", "HUP", "TERM:QUIT", "HUP:none", "5/1m", "5s", "027", "3", "0:0", "/file", "/another"}

// A variable sets an option as the command line does, and no program gets it.
func TestEveryOptionHasAVariable(t *testing.T) {
	for _, o := range slices.Concat(options, commandOptions) {
		var values []string
		var want command
		for _, sample := range samples {
			tried := slices.Concat(values, []string{sample})
			if c, err := setTo(o, tried); err != nil || reflect.DeepEqual(c, want) {
				continue
			} else if values, want = tried, c; !o.isList || len(values) == 2 {
				break
			}
		}
		if len(values) == 0 {
			t.Errorf("-%s takes none of %q", o.name, samples)
			continue
		}
		t.Setenv(envName(o.name), strings.Join(values, "\n"))
		got := command{given: newCommand([]option{o}).given}
		want.given = got.given
		if err := got.take([]option{o}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s=%q: %v, and not what -%s does", envName(o.name), values, err, o.name)
		}
		if !isOptionVariable(envName(o.name)) {
			t.Errorf("a program gets %s", envName(o.name))
		}
	}
}

// A program that honours PIDFILE would become a second writer of the file in use. A daemon is welcome to write it.
func TestProgramEnvPIDFile(t *testing.T) {
	const used, other = "PIDFILE=/run/p.pid", "PIDFILE=/run/other.pid"
	var c command
	c.config.PIDFile = "/run/p.pid"
	if got, want := c.programEnv([]string{"A=1", used, other}), []string{"A=1", other}; !slices.Equal(got, want) {
		t.Errorf("the program gets %q, want %q", got, want)
	}
	c.config.Forking = true
	if got, want := c.programEnv([]string{used}), []string{used}; !slices.Equal(got, want) {
		t.Errorf("a daemon gets %q, want %q", got, want)
	}
}

func setTo(o option, values []string) (c command, err error) {
	for _, value := range values {
		err = errors.Join(err, o.set(&c, value))
	}
	return c, err
}
