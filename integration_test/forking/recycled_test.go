package forking

import (
	"testing"

	"pidleash/integration_test/bed"
)

// succeeding writes its PID to $0. At HUP the same script takes over, in a session of its own.
const succeeding = `trap 'kill $!; setsid sh -c "$1" "$0" "$1" & exit' HUP
echo $$ >"$0.new"; mv "$0.new" "$0"
sleep 1000 & wait`

// recycling gives the PID of the first daemon to a stranger that leads a session, after another daemon has succeeded it.
const recycling = `"$@" || exit; read first <"$0"; kill -HUP $first
until grep -q "succeeded by" "$0.log" && ! kill -0 $first; do sleep 0.01; done 2>"$0.err"
while echo $((first - 1)) >/proc/sys/kernel/ns_last_pid; do
	setsid sleep 1000 & [ $! != $first ] || break; kill $!
done
until read -r name </proc/$first/comm && [ "$name" = sleep ]; do sleep 0.01; done
"$1" stop "$0"; kill -0 $first && echo "the stranger lives"; kill $first`

// A session's number is free when nobody is left in it. Who gets it next is no descendant, and is not stopped.
func TestPredecessorsNumberIsRecycled(t *testing.T) {
	t.Parallel()
	bed.NeedRoot(t)
	file := bed.OpenDir(t) + "/p.pid"
	h := bed.How{Before: append(needUnshare(t), "sh", "-c", recycling, file)}
	r := bed.Start(t, h, "-daemon", "-forking", "-log-level", "info", "-stderr", file+".log", "-pidfile", file,
		"sh", "-c", `setsid sh -c "$1" "$0" "$1" &`, file, succeeding)
	r.Expect(t, "the stranger lives")
}
