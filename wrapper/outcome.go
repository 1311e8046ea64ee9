package wrapper

import "pidleash/internal/plan"

// End ends this process by the outcome's signal, or returns the code to exit with: as PID 1,
// which no signal of its own can end, 128+N for signal N.
func End(o plan.Outcome) int {
	if o.Signal != 0 {
		die(o.Signal)
	}
	return o.Code
}
