package plan

import (
	"syscall"
	"testing"
)

// statusExit and statusSignal are what wait(2) reports, in the kernel's form.
func statusExit(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }

func statusSignal(sig syscall.Signal) syscall.WaitStatus { return syscall.WaitStatus(sig) }

const coreDumped = 0x80

func TestOutcome(t *testing.T) {
	success := func(codes ...int) *Plan {
		c := &Plan{}
		for _, code := range codes {
			c.Success[code] = true
		}
		return c
	}
	removedExit := func(c *Plan, code int) *Plan { c.RemovedExit = &code; return c }
	code := func(n int) Outcome { return Outcome{Code: n} }
	death := func(sig syscall.Signal) Outcome { return Outcome{Code: 128 + int(sig), Signal: sig} }

	for _, c := range []struct {
		name      string
		cfg       *Plan
		status    syscall.WaitStatus
		byRemoval bool
		want      Outcome
	}{
		{"its own code", success(), statusExit(3), false, code(3)},
		{"success", success(), statusExit(0), false, code(0)},
		{"the largest code", success(), statusExit(255), false, code(255)},
		{"a code that looks like a signal", success(), statusExit(143), false, code(143)},
		{"a signal", success(), statusSignal(syscall.SIGTERM), false, death(syscall.SIGTERM)},
		{"a signal with a core", success(), statusSignal(syscall.SIGSEGV) | coreDumped, false, death(syscall.SIGSEGV)},
		{"the largest signal", success(), statusSignal(64), false, death(64)},
		{"stopped by removal, a code", success(), statusExit(3), true, code(3)},
		{"stopped by removal, a signal", success(), statusSignal(syscall.SIGKILL), true, death(syscall.SIGKILL)},

		{"a code that is a success", success(3), statusExit(3), false, code(0)},
		{"another code", success(3), statusExit(4), false, code(4)},
		{"143 is also death by TERM", success(143), statusSignal(syscall.SIGTERM), false, code(0)},
		{"143 is also the JVM's code", success(143), statusExit(143), false, code(0)},
		{"139 is also a SEGV with a core", success(139), statusSignal(syscall.SIGSEGV) | coreDumped, false, code(0)},
		{"192 is death by 64", success(192), statusSignal(64), false, code(0)},
		{"a success after a removal", success(143), statusSignal(syscall.SIGTERM), true, code(0)},

		{"removed-exit", removedExit(success(), 0), statusSignal(syscall.SIGTERM), true, code(0)},
		{"removed-exit wins over the code", removedExit(success(), 7), statusExit(3), true, code(7)},
		{"removed-exit wins over success", removedExit(success(3), 7), statusExit(3), true, code(7)},
		{"removed-exit wins over a clean end", removedExit(success(), 7), statusExit(0), true, code(7)},
		{"removed-exit without a removal", removedExit(success(), 7), statusExit(3), false, code(3)},
		{"removed-exit is no code of -success", removedExit(success(7), 7), statusExit(3), true, code(7)},
	} {
		if got := c.cfg.OutcomeOf(c.status, c.byRemoval); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
