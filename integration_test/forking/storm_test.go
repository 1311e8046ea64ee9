package forking

import (
	"fmt"
	"strings"
	"testing"

	"pidleash/integration_test/bed"
)

// The storm is of programs that end at once: such a start has kept systemctl
// waiting for the whole time limit of the unit.
const (
	stormTries = 1000
	stormBatch = 25
	stormUnit  = "[Service]\nType=forking\nTimeoutStartSec=60\nPIDFile=/run/lab/%p-%i.pid\nExecStart=/run/lab/pidleash -daemon -- "
)

// stormUnits are instantiated with 000 to 299, which is 0 to 3 ms to sleepers.
var stormUnits = map[string]string{
	"storm-true@.service":  stormUnit + "/bin/true\n",
	"storm-exit@.service":  stormUnit + "/bin/sh -c 'exit 3'\n",
	"storm-sleep@.service": stormUnit + "/bin/sleep 0.00%i\n",
	"storm-forks@.service": strings.Replace(stormUnit, "-daemon", "-daemon -forking", 1) + "/bin/sh -c 'sleep 0.00%i &'\n",
}

// TestForkingStorm proves that a program that ends at once never hangs its start.
func TestForkingStorm(t *testing.T) {
	machine := bed.BootSystemd(t, stormUnits)
	kinds := []string{"storm-true@", "storm-exit@", "storm-sleep@", "storm-forks@"}
	for first := 0; first < stormTries && !t.Failed(); first += stormBatch {
		var batch []string
		for i := first; i < first+stormBatch; i++ {
			batch = append(batch, fmt.Sprintf("%s%03d.service", kinds[i%len(kinds)], i*3/10))
		}
		machine.Storm(t, batch)
	}
	if out, _ := machine.Run(t, "find", "/run/lab", "-name", "storm-*"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
}
