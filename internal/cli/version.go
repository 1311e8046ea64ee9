package cli

import "runtime/debug"

// version is what the Go command knows of the source: a tag, or the commit with its time.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
