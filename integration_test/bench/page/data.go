// Package page makes docs/benchmarks.md and docs/benchmarks.svg of docs/benchmarks.json, and nothing else: a figure
// that was not measured has no way onto the page. The benchmarks write the file; a test of integration_test/docs makes
// page and chart again and compares.
package page

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// Data is what one run of the benchmarks has measured.
type Data struct {
	Machine    Machine     `json:"machine"`
	Contenders []Contender `json:"contenders"` // in the order of the tables
	Idle       []Idle      `json:"idle"`
}

// Machine says where, in words that name no one's machine.
type Machine struct {
	Kernel string   `json:"kernel"`
	Arch   string   `json:"arch"`
	Cores  int      `json:"cores"`
	Load   string   `json:"load"` // the average of the last minute before the run
	Go     string   `json:"go"`
	Flock  Times    `json:"flock"` // of a file that nobody else has: what others cost everybody who locks
	Rounds int      `json:"rounds"`
	Peers  []string `json:"peers"` // Debian's packages with their versions
}

// Contender is one way to run the program.
type Contender struct {
	Name    string           `json:"name"`
	Command string           `json:"command"`
	Times   map[string]Times `json:"times"` // by phase; what it cannot do is missing
	First   *Counts          `json:"first,omitempty"`
	Whole   *Counts          `json:"whole,omitempty"`
}

// Times are percentiles of N samples.
type Times struct {
	N   int           `json:"n"`
	P50 time.Duration `json:"p50"`
	P90 time.Duration `json:"p90"`
	P99 time.Duration `json:"p99"`
}

// Counts are figures that no noise touches: the median of some lives, in all processes of the wrapper. Those of PROGRAM
// are not in them.
type Counts struct {
	Faults   int `json:"faults"`   // minor page faults
	Threads  int `json:"threads"`  // made, beside the first one
	Switches int `json:"switches"` // voluntary
	Calls    int `json:"calls"`    // system calls
}

// Idle is what a keeper costs while nothing happens.
type Idle struct {
	Mode     string `json:"mode"`
	Threads  int    `json:"threads"`
	Private  int    `json:"private"`  // KiB of memory that is its own
	Switches int    `json:"switches"` // voluntary, in all looks
	Looks    int    `json:"looks"`
}

// The phases, by the names that they have in the file. What each is stands in the template.
const (
	Start   = "start"
	Signal  = "signal"
	Removal = "removal"
	End     = "end"
	Returns = "returns"
	Status  = "status"
	Stop    = "stop"
	List    = "list"
	Orphans = "orphans"
)

// Phases has them in the order of the tables.
var Phases = []string{Start, Signal, Removal, End, Returns, Status, Stop, List, Orphans}

// The contenders whom a ratio, a target or the chart names.
const (
	Tini    = "tini"
	Loop    = "inotifywait loop"
	Least   = "least Go wrapper"
	Library = "least Go with libraries"
	Threads = "the same, threads in advance"
	Watch   = "the same, a watch"
	Plain   = "pidleash"
	File    = "pidleash -pidfile"
	Daemon  = "pidleash -daemon"
)

// TimesOf sorts the samples.
func TimesOf(samples []time.Duration) Times {
	slices.Sort(samples)
	at := func(p int) time.Duration { return samples[(len(samples)-1)*p/100] }
	return Times{N: len(samples), P50: at(50), P90: at(90), P99: at(99)}
}

// Contender finds one by its name, or one that has measured nothing.
func (d *Data) Contender(name string) *Contender {
	for i := range d.Contenders {
		if d.Contenders[i].Name == name {
			return &d.Contenders[i]
		}
	}
	return &Contender{Name: name}
}

// Read is the file of a run.
func Read(path string) (*Data, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &Data{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Write is for Read.
func (d *Data) Write(path string) error {
	text, err := json.MarshalIndent(d, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
