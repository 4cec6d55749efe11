package sockdiag

import (
	"bytes"
	"os"
	"strconv"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// netstatBytes is more than the text of /proc/net/netstat, 4 KB on Linux 6.18.
const netstatBytes = 16 << 10

// resent remembers of a namespace how often its kernel had sent a SYN again when it was last asked for stalls, and
// whether it showed none. A first packet that is sent again is counted, so while the count stays there is none now
// either, and the walk through the machine's whole hash table is spared: the count takes a fortieth of that.
type resent struct {
	count   uint64
	known   bool // count is
	quiet   bool
	skipped int
}

// spared reports whether n, under which the count is read from folder/net/netstat, need not be asked for stalls.
func (r *resent) spared(folder string, buffer []byte) bool {
	count, ok := readResent(folder, buffer)
	spared := ok && r.known && r.quiet && count == r.count && r.skipped < skipMax
	r.count, r.known = count, ok
	if spared {
		r.skipped++
	} else {
		r.skipped = 0
	}
	return spared
}

// processFolder returns the folder below /proc of a process in n, or of this thread if n is its own; empty if none is
// known to be there still.
func processFolder(n netns.Netns, own uint64) string {
	if n.Inode == own {
		return "/proc/thread-self"
	}
	return n.ProcessFolder()
}

// readResent reads the count TCPSynRetrans of the namespace of a process.
func readResent(folder string, buffer []byte) (count uint64, ok bool) {
	if folder == "" {
		return 0, false
	}
	f, err := os.Open(folder + "/net/netstat")
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	n, err := f.Read(buffer) // one read gives all of it, or as much as fits
	if err != nil {
		return 0, false
	}
	return parseResent(buffer[:n])
}

// parseResent finds TCPSynRetrans in netstat's two lines that begin with TcpExt: names, then values.
func parseResent(text []byte) (count uint64, ok bool) {
	names, rest, _ := bytes.Cut(text, []byte("\n"))
	values, _, whole := bytes.Cut(rest, []byte("\n"))
	if !whole || !bytes.HasPrefix(names, []byte("TcpExt: ")) || !bytes.HasPrefix(values, []byte("TcpExt: ")) {
		return 0, false
	}
	for {
		var name, value []byte
		name, names, _ = bytes.Cut(names, []byte(" "))
		value, values, _ = bytes.Cut(values, []byte(" "))
		if string(name) == "TCPSynRetrans" {
			count, err := strconv.ParseUint(string(value), 10, 64)
			return count, err == nil
		}
		if len(names) == 0 || len(values) == 0 {
			return 0, false
		}
	}
}
