package machine

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pidleash/internal/plan"
)

// The constants' names and comments are read from the source, so that what the tests print
// and what docs/states.md explains cannot differ from it.

// constant is a name and what its comment says.
type constant struct{ name, comment string }

// constants returns those of a type, in their order.
func constants(typeName string) (all []constant) {
	file, err := parser.ParseFile(token.NewFileSet(), "machine.go", nil, parser.ParseComments)
	if err != nil {
		panic(err)
	}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		if first, ok := decl.Specs[0].(*ast.ValueSpec).Type.(*ast.Ident); !ok || first.Name != typeName {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if name := spec.Names[0].Name; ast.IsExported(name) {
				all = append(all, constant{name, strings.TrimSpace(spec.Comment.Text())})
			}
		}
	}
	return all
}

func namesOf(typeName string, number int) (names []string) {
	for _, c := range constants(typeName) {
		names = append(names, c.name)
	}
	if len(names) != number {
		panic(typeName + " has " + strconv.Itoa(len(names)) + " names in machine.go, want " + strconv.Itoa(number))
	}
	return names
}

var (
	stateNames  = namesOf("State", int(numStates))
	kindNames   = namesOf("Kind", int(numKinds))
	doNames     = namesOf("Do", int(numDos))
	topicNames  = namesOf("Topic", int(numTopics))
	targetNames = []string{ToProgram: "", ToGroup: ":group", ToTree: ":tree"}
)

// A trace has the names that docs/states.md has.
func TestNames(t *testing.T) {
	for s, name := range stateNames {
		m := Machine{phase: phase{state: State(s)}}
		expectName(t, m.String(), name)
	}
	for k, name := range kindNames {
		expectName(t, Kind(k).String(), name)
	}
	for d, name := range doNames {
		expectName(t, Do(d).String(), name)
	}
}

func expectName(t *testing.T, got, constant string) {
	t.Helper()
	if got != words(constant) {
		t.Errorf("%s is called %q", constant, got)
	}
}

func TestEveryConstantHasAComment(t *testing.T) {
	for _, typeName := range []string{"State", "Kind", "Do"} {
		for _, c := range constants(typeName) {
			if c.comment == "" {
				t.Errorf("%s has no comment", c.name)
			}
		}
	}
}

// failure is why something has failed.
type failure struct{}

func (failure) Error() string { return "it has failed" }

// eventOf reads an event: a name of a Kind, or a signal's. Details come after colons:
// "Ended:3", "Ended:KILL", "Ended:^C" (by the terminal's key), "Ended:?" (not known),
// "Explained:3", "Explained:?", "LaunchFailed:127", "Removed:own", "TERM:delivered", "INT:group".
func eventOf(text string) Event {
	name, detail, _ := strings.Cut(text, ":")
	if sig, err := plan.ParseSignal(name); err == nil {
		return Event{Kind: Signaled, Signal: sig, Delivered: detail == "delivered", ToGroup: detail == "group"}
	}
	i := slices.Index(kindNames, name)
	if i < 0 {
		panic("no event " + text)
	}
	e := Event{Kind: Kind(i)}
	switch e.Kind {
	case Ended, Explained, LaunchFailed, Probed:
		e.Status, e.Known = statusOf(detail)
		if detail == "^C" {
			e.Signal = syscall.SIGINT
		}
	case Halted:
		e.Signal = syscall.SIGTSTP
	case Removed, Found:
		e.Own, e.Linked = detail == "own", detail == "linked"
	}
	if e.Kind == Unready || e.Kind == LaunchFailed {
		e.Err = failure{}
	}
	return e
}

// statusOf is what wait(2) reports.
func statusOf(text string) (status syscall.WaitStatus, known bool) {
	switch text {
	case "?":
		return 0, false
	case "":
		return 0, true
	case "^C":
		return syscall.WaitStatus(syscall.SIGINT), true
	}
	if code, err := strconv.Atoi(text); err == nil {
		return syscall.WaitStatus(code << 8), true
	}
	sig, err := plan.ParseSignal(text)
	if err != nil {
		panic("no status " + text)
	}
	return syscall.WaitStatus(sig), true
}

