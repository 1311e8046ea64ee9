package plan

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseSchedule(t *testing.T) {
	sig := func(s syscall.Signal) Step { return Step{Signal: s} }
	wait := func(d time.Duration) Step { return Step{Wait: d} }
	for text, want := range map[string]Schedule{
		DefaultSchedule:         {sig(syscall.SIGTERM), wait(10 * time.Second), sig(syscall.SIGKILL)},
		"INT/5s/TERM/10s/KILL":  {sig(syscall.SIGINT), wait(5 * time.Second), sig(syscall.SIGTERM), wait(10 * time.Second), sig(syscall.SIGKILL)},
		"TERM":                  {sig(syscall.SIGTERM)},
		"TERM/10s":              {sig(syscall.SIGTERM), wait(10 * time.Second)},
		"5s/TERM":               {wait(5 * time.Second), sig(syscall.SIGTERM)},
		"-9":                    {sig(syscall.SIGKILL)},
		"-15/2/-9":              {sig(syscall.SIGTERM), wait(2 * time.Second), sig(syscall.SIGKILL)},
		"sigint/1.5/SigKill":    {sig(syscall.SIGINT), wait(1500 * time.Millisecond), sig(syscall.SIGKILL)},
		"TERM/100ms/KILL":       {sig(syscall.SIGTERM), wait(100 * time.Millisecond), sig(syscall.SIGKILL)},
		"TERM/1m30s/KILL":       {sig(syscall.SIGTERM), wait(90 * time.Second), sig(syscall.SIGKILL)},
		"TERM/0/KILL":           {sig(syscall.SIGTERM), wait(0), sig(syscall.SIGKILL)},
		"RTMIN+3/1/RTMAX-1":     {sig(37), wait(time.Second), sig(63)},
		"TERM/forever":          {sig(syscall.SIGTERM), {Forever: true}},
		"-TERM/Forever":         {sig(syscall.SIGTERM), {Forever: true}},
		"QUIT/30s/KILL/forever": {sig(syscall.SIGQUIT), wait(30 * time.Second), sig(syscall.SIGKILL), {Forever: true}},
	} {
		got, err := ParseSchedule(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "it has an empty item",
		"TERM/":              "it has an empty item",
		"/TERM":              "it has an empty item",
		"TERM//KILL":         "it has an empty item",
		"10s":                "it has no signal",
		"forever":            "it has no signal",
		"TERM/KILL":          `"KILL" follows an item of the same kind: signals and waits take turns`,
		"TERM/1s/2s/KILL":    `"2s" follows an item of the same kind: signals and waits take turns`,
		"TERM/1s/forever":    `"forever" follows an item of the same kind: signals and waits take turns`,
		"TERM/forever/KILL":  `"KILL" comes after forever`,
		"TREM":               `unknown signal "TREM"`,
		"-0":                 `unknown signal "0"`,
		"-65":                `unknown signal "65"`,
		"--9":                `unknown signal "-9"`,
		"TERM/10 s/KILL":     `invalid duration "10 s"`,
		"TERM/1y/KILL":       `invalid duration "1y"`,
		"TERM/1e30/KILL":     `invalid duration "1000000000000000000000000000000s"`,
		"TERM/-5s/KILL":      `unknown signal "5s"`,
		"TERM, 10s, KILL":    `unknown signal "TERM, 10s, KILL"`,
		"TERM/NaN/KILL":      `unknown signal "NaN"`,
		"TERM/Infinity/KILL": `unknown signal "Infinity"`,
	} {
		if got, err := ParseSchedule(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v, want %s", text, got, err, want)
		}
	}
}

// Whoever names a signal in a message can be answered with that name.
func TestSignalNamesCanBeRead(t *testing.T) {
	for sig := syscall.Signal(1); sig <= 64; sig++ {
		name := SignalName(sig)
		if sig == 32 || sig == 33 {
			// The C libraries keep them for themselves: they have no name.
			if want := "signal " + strconv.Itoa(int(sig)); name != want {
				t.Errorf("signal %d is called %s, want %s", sig, name, want)
			}
			name = strconv.Itoa(int(sig))
		} else if !strings.HasPrefix(name, "SIG") {
			t.Errorf("signal %d is called %s, want a name", sig, name)
		}
		for _, text := range []string{name, strings.TrimPrefix(name, "SIG"), strings.ToLower(name), strconv.Itoa(int(sig))} {
			if got, err := ParseSignal(text); got != sig || err != nil {
				t.Errorf("%q: got %d, %v, want %d", text, got, err, sig)
			}
		}
	}
}

// As "kill -l" has them.
func TestNamesOfRealTimeSignals(t *testing.T) {
	for sig, want := range map[syscall.Signal]string{
		34: "SIGRTMIN", 35: "SIGRTMIN+1", 49: "SIGRTMIN+15", 50: "SIGRTMAX-14", 63: "SIGRTMAX-1", 64: "SIGRTMAX",
	} {
		if got := SignalName(sig); got != want {
			t.Errorf("signal %d is called %s, want %s", sig, got, want)
		}
	}
}

func TestParseSignalRefuses(t *testing.T) {
	for _, text := range []string{"", "0", "-1", "65", "SIG", "TREM", "TERM ", " TERM", "SIGSIGTERM", "RTMIN-1", "RTMAX+1", "15.0", "99999999999999999999"} {
		if got, err := ParseSignal(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

// FuzzParseSchedule writes down in full what was read and reads that again: the
// same must come out, and only what the machine can work with.
func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{DefaultSchedule, "INT/5s/TERM/10s/KILL", "-9", "2/TERM/0.5/-9", "RTMIN+3/forever", "TERM/1e3/KILL", "TERM/0x1p-2/KILL", "//", "TERM/292y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		checkSchedule(t, text, s)
		written := scheduleText(s)
		if again, err := ParseSchedule(written); err != nil || !slices.Equal(again, s) {
			t.Errorf("%q is %q, and that is %v, %v", text, written, again, err)
		}
	})
}

func checkSchedule(t *testing.T, text string, s Schedule) {
	t.Helper()
	if !slices.ContainsFunc(s, func(step Step) bool { return step.Signal != 0 }) {
		t.Errorf("%q: no signal in %v", text, s)
	}
	for i, step := range s {
		switch {
		case step.Signal != 0 && (step.Wait != 0 || step.Forever), step.Forever && step.Wait != 0:
			t.Errorf("%q: more than one thing in %v", text, step)
		case step.Signal < 0 || step.Signal > 64 || step.Wait < 0:
			t.Errorf("%q: out of range: %v", text, step)
		case step.Forever && i != len(s)-1:
			t.Errorf("%q: goes on after forever", text)
		case i > 0 && (step.Signal == 0) == (s[i-1].Signal == 0):
			t.Errorf("%q: signals and waits do not take turns", text)
		}
	}
}

func scheduleText(s Schedule) string {
	var items []string
	for _, step := range s {
		switch {
		case step.Signal != 0:
			items = append(items, "-"+strconv.Itoa(int(step.Signal)))
		case step.Forever:
			items = append(items, "forever")
		default:
			items = append(items, step.Wait.String())
		}
	}
	return strings.Join(items, "/")
}
