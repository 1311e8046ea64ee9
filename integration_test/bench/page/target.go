package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Target is a limit that pidleash has set itself, and what was measured.
type Target struct {
	What     string
	Limit    string
	Measured string
	Met      bool
}

// Verdict is the word for it.
func (t Target) Verdict() string {
	switch {
	case t.Measured == "":
		return "not measured"
	case t.Met:
		return "met"
	}
	return "not met"
}

// Targets compares a run with all of them.
func Targets(d *Data) (list []Target) {
	plain, file := d.Contender(Plain), d.Contender(File)
	least, library := d.Contender(Least), d.Contender(Library)
	if c := plain.First; c != nil {
		list = append(list,
			atMost("start: minor faults", 330, "", c.Faults),
			atMost("start: threads made", 6, "", c.Threads))
	}
	own, loop := file.Times[Signal], d.Contender(Loop).Times[Removal]
	list = append(list,
		p50(Start, plain.Times[Start], 1.10, Library, library.Times[Start]),
		p50(Signal, plain.Times[Signal], 1, Least, least.Times[Signal]),
		p99(Signal, plain.Times[Signal], 1, Least, least.Times[Signal]),
		p50("removal, -settle 0", file.Times[Removal], 2, "its own signal", own),
		p99("removal, -settle 0", file.Times[Removal], 2, "its own signal", own),
		p50("removal, -settle 0", file.Times[Removal], 0.5, Loop, loop),
		p99("removal, -settle 0", file.Times[Removal], 0.5, Loop, loop),
		p50("end without a file", plain.Times[End], 1.05, Library, library.Times[End]),
		p50("end with a file", file.Times[End], 1.2, Library, library.Times[End]),
		ratio("end with a file, p99", file.Times[End].P99, 2, "its p50", file.Times[End].P50),
		ratio("-daemon until it returns", d.Contender(Daemon).Times[Returns].P50, 1.3, "two starts", 2*file.Times[Start].P50),
		p50("10,000 orphans", plain.Times[Orphans], 1, Tini, d.Contender(Tini).Times[Orphans]))
	if len(d.Idle) > 0 {
		list = append(list,
			worst(d, "voluntary switches in a look", 10, "", func(i Idle) int { return (i.Switches + i.Looks - 1) / i.Looks }),
			worst(d, "private memory", 1126, " KiB", func(i Idle) int { return i.Private }), // 1.1 MiB
			worst(d, "threads", 7, "", func(i Idle) int { return i.Threads }))
	}
	start := file.Times[Start]
	return append(list,
		p50(Status, file.Times[Status], 1.2, "a start", start),
		p50(Stop, file.Times[Stop], 1.2, "a start", start),
		list20000(file.Times[List]))
}

// worst is about the mode that has most of it: the target is for every mode.
func worst(d *Data, what string, limit int, unit string, of func(Idle) int) Target {
	most := slices.MaxFunc(d.Idle, func(a, b Idle) int { return cmp.Compare(of(a), of(b)) })
	return atMost(fmt.Sprintf("idle: %s (most: %s)", what, most.Mode), limit, unit, of(most))
}

func list20000(t Times) Target {
	target := Target{What: "list of 20,000 files", Limit: "1 s", Met: t.P50 <= time.Second}
	if t.N > 0 {
		target.Measured = duration(t.P50)
	}
	return target
}

func atMost(what string, limit int, unit string, measured int) Target {
	return Target{what, fmt.Sprint(limit, unit), fmt.Sprint(measured, unit), measured <= limit}
}

func p50(what string, t Times, limit float64, name string, base Times) Target {
	return ratio(what, t.P50, limit, name, base.P50)
}

func p99(what string, t Times, limit float64, name string, base Times) Target {
	return ratio(what+", p99", t.P99, limit, name, base.P99)
}

func ratio(what string, t time.Duration, limit float64, name string, base time.Duration) Target {
	target := Target{What: what, Limit: fmt.Sprintf("%.4g × %s", limit, name)}
	if t > 0 && base > 0 {
		measured := float64(t) / float64(base)
		target.Measured, target.Met = fmt.Sprintf("%.2f ×", measured), measured <= limit
	}
	return target
}
