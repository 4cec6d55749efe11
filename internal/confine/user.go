package confine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// user is a user and its group.
type user struct{ id, group uint32 }

// stranger is a user that nothing else on a machine runs as, and that owns nothing. The image has the same.
const stranger = 65532

func current() user { return user{uint32(os.Geteuid()), uint32(os.Getegid())} }

// successor returns as whom the agent goes on, which has the capabilities in have. Root becomes the owner of the
// folders that it writes to, or stranger if there are none. root says why it stays root, and is empty if it does not.
func successor(have netns.Capabilities, writes []string) (to user, root string) {
	now := current()
	if now.id != 0 {
		return now, ""
	}
	to = user{stranger, stranger}
	for i, folder := range writes {
		owner, err := ownerOf(folder)
		switch {
		case folder == "":
			return now, "where it writes is in a config that can be read only once"
		case err != nil:
			return now, err.Error()
		case owner.id == 0:
			return now, fmt.Sprintf("%s belongs to root: give it to another user, and the agent becomes that user", folder)
		case i > 0 && owner.id != to.id:
			return now, fmt.Sprintf("%s and %s belong to different users", writes[0], folder)
		}
		to = owner
	}
	if to.group == 0 { // the owner needs no group to write
		to.group = stranger
	}
	if !have.Has(netns.DACReadSearch) {
		return now, fmt.Sprintf("without %v only root reads what belongs to root", netns.DACReadSearch)
	}
	if unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, unix.CAP_NET_ADMIN, 0, 0) != nil {
		return now, "the kernel hands capabilities on to root only" // gVisor
	}
	for file, id := range map[string]uint32{"uid_map": to.id, "gid_map": to.group} {
		if b, err := os.ReadFile("/proc/self/" + file); err != nil || !mapped(string(b), id) {
			return now, fmt.Sprintf("this user namespace has no user or group %d", id)
		}
	}
	if b, err := os.ReadFile("/proc/self/setgroups"); err == nil && strings.TrimSpace(string(b)) == "deny" {
		return now, "this user namespace lets nobody leave a group"
	}
	if why := mayExecute(to); why != "" {
		return now, why
	}
	for _, c := range [...]netns.Capability{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETPCAP} {
		if !have.Has(c) {
			return now, fmt.Sprintf("%v is missing", c)
		}
	}
	return to, ""
}

// ownerOf returns the owner of a folder, or of the one in which it will be made.
func ownerOf(folder string) (user, error) {
	path, err := filepath.Abs(folder)
	if err != nil {
		return user{}, err
	}
	for {
		info, err := os.Stat(path)
		if err != nil && path != "/" {
			path = filepath.Dir(path)
			continue
		}
		if err != nil {
			return user{}, err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return user{}, fmt.Errorf("%s: owner unknown", path)
		}
		return user{st.Uid, st.Gid}, nil
	}
}

// mapped reports whether id is in a map of user_namespaces(7): lines of the first id inside, the first outside, and how
// many.
func mapped(text string, id uint32) bool {
	for line := range strings.Lines(text) {
		var inside, outside, count uint32
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && id >= inside && id-inside < count {
			return true
		}
	}
	return false
}

// mayExecute says why u cannot start this program again, empty if it can.
func mayExecute(u user) string {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "the program's owner is unknown"
	}
	bit := os.FileMode(0o001)
	switch {
	case st.Uid == u.id:
		bit = 0o100
	case st.Gid == u.group:
		bit = 0o010
	}
	if info.Mode()&bit == 0 {
		return fmt.Sprintf("user %d may not execute the program", u.id)
	}
	return ""
}
