package safeopen

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"pidleash/internal/fault"
	"pidleash/internal/sys"
)

// walk is a way along a path, by descriptors.
type walk struct {
	path     string   // for messages
	dir      int      // the directory that was reached, O_PATH
	rest     []string // the elements that are left; at the end one, that of the file
	links    []link   // what they lead to has not been reached
	followed int      // how many links were followed
	magic    bool     // the last element is a link of the kernel's, which has no text to follow
	allRoots bool     // root owns every directory so far
}

// link is a symbolic link of another user than root.
type link struct {
	name  string
	owner uint32
	left  int // how many elements are left where it leads to
}

// maxLinks is the kernel's limit, path_resolution(7).
const maxLinks = 40

// reach walks to the directory of what is at the path. If there is no link on the way one call does it, from Linux
// 5.6 on, where no filter of system calls refuses that.
func reach(path string) (*walk, error) {
	dir, name := split(path)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	switch fd, err := sys.Openat2(unix.AT_FDCWD, dir, &how); err {
	case nil:
		return &walk{path: path, dir: fd, rest: []string{name}}, nil
	case unix.ELOOP, unix.ENOSYS, unix.EPERM, unix.EACCES, unix.EINVAL:
		return walkTo(path)
	default:
		return nil, err
	}
}

// walkTo is reach, one element after the other.
func walkTo(path string) (*walk, error) {
	w := &walk{path: path, dir: -1, rest: elements(path), allRoots: true}
	err := w.enter(openat(unix.AT_FDCWD, start(path), unix.O_PATH|unix.O_DIRECTORY, 0))
	for err == nil && len(w.rest) > 1 {
		err = w.step()
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *walk) close() { unix.Close(w.dir) }

// start is the directory at which a path begins.
func start(path string) string {
	if strings.HasPrefix(path, "/") {
		return "/"
	}
	return "."
}

// elements are those of a path. A slash at the end means the directory itself, path_resolution(7).
func elements(path string) (list []string) {
	for e := range strings.SplitSeq(path, "/") {
		if e != "" {
			list = append(list, e)
		}
	}
	if len(list) == 0 || strings.HasSuffix(path, "/") {
		list = append(list, ".")
	}
	return list
}

// step enters the next element, a directory, or follows it, a link.
func (w *walk) step() error {
	fd, err := openat(w.dir, w.rest[0], unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == unix.ENOTDIR || err == unix.ELOOP {
		return w.follow()
	}
	if err == nil {
		w.rest = w.rest[1:]
	}
	return w.enter(fd, err)
}

// enter makes an open directory the one that was reached.
func (w *walk) enter(fd int, err error) error {
	if err != nil {
		return err
	}
	st, err := stat(fd)
	if err == nil {
		err = w.arrive(&st, len(w.rest))
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	if w.dir >= 0 {
		w.close()
	}
	w.dir, w.allRoots = fd, w.allRoots && st.Uid == 0
	return nil
}

// arrive refuses what links lead to if their owners do not own it. left is how many elements are left there.
func (w *walk) arrive(st *unix.Stat_t, left int) error {
	for n := len(w.links); n > 0 && w.links[n-1].left == left; n-- {
		l := w.links[n-1]
		if l.owner != st.Uid {
			problem := fmt.Sprintf("symbolic link %s of user %d leads to what is not that user's", l.name, l.owner)
			return &fault.Error{Problem: problem, Hint: "name the file without it, or have root own the link"}
		}
		w.links = w.links[:n-1]
	}
	return nil
}

// follow puts the text of a link in the place of the next element, which is ENOTDIR if it is none.
func (w *walk) follow() error {
	name := w.rest[0]
	fd, err := openat(w.dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	st, err := stat(fd)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return unix.ENOTDIR
	}
	if w.followed++; w.followed > maxLinks {
		return unix.ELOOP
	}
	if st.Uid != 0 {
		w.links = append(w.links, link{name, st.Uid, len(w.rest) - 1})
	}
	if isOfProc(fd) {
		return w.jump()
	}
	buf := make([]byte, unix.PathMax)
	n, err := sys.Readlinkat(fd, "", buf)
	if err != nil {
		return err
	}
	return w.expand(string(buf[:n]))
}

func (w *walk) expand(text string) error {
	list := elements(text)
	if len(w.rest) > 1 && list[len(list)-1] == "." && len(list) > 1 {
		list = list[:len(list)-1] // a slash at the end, with more behind it
	}
	w.rest = append(list, w.rest[1:]...)
	if start(text) != "/" {
		return nil
	}
	return w.enter(openat(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0))
}

// jump goes where the kernel leads to, proc_pid_fd(5): the text of such a link is no path.
func (w *walk) jump() error {
	fd, err := openat(w.dir, w.rest[0], unix.O_PATH, 0)
	if err != nil {
		return err
	}
	st, err := stat(fd)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if w.rest = w.rest[1:]; len(w.rest) == 0 {
			w.rest = []string{"."}
		}
		return w.enter(fd, nil)
	}
	unix.Close(fd)
	if err == nil && len(w.rest) > 1 {
		err = unix.ENOTDIR
	}
	w.magic = true
	return err
}

func isOfProc(fd int) bool {
	var fs unix.Statfs_t
	return sys.Fstatfs(fd, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}

// toTarget walks on to the directory of what the last element leads to.
func (w *walk) toTarget() error {
	for !w.magic {
		var st unix.Stat_t
		if sys.Fstatat(w.dir, w.rest[0], &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return nil // to open it says why
		}
		if err := w.follow(); err != nil {
			return err
		}
		for len(w.rest) > 1 {
			if err := w.step(); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens the last element.
func (w *walk) open(flags int, mode uint32) (fd int, st unix.Stat_t, err error) {
	if !w.magic { // all links but those that only the kernel can follow were followed
		flags |= unix.O_NOFOLLOW
	}
	if fd, err = openat(w.dir, w.rest[0], flags, mode); err != nil {
		return fd, st, err
	}
	if st, err = stat(fd); err == nil {
		err = w.arrive(&st, 0)
	}
	return fd, st, err
}

// openTarget opens what the last element leads to.
func (w *walk) openTarget(flags int) (fd int, st unix.Stat_t, err error) {
	if err := w.toTarget(); err != nil {
		return -1, st, err
	}
	return w.open(flags, 0)
}

func stat(fd int) (st unix.Stat_t, err error) {
	err = sys.Fstat(fd, &st)
	return st, err
}
