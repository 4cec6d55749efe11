package owner

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/snatwatch/snatwatch/collector"
)

// ParseProcCgroup returns the owner that /proc/PID/cgroup tells. In a hybrid layout a runtime may put a container
// into the v1 trees alone, so a pod or container counts in whatever tree it is found. A unit counts in the v2 tree,
// or in the one of systemd itself where there is no other.
func ParseProcCgroup(b []byte) Identity {
	best := Identity{Kind: collector.KindUnknown}
	for line := range bytes.Lines(b) {
		_, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ":")
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		id := ParsePath(path)
		switch {
		case rank(id.Kind) <= rank(best.Kind):
		case id.Kind == collector.KindUnit && controllers != "" && controllers != "name=systemd":
		default:
			best = id
		}
	}
	return best
}

// unified returns what the cgroup v2 tree alone tells, of the same text: what the sockets of the process carry.
func unified(b []byte) Identity {
	for line := range bytes.Lines(b) {
		if path, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("0::")); ok {
			return ParsePath(string(path))
		}
	}
	return Identity{Kind: collector.KindUnknown}
}

// rank orders kinds by how much they tell.
func rank(k collector.OwnerKind) int {
	switch k {
	case collector.KindPod:
		return 4
	case collector.KindContainer:
		return 3
	case collector.KindUnit:
		return 2
	case collector.KindProcess:
		return 1
	}
	return 0
}

// parseFibTrie returns the addresses of /proc/PID/net/fib_trie that are the namespace's own, without loopback.
func parseFibTrie(b []byte) (out []netip.Addr) {
	var last netip.Addr
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		if leaf, ok := strings.CutPrefix(text, "|-- "); ok {
			last, _ = netip.ParseAddr(leaf)
			continue
		}
		if text == "/32 host LOCAL" && last.IsValid() && !last.IsLoopback() {
			out = append(out, last)
			last = netip.Addr{} // the table is there twice
		}
	}
	return out
}

// parseIfInet6 returns the addresses of /proc/PID/net/if_inet6 that other machines can reach.
func parseIfInet6(b []byte) (out []netip.Addr) {
	for line := range bytes.Lines(b) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || len(fields[0]) != 32 {
			continue
		}
		var raw [16]byte
		for i := range raw {
			v, err := strconv.ParseUint(fields[0][2*i:2*i+2], 16, 8)
			if err != nil {
				return out
			}
			raw[i] = byte(v)
		}
		if a := netip.AddrFrom16(raw); !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			out = append(out, a)
		}
	}
	return out
}

// procReader reads what /proc says of processes to everyone: no capability is needed, unless the mount has hidepid=.
type procReader struct{ root string }

func (p procReader) path(pid int, name string) string {
	return filepath.Join(p.root, strconv.Itoa(pid), name)
}

// pids lists the processes.
func (p procReader) pids() ([]int, error) {
	f, err := os.Open(p.root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(-1)
	var out []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	return out, err
}

// netKey returns a number that processes of the same network namespace share, false if the process is gone. The
// namespace's own inode number takes CAP_SYS_PTRACE to see; the number of a file below /proc/PID/net, which each
// namespace has for itself, takes no right.
func (p procReader) netKey(pid int) (uint64, bool) { return inode(p.path(pid, "net/dev")) }

// netns returns the inode number of the process's network namespace, 0 without CAP_SYS_PTRACE.
func (p procReader) netns(pid int) uint64 {
	n, _ := inode(p.path(pid, "ns/net"))
	return n
}

func inode(path string) (uint64, bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, false
	}
	return st.Ino, true
}

// identity returns what the process's cgroups tell, and what the one of them that its sockets carry tells.
func (p procReader) identity(pid int) (id, carried Identity) {
	b, _ := os.ReadFile(p.path(pid, "cgroup")) // nothing of a process that is gone
	return ParseProcCgroup(b), unified(b)
}

// command returns the name of the process's program: /proc/PID/comm, at most 15 bytes. Empty if the process is gone.
func (p procReader) command(pid int) string {
	b, _ := os.ReadFile(p.path(pid, "comm"))
	return strings.TrimSuffix(string(b), "\n")
}

// addresses returns the addresses of the process's network namespace.
func (p procReader) addresses(pid int) []netip.Addr {
	v4, _ := os.ReadFile(p.path(pid, "net/fib_trie"))
	v6, _ := os.ReadFile(p.path(pid, "net/if_inet6"))
	return append(parseFibTrie(v4), parseIfInet6(v6)...)
}

// sockets calls each with the inode number of each socket that the process has open. It takes the right to read the
// process's descriptors: none for processes of the same user, else CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE. ok is
// false without it.
func (p procReader) sockets(pid int, each func(inode uint32)) (ok bool) {
	dir := p.path(pid, "fd")
	f, err := os.Open(dir)
	if err != nil {
		return os.IsNotExist(err)
	}
	defer func() { _ = f.Close() }()
	names, _ := f.Readdirnames(-1)
	denied, read := 0, 0
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			if os.IsPermission(err) {
				denied++
			}
			continue
		}
		read++
		if number, found := strings.CutPrefix(target, "socket:["); found {
			if n, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 32); err == nil {
				each(uint32(n))
			}
		}
	}
	return denied == 0 || read > 0
}
