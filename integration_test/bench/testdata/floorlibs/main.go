// Floorlibs is floor with the three libraries of pidleash linked in: the limit for a program that has them. With
// arguments it calls none of them, so that what they add is what their packages do before main, and their size.
// Without arguments it calls all three; therefore the linker keeps them, as in pidleash.
package main

import (
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/rjeczalik/notify"
	"github.com/urfave/cli/v2"

	"pidleash/integration_test/bench/testdata/least"
)

func main() {
	if len(os.Args) < 2 {
		os.Exit(use())
	}
	least.Wrap()
}

// use is what pidleash has of the libraries: a command line, a watch, a message.
func use() int {
	log := hclog.New(&hclog.LoggerOptions{Name: "floorlibs"})
	app := &cli.App{Name: "floorlibs", Action: func(*cli.Context) error {
		hints := make(chan notify.EventInfo, 1)
		defer notify.Stop(hints)
		return notify.Watch(os.Args[0], hints, notify.InAttrib, notify.InDeleteSelf, notify.InMoveSelf)
	}}
	if err := app.Run(os.Args); err != nil {
		log.Error("watch", "error", err)
	}
	return 125
}
