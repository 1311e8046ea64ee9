package exit

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// elf is the head of an object file for another machine, elf(5). It is no program, so that binfmt_misc does not have
// an emulator run it.
func elf(machine byte, bigEndian bool) string {
	head := []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 57))
	head[16], head[18], head[20] = 1, machine, 1
	if bigEndian {
		head[5], head[16], head[17], head[18], head[19] = 2, 0, 1, 0, machine
	}
	return string(head)
}

// unfit are files that the kernel does not execute, and the reasons that a message gives. DIR is the directory of
// the case.
var unfit = []struct {
	name, content, line string
}{
	{"CRLF", "#!/bin/sh\r\necho ran\r\n",
		`DIR/p: its lines end in CRLF, so that its interpreter /bin/sh is not found; hint: sed -i 's/\\r\$//' DIR/p`},
	{"CRLF with a space", "#! /bin/sh\r\necho ran\r\n", `DIR/p: its lines end in CRLF, .* /bin/sh is not found; hint: sed`},
	{"CRLF is not all", "#!/no/such/interpreter -x\r\n", `DIR/p: its interpreter /no/such/interpreter is missing: .*; hint: install it`},
	{"arm64", elf(183, false), "DIR/p: is for arm64, and this machine is MACHINE; hint: install it for MACHINE"},
	{"s390x", elf(22, true), "DIR/p: is for s390x, and this machine is MACHINE; hint: install it for MACHINE"},
	{"sparc", elf(2, true), `DIR/p: is for machine 2 of elf\(5\), and this machine is MACHINE; hint: install it for MACHINE`},
	{"Windows", "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\n", "DIR/p: cannot be executed: exec format error; hint: it is neither a script nor a program for this machine"},
	{"archive", "\x1f\x8b\x08\x00\x00\x00\x00\x00", "DIR/p: cannot be executed: exec format error; hint: it is neither"},
	{"damaged", "\x7fELF\x02\x01\x01\x00", "DIR/p: cannot be executed: exec format error; hint: it is neither"},
}

// What the kernel does not execute is not read by /bin/sh when it is no text, in any mode, and the line has the true
// reason.
func TestUnfit(t *testing.T) {
	t.Parallel()
	for _, c := range unfit {
		for _, mode := range bed.StartModes {
			t.Run(c.name+" "+mode.Name, func(t *testing.T) {
				t.Parallel()
				if runtime.GOARCH == c.name {
					t.Skip("this machine's")
				}
				a := bed.NewAttempt(t)
				bed.WriteFile(t, a.Other+"/p", c.content, 0o755)
				a.How.Dir = a.Other
				line := "^pidleash: " + strings.NewReplacer("DIR", a.Other, "MACHINE", runtime.GOARCH).Replace(c.line)
				for _, program := range []string{a.Other + "/p", "p"} {
					a.Program, a.How.Env = []string{program, "x"}, []string{"PATH=" + a.Other}
					r := a.Start(t, mode)
					bed.Conclusion{Code: 126, Line: line}.Expect(t, r)
					if text := r.Rest(t); text != "" {
						t.Errorf("standard output has %q", text)
					}
					bed.ExpectEmptyDir(t, a.Dir)
				}
				bed.ExpectFiles(t, a.Other, "p")
			})
		}
	}
}

// A text without "#!" is for /bin/sh, whatever comes after its first line: many installers have an archive there.
func TestTextBeforeArchive(t *testing.T) {
	t.Parallel()
	for _, mode := range bed.StartModes[:1] {
		a := bed.NewAttempt(t)
		bed.WriteFile(t, a.Other+"/p", "echo good\nexit 3\n\x00\x01\x02\x7fELF", 0o755)
		a.Program = []string{a.Other + "/p"}
		r := a.Start(t, mode)
		r.Expect(t, "good")
		r.ExpectCode(t, 3)
	}
}

// Where it is a directory that bars the way, chmod +x does not help.
func TestBarred(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	for _, mode := range bed.StartModes {
		t.Run(mode.Name, func(t *testing.T) {
			t.Parallel()
			a := bed.NewAttempt(t)
			inner := a.Other + "/locked/in"
			bed.Must(t, os.MkdirAll(inner, 0o755))
			bed.WriteFile(t, inner+"/p", good, 0o755)
			bed.Must(t, os.Chmod(filepath.Dir(inner), 0o700))
			a.How.Attr = bed.AsNobody().Attr
			barred := "hint: user 65534 may not enter directory " + filepath.Dir(inner) + "\n"
			for _, program := range []string{inner + "/p", "p"} {
				a.Program, a.How.Env = []string{program}, []string{"PATH=" + inner}
				line := "^pidleash: " + inner + "/p: cannot be executed: permission denied; " + barred
				bed.Conclusion{Code: 126, Line: line}.Expect(t, a.Start(t, mode))
			}
			a.Program, a.How.Env = []string{"true"}, nil
			for _, dir := range []string{inner, filepath.Dir(inner)} {
				a.Options, a.How.Env = []string{"-chdir", dir}, nil
				line := "^pidleash: directory " + dir + ": cannot be entered: permission denied; " + barred
				bed.Conclusion{Code: 125, Line: line}.Expect(t, a.Start(t, mode))
			}
			bed.ExpectEmptyDir(t, a.Dir)
		})
	}
}
