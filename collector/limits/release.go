package limits

import (
	"strconv"
	"strings"
)

// EvictsClosed reports whether a kernel of this release (uname -r) gives the port of a
// closed TCP flow away when it finds no free one: a source-translated entry in
// TIME_WAIT or CLOSE then holds no port. Linux 6.5 brought it ("netfilter: snat:
// evict closing tcp entries on reply tuple collision", commit 4589725502871).
//
// ok is false for a release that is no version. A vendor that carries the change back
// to an older version is not known here: the answer is then false, the careful one.
func EvictsClosed(release string) (evicts, ok bool) {
	major, minor, ok := parseRelease(release)
	return ok && (major > 6 || major == 6 && minor >= 5), ok
}

// parseRelease takes major and minor out of "6.18.44-generic", "6.5-rc1+" or "6.6".
func parseRelease(release string) (major, minor int, ok bool) {
	first, rest, found := strings.Cut(release, ".")
	if !found {
		return 0, 0, false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(rest[:end], 10, 16)
	if errA != nil || errB != nil {
		return 0, 0, false
	}
	return int(a), int(b), true
}
