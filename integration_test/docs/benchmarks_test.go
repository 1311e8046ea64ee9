package docs

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"pidleash/integration_test/bed"
	"pidleash/integration_test/bench/page"
)

var update = flag.Bool("update", false, "make the pages and pictures again that are made from data or from a run")

// Page and chart say what a run has measured, and nothing else.
func TestBenchmarks(t *testing.T) {
	docs := bed.ModuleFile("docs")
	d, err := page.Read(docs + "/" + page.DataFile)
	bed.Must(t, err)
	if *update {
		bed.Must(t, page.Update(docs, d))
	}
	markdown, err := page.Markdown(d)
	bed.Must(t, err)
	for name, want := range map[string]string{page.PageFile: markdown, page.ChartFile: page.Chart(d)} {
		if bed.ReadFile(t, docs+"/"+name) != want {
			t.Errorf("docs/%s is not what docs/%s gives: go test ./integration_test/docs -run TestBenchmarks -update",
				name, page.DataFile)
		}
	}
	// Nobody wants to know where.
	file := regexp.MustCompile(`/(home|root|tmp|dev|usr|var|run)/[^ "]*`)
	if path := file.FindString(bed.ReadFile(t, docs+"/"+page.DataFile)); path != "" {
		t.Errorf("docs/%s names a file of the machine: %s", page.DataFile, path)
	}
}

// The chart is XML, with a bar for each of the contenders that a reader compares.
func TestBenchmarkChart(t *testing.T) {
	chart := bed.ReadFile(t, bed.ModuleFile("docs", page.ChartFile))
	for d := xml.NewDecoder(strings.NewReader(chart)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{page.Tini, "dumb-init", "catatonit", page.Library, page.Loop, page.File} {
		if !strings.Contains(chart, ">"+name+"<") {
			t.Errorf("the chart has no bar of %s", name)
		}
	}
	if strings.Contains(chart, "NaN") || strings.Contains(chart, "url(") {
		t.Error("the chart has no number, or fetches something")
	}
}

// What was not measured is never met.
func TestBenchmarkTargets(t *testing.T) {
	none, all := page.Targets(&page.Data{}), page.Targets(fast(1))
	for _, target := range none {
		if target.Verdict() != "not measured" {
			t.Errorf("%s: %s without any data", target.What, target.Verdict())
		}
	}
	for i, slow := range page.Targets(fast(100)) {
		if all[i].Verdict() != "met" || slow.Verdict() != "not met" {
			t.Errorf("%s: %s at a low figure (%s), %s at a high one (%s)",
				slow.What, all[i].Verdict(), all[i].Measured, slow.Verdict(), slow.Measured)
		}
	}
	if len(all) != len(none) {
		t.Errorf("%d targets, without data %d", len(all), len(none))
	}
}

// fast is a run in which pidleash takes so many units of time where others, and
// its own signal, take ten, and has as much of all that is counted. Its start
// is little slower than theirs: what is compared with it shall be slow, too.
func fast(units int) *page.Data {
	others, own := phases(10), phases(units)
	own[page.Start], own[page.Signal] = phases(10 + units/10)[page.Start], others[page.Signal]
	tail := own[page.End]
	tail.P99 *= time.Duration(units)
	own[page.End] = tail
	idle := page.Idle{Mode: "foreground", Threads: units, Private: 100 * units, Switches: units, Looks: 1}
	d := &page.Data{Idle: []page.Idle{idle}}
	for _, name := range []string{page.Tini, page.Loop, page.Least, page.Library} {
		d.Contenders = append(d.Contenders, page.Contender{Name: name, Times: others})
	}
	counts := &page.Counts{Faults: 10 * units, Threads: units}
	d.Contenders = append(d.Contenders,
		page.Contender{Name: page.File, Times: own},
		page.Contender{Name: page.Plain, Times: phases(units), First: counts},
		page.Contender{Name: page.Daemon, Times: phases(units)})
	return d
}

func phases(units int) map[string]page.Times {
	all := map[string]page.Times{}
	for _, phase := range page.Phases {
		d := time.Duration(units) * 100 * time.Millisecond
		all[phase] = page.Times{N: 1, P50: d, P90: d, P99: d}
	}
	return all
}
