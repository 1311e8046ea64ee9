package signals

import (
	"fmt"
	"syscall"
	"testing"

	"pidleash/integration_test/bed"
)

// rotate gives every signal another one.
func rotate(all []syscall.Signal) (to map[syscall.Signal]syscall.Signal, options []string) {
	to = map[syscall.Signal]syscall.Signal{}
	for i, from := range all {
		to[from] = all[(i+7)%len(all)]
		options = append(options, "-rewrite", fmt.Sprintf("%d:%d", int(from), int(to[from])))
	}
	return to, options
}

// Every signal in every mode, rewritten or not: who gets which.
func TestSignalMatrix(t *testing.T) {
	t.Parallel()
	all := bed.ForwardedSignals()
	rotated, rewrites := rotate(all)
	for mode, who := range map[string][]string{
		"process": {"program"},
		"mixed":   {"program"},
		"group":   {"program", "same"},
		"tree":    {"program", "same", "session"},
	} {
		for name, options := range map[string][]string{"as sent": nil, "rewritten": rewrites} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				f := bed.StartFamily(t, bed.How{}, bed.InMode(mode, options...), "program", "same", "session")
				send := func(sig syscall.Signal) {
					f.Signal(sig)
					if options != nil {
						sig = rotated[sig]
					}
					var want []string
					for _, one := range who {
						want = append(want, fmt.Sprintf("%s %d", one, int(sig)))
					}
					f.Told(t, want...)
				}
				for _, sig := range all {
					send(sig)
				}
				// By now whatever too many had was sent.
				send(syscall.SIGUSR1)
				f.Untouched(t, "program", "same", "session")
				f.Tell(t, "exit 0")
				f.Wait(t)
				f.ExpectQuiet(t)
			})
		}
	}
}
