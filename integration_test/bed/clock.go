package bed

import (
	"slices"
	"sync"
	"time"

	"pidleash/watch"
)

// ByEvent is how soon after a removal PROGRAM must have been stopped for an
// event to be the cause: events take microseconds, the second look SlowPoll. It is
// compared with Since.
const ByEvent = watch.SlowPoll - time.Second

// beat is how often the tests look whether they are let run.
const beat = 10 * time.Millisecond

// stalls are the times in which they were not: what keeps the tests from running on
// a busy machine keeps pidleash, too.
var stalls struct {
	sync.Mutex
	all []stall
}

type stall struct {
	end  time.Time
	late time.Duration
}

// recordStalls goes on for ever.
func recordStalls() {
	for last := time.Now(); ; {
		time.Sleep(beat)
		now := time.Now()
		if late := now.Sub(last) - beat; late > beat {
			stalls.Lock()
			stalls.all = append(stalls.all, stall{now, late})
			stalls.Unlock()
		}
		last = now
	}
}

// Since is time.Since without the stalls.
func Since(begin time.Time) time.Duration {
	took := time.Since(begin)
	stalls.Lock()
	defer stalls.Unlock()
	for _, s := range slices.Backward(stalls.all) {
		if s.end.Before(begin) {
			break
		}
		took -= s.late
	}
	return took
}
