package cli

import (
	"errors"
	"io/fs"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"pidleash/internal/plan"
	"pidleash/internal/reserve"
)

// setUser reads "USER" or "USER:GROUP", by name or number. Without the C library there are the users of /etc/passwd
// and /etc/group only. A number that is not there needs a group, and has no home directory. Package os offers these
// files to Go's poller: if there are no descriptors for that, the runtime ends the process.
func setUser(c *command, value string) error {
	if err := reserve.Descriptors(); err != nil {
		return err
	}
	name, group, hasGroup := strings.Cut(value, ":")
	id, isNumber := parseID(name)
	u := &plan.User{Name: name, UID: id}
	lookUp := user.Lookup
	if isNumber {
		lookUp = user.LookupId
	}
	entry, err := lookUp(name)
	switch {
	case err == nil:
		u.UID, _ = parseID(entry.Uid)
		u.GID, _ = parseID(entry.Gid)
		c.userEnv = map[string]string{"HOME": entry.HomeDir, "LOGNAME": entry.Username, "USER": entry.Username}
		ids, err := entry.GroupIds()
		if err != nil {
			return err
		}
		for _, text := range ids {
			if id, _ := parseID(text); !hasGroup || id != u.GID { // GROUP takes the place of that one
				u.Groups = append(u.Groups, id)
			}
		}
	case isUnreadable(err):
		return err
	case !isNumber:
		return errors.New("no such user in /etc/passwd")
	case !hasGroup:
		return errors.New("no such user in /etc/passwd, so its group must be given")
	}
	if hasGroup {
		if u.GID, err = lookUpGroup(group); err != nil {
			return err
		}
		if !slices.Contains(u.Groups, u.GID) {
			u.Groups = append(u.Groups, u.GID)
		}
	}
	c.config.User = u
	return nil
}

// isUnreadable reports whether the file exists but could not be read. Whether it lists the name or number is then
// unknown.
func isUnreadable(err error) bool {
	var e *fs.PathError
	return errors.As(err, &e) && !errors.Is(err, fs.ErrNotExist)
}

func lookUpGroup(name string) (uint32, error) {
	id, isNumber := parseID(name)
	if !isNumber {
		group, err := user.LookupGroup(name)
		switch {
		case isUnreadable(err):
			return 0, err
		case err != nil:
			return 0, errors.New("no such group in /etc/group")
		}
		id, _ = parseID(group.Gid)
	}
	return id, nil
}

// parseID is ok for a number that can be a user's or a group's; the highest means "nobody" to setresuid(2).
func parseID(text string) (id uint32, ok bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n < 1<<32-1
}