// actionText writes actions as "Kill:TERM,Kill:CONT:tree,Report:Restarting:1s"; "-" is none.
func actionText(actions []Action) string {
	if len(actions) == 0 {
		return "-"
	}
	var words []string
	for _, a := range actions {
		word := doNames[a.Do]
		switch a.Do {
		case Kill, Suspend:
			word += ":" + strings.TrimPrefix(plan.SignalName(a.Signal), "SIG") + targetNames[a.Target]
		case Report:
			word += ":" + topicNames[a.Topic]
			if a.Topic == Restarting {
				word += ":" + a.Wait.String()
			}
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

// setup is what a machine is made with.
type setup struct {
	plan.Plan
	answers bool    // somebody waits for the first start
	jitter  float64 // from 0 to 1
}

// play is a machine with a clock of its own.
type play struct {
	t   *testing.T
	m   *Machine
	set *setup
	now time.Time
}

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

// newPlay has a PID file, decides at the first look and stops by the default schedule, unless
// set changes that.
func newPlay(t *testing.T, set func(*setup)) *play {
	t.Helper()
	s := &setup{}
	s.PIDFile = "/run/program.pid"
	s.Stop = schedule(t, plan.DefaultSchedule)
	if set != nil {
		set(s)
	}
	m := New(&s.Plan, s.answers, func() float64 { return s.jitter })
	return &play{t: t, m: m, set: s, now: noon}
}

func schedule(t *testing.T, text string) plan.Schedule {
	t.Helper()
	s, err := plan.ParseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// playRunning is a machine whose program runs and is up.
func playRunning(t *testing.T, settle time.Duration, stop string) *play {
	t.Helper()
	return playRuns(t, func(s *setup) {
		s.Settle, s.Stop, s.Restart = settle, schedule(t, stop), plan.Restart{}
	})
}

// happens lets an event happen now and compares the actions.
func (p *play) happens(event, want string) {
	p.t.Helper()
	if got := actionText(p.m.Handle(p.now, eventOf(event))); got != want {
		p.t.Fatalf("%v after noon, %s: got %s, want %s", p.now.Sub(noon), event, got, want)
	}
}

func (p *play) later(d time.Duration) { p.now = p.now.Add(d) }

// waits compares the time to the deadline; -1 is no deadline.
func (p *play) waits(want time.Duration) {
	p.t.Helper()
	switch at := p.m.Deadline(); {
	case at.IsZero() && want != never:
		p.t.Fatalf("%v after noon: no deadline, want one in %v", p.now.Sub(noon), want)
	case !at.IsZero() && at.Sub(p.now) != want:
		p.t.Fatalf("%v after noon: deadline in %v, want %v", p.now.Sub(noon), at.Sub(p.now), want)
	}
}

const never time.Duration = -1

// ticks goes to the deadline, which is that far away.
func (p *play) ticks(wait time.Duration, want string) {
	p.t.Helper()
	p.waits(wait)
	p.later(wait)
	p.happens("Ticked", want)
}

// launchIsDue has the tick come at once, which launches.
func (p *play) launchIsDue() {
	p.t.Helper()
	if at := p.m.Deadline(); at.IsZero() || at.After(p.now) {
		p.t.Fatalf("%v after noon: the deadline is %v, want it now", p.now.Sub(noon), at)
	}
	p.happens("Ticked", "Launch")
}

// sweeps lets time pass while descendants are left, and compares the actions at its end.
func (p *play) sweeps(d time.Duration, want string) {
	p.t.Helper()
	end := p.now.Add(d)
	for at := p.m.Deadline(); at.Before(end); at = p.m.Deadline() {
		p.ticks(at.Sub(p.now), "Survey")
		p.happens("Left", "-")
	}
	p.now = end
	got := strings.TrimSuffix(actionText(p.m.Handle(p.now, eventOf("Ticked"))), ",Survey")
	if got != want {
		p.t.Fatalf("%v after noon: got %s, want %s", p.now.Sub(noon), got, want)
	}
}

// ends checks how pidleash came to its end; the status is one of eventOf's.
func (p *play) ends(removed bool, signal syscall.Signal, status string) {
	p.t.Helper()
	p.waits(never)
	r := p.m.Result()
	want, _ := statusOf(status)
	if r.Removed != removed || r.Signal != signal || r.Status != want {
		p.t.Errorf("removed %v, signal %v, status %#x; want %v, %v, %#x", r.Removed, r.Signal, r.Status, removed, signal, want)
	}
	for i := range numKinds {
		p.happens(map[bool]string{true: "TERM", false: kindNames[i]}[i == Signaled], "-")
	}
}
