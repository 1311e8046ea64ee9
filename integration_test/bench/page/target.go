package page

import (
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
	var faults, threads []int
	for _, c := range []*Contender{plain, file} {
		if c.First != nil {
			faults, threads = append(faults, c.First.Faults), append(threads, c.First.Threads)
		}
	}
	list = append(list, atMost("start: minor faults", 330, "", faults), atMost("start: threads made", 6, "", threads))
	own, loop := file.Times[Signal], d.Contender(Loop).Times[Removal]
	list = append(list,
		p50("start without a file", plain.Times[Start], 1.10, Library, library.Times[Start]),
		p50("start with a file", file.Times[Start], 1.10, Library, library.Times[Start]),
		p50(Signal, plain.Times[Signal], 1, Least, least.Times[Signal]),
		p99(Signal, plain.Times[Signal], 1, Least, least.Times[Signal]),
		p50("removal, -settle 0", file.Times[Removal], 2, "its own signal", own),
		p99("removal, -settle 0", file.Times[Removal], 2, "its own signal", own),
		p50("removal, -settle 0", file.Times[Removal], 0.5, Loop, loop),
		p99("removal, -settle 0", file.Times[Removal], 0.5, Loop, loop),
		p50("end without a file", plain.Times[End], 1.05, Library, library.Times[End]),
		p50("end with a file", file.Times[End], 1.2, Library, library.Times[End]),
		ratio("end with a file, p99", file.Times[End].P99, 2, "its p50", file.Times[End].P50),
		ratio("-daemon until it returns", d.Contender(Daemon).Times[Returns].P50, 1.3, "two starts",
			2*file.Times[Start].P50),
		p50("10,000 orphans", plain.Times[Orphans], 1, Tini, d.Contender(Tini).Times[Orphans]))
	list = append(list, idle(d.Idle)...)
	start := file.Times[Start]
	return append(list,
		p50(Status, file.Times[Status], 1.2, "a start", start),
		p50(Stop, file.Times[Stop], 1.2, "a start", start),
		list20000(file.Times[List]))
}

// idle is about the mode that has most of it: the targets are for every mode.
func idle(modes []Idle) []Target {
	var switches, private, threads []int
	for _, i := range modes {
		switches = append(switches, (i.Switches+i.Looks-1)/i.Looks)
		private, threads = append(private, i.Private), append(threads, i.Threads)
	}
	return []Target{
		atMost("idle, any mode: voluntary switches in a look", 10, "", switches),
		atMost("idle, any mode: private memory", 1126, " KiB", private), // 1.1 MiB
		atMost("idle, any mode: threads", 7, "", threads),
	}
}

func list20000(t Times) Target {
	target := Target{What: "list of 20,000 files", Limit: "1 s", Met: t.P50 <= time.Second}
	if t.N > 0 {
		target.Measured = duration(t.P50)
	}
	return target
}

// atMost is met if all are.
func atMost(what string, limit int, unit string, measured []int) Target {
	target := Target{What: what, Limit: fmt.Sprint(limit, unit)}
	if len(measured) > 0 {
		most := slices.Max(measured)
		target.Measured, target.Met = fmt.Sprint(most, unit), most <= limit
	}
	return target
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
