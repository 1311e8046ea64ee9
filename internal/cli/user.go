package cli

import (
	"errors"
	"os/user"
	"pidleash/internal/plan"
	"slices"
	"strconv"
	"strings"
)

// userVariables name the user that a program runs as, environ(7).
var userVariables = [...]string{"HOME", "LOGNAME", "USER"}

// setUser reads "USER" or "USER:GROUP", by name or number. Without the C library there are the users of /etc/passwd
// and /etc/group only. A number that is not there needs a group, and has no home directory.
func setUser(c *command, value string) error {
	if value == "" {
		return nil
	}
	name, group, hasGroup := strings.Cut(value, ":")
	u := &plan.User{Name: name}
	gid := ""
	entry, err := lookUpUser(name)
	switch {
	case err == nil:
		u.UID, gid = parseID(entry.Uid), entry.Gid
		c.userEnv = map[string]string{"HOME": entry.HomeDir, "LOGNAME": entry.Username, "USER": entry.Username}
		ids, err := entry.GroupIds()
		if err != nil {
			return err
		}
		for _, id := range ids {
			if !hasGroup || id != entry.Gid { // GROUP takes the place of that one
				u.Groups = append(u.Groups, parseID(id))
			}
		}
	case !isID(name):
		return errors.New("no such user in /etc/passwd")
	case !hasGroup:
		return errors.New("no such user in /etc/passwd, so its group must be given")
	default:
		u.UID = parseID(name)
	}
	if hasGroup {
		if gid, err = lookUpGroup(group); err != nil {
			return err
		}
		if id := parseID(gid); !slices.Contains(u.Groups, id) {
			u.Groups = append(u.Groups, id)
		}
	}
	u.GID = parseID(gid)
	c.config.User = u
	return nil
}

func lookUpUser(name string) (*user.User, error) {
	if isID(name) {
		return user.LookupId(name)
	}
	return user.Lookup(name)
}

func lookUpGroup(name string) (gid string, err error) {
	if isID(name) {
		return name, nil
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		return "", errors.New("no such group in /etc/group")
	}
	return group.Gid, nil
}

// isID reports a number that can be a user's or a group's; the highest means "nobody" to setresuid(2).
func isID(text string) bool {
	id, err := strconv.ParseUint(text, 10, 32)
	return err == nil && id < 1<<32-1
}

// parseID is for what isID accepts.
func parseID(text string) uint32 {
	id, _ := strconv.ParseUint(text, 10, 32)
	return uint32(id)
}
