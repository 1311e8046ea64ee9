package main

import (
	"fmt"
	"regexp"
	"strings"
)

// protection is one entry of the list: a piece of a source that can be taken away.
type protection struct {
	what      string // is protected
	file      string
	old, new  string
	pack, run string // the tests that go red without it
	line      int    // in the list
}

// parse reads the list. An entry ends at an empty line:
//
//	# what is protected
//	in FILE
//	red PACKAGE TESTS
//	-the text as it is
//	+the text that breaks it
//
// TESTS is what -run takes. The old text, of one line or several, is in the file once.
func parse(text string) (all []protection, err error) {
	var p protection
	end := func() {
		if err == nil && p != (protection{}) {
			err = p.check()
			all = append(all, p)
		}
		p = protection{}
	}
	for i, line := range strings.Split(text, "\n") {
		if line == "" {
			end()
			continue
		}
		if p == (protection{}) {
			p.line = i + 1
		}
		switch word, rest, _ := strings.Cut(line, " "); {
		case line[0] == '-':
			p.old += line[1:] + "\n"
		case line[0] == '+':
			p.new += line[1:] + "\n"
		case word == "#":
			p.what = rest
		case word == "in":
			p.file = rest
		case word == "red":
			p.pack, p.run, _ = strings.Cut(rest, " ")
		default:
			return nil, fmt.Errorf("%s:%d: %q begins nothing", list, i+1, line)
		}
	}
	end()
	return all, err
}

func (p *protection) check() error {
	p.old, p.new = strings.TrimSuffix(p.old, "\n"), strings.TrimSuffix(p.new, "\n")
	_, err := regexp.Compile(p.run)
	if err != nil || p.what == "" || p.file == "" || p.run == "" || p.old == "" || p.old == p.new {
		return fmt.Errorf("%s:%d: an entry is not complete", list, p.line)
	}
	return nil
}

// breakIn is the source without the protection.
func (p *protection) breakIn(source string) (string, error) {
	if n := strings.Count(source, p.old); n != 1 {
		return "", fmt.Errorf("%s:%d: %s has its text %d times", list, p.line, p.file, n)
	}
	return strings.Replace(source, p.old, p.new, 1), nil
}
