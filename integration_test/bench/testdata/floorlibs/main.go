// Floorlibs is floor with the three libraries of pidleash linked in: the limit for a program that has them. With
// a program alone it calls none of them, so that what they add is what their packages do before main, and their size.
// Without arguments it calls all three; therefore the linker keeps them, as in pidleash.
//
//	floorlibs -threads PROGRAM      makes as many threads in advance as pidleash does
//	floorlibs -watch FILE PROGRAM   writes the file, and sends TERM when package notify has told of its removal
package main

import (
	"os"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/rjeczalik/notify"
	"github.com/urfave/cli/v2"

	"pidleash/integration_test/bench/testdata/least"
	"pidleash/internal/reserve"
)

func main() {
	switch words := os.Args[1:]; {
	case len(words) == 0:
		os.Exit(use())
	case words[0] == "-threads":
		least.Wrap(words[1:], func() { reserve.Threads(0) }, nil)
	case words[0] == "-watch":
		least.Wrap(words[2:], nil, func(pid int) { watch(words[1], pid) })
	default:
		least.Wrap(words, nil, nil)
	}
}

// watch has as many goroutines between the event and the signal as it must.
func watch(file string, pid int) {
	if os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644) != nil {
		os.Exit(125)
	}
	hints := make(chan notify.EventInfo, 1)
	if notify.Watch(file, hints, notify.InAttrib, notify.InDeleteSelf, notify.InMoveSelf) != nil {
		os.Exit(125)
	}
	go func() {
		for range hints {
			if _, err := os.Lstat(file); err != nil {
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
		}
	}()
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
