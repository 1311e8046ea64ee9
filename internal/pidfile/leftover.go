package pidfile

import (
	"os"
	"path/filepath"

	"pidleash/internal/sys"
)

// RemoveStale removes what a start or a program that was killed has left at a path: a path lock and hidden files that
// nobody has, and the file, if it names nobody who runs and nobody has locked it. Another file stays, and is no
// error. own is as in New.
func RemoveStale(path string, own ...Own) error {
	removePathLock(path)
	removeHidden(path, own)
	file, _, err := lockStale(path, own)
	if err != nil {
		return nil
	}
	if file.isStrange() { // only who has locked the path may remove it
		file.close()
		return nil
	}
	return file.clear(path)
}

// removePathLock removes a path lock that nobody has, and reports that there was one.
func removePathLock(path string) bool {
	left := &PathLock{Path: path, fd: -1}
	if _, err := identityAt(lockPath(path)); err != nil || left.lock() != nil {
		return false
	}
	return left.Release() == nil
}

// hasHidden reports that there may be something for removeHidden.
func hasHidden(path string) bool {
	dir, base := filepath.Split(path)
	_, file := identityAt(dir + firstHidden(base))
	_, lock := identityAt(dir + firstHidden(filepath.Base(lockPath(path))))
	return file == nil || lock == nil
}

// removeHidden removes what has been left under the hidden names of a path and of its lock, by the same rules as a
// stale file: what somebody has locked is in use, and another's file may be there because it could not go back.
func removeHidden(path string, own []Own) {
	dir, base := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir)) // whoever cannot read it leaves them there
	for _, entry := range entries {
		name := entry.Name()
		if !isHiddenOf(name, base) && !isHiddenOf(name, filepath.Base(lockPath(path))) {
			continue
		}
		hidden := dir + name
		if file, _, err := lockStale(hidden, own); err == nil && file != nil {
			if !file.isStrange() {
				_ = sys.Unlink(hidden)
			}
			file.close()
		}
	}
}
