package sdnotify

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// IsJournal reports that the descriptor is the journal's socket, as systemd says with its device and inode;
// systemd.exec(5), $JOURNAL_STREAM.
func IsJournal(fd int) bool {
	dev, ino, ok := strings.Cut(os.Getenv("JOURNAL_STREAM"), ":")
	var st unix.Stat_t
	if !ok || unix.Fstat(fd, &st) != nil {
		return false
	}
	return dev == strconv.FormatUint(uint64(st.Dev), 10) && ino == strconv.FormatUint(st.Ino, 10)
}
