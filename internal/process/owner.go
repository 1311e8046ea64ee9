package process

import (
	"bytes"
	"errors"
	"os"
	"strconv"
)

// Owner is whose a process is: the users that may signal it have one of these as
// their own, kill(2).
type Owner struct{ Real, Saved uint32 }

// OwnerOf reads it from proc_pid_status(5), with the errors of Read.
func OwnerOf(pid int) (Owner, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return Owner{}, err
	}
	_, line, _ := bytes.Cut(status, []byte("\nUid:"))
	fields := bytes.Fields(line)
	if len(fields) < 4 {
		return Owner{}, errors.New("no Uid line")
	}
	own, err1 := strconv.ParseUint(string(fields[0]), 10, 32)
	saved, err2 := strconv.ParseUint(string(fields[2]), 10, 32)
	return Owner{uint32(own), uint32(saved)}, errors.Join(err1, err2)
}

// MayBeSignaledBy reports that the user needs no privilege for it.
func (o Owner) MayBeSignaledBy(user uint32) bool { return user == o.Real || user == o.Saved }
