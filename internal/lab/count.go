package lab

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// States of a TCP flow in conntrack: enum tcp_conntrack,
// include/uapi/linux/netfilter/nf_conntrack_tcp.h.
const (
	ctSynSent     = 1
	ctEstablished = 3
	ctTimeWait    = 7
	ctClose       = 8
)

// Entries is the router's conntrack table, read with a library that is not the agent's reader.
type Entries []conntrack.Flow

// Entries dumps the router's conntrack table.
func (l *Lab) Entries() (Entries, error) {
	c, err := conntrack.Dial(&netlink.Config{NetNS: l.router.FD()})
	if err != nil {
		return nil, fmt.Errorf("read router's flows: %w", err)
	}
	defer func() { _ = c.Close() }()
	flows, err := c.Dump(nil)
	if err != nil {
		return nil, fmt.Errorf("read router's flows: %w", err)
	}
	return flows, nil
}

// To keeps the entries of one protocol to one destination.
func (e Entries) To(p collector.Protocol, to netip.AddrPort) Entries {
	return e.keep(func(f *conntrack.Flow) bool {
		o := &f.TupleOrig
		return o.Proto.Protocol == uint8(p) && netip.AddrPortFrom(o.IP.DestinationAddress, o.Proto.DestinationPort) == to
	})
}

// TCPState keeps the TCP entries in one state of enum tcp_conntrack.
func (e Entries) TCPState(state uint8) Entries {
	return e.keep(func(f *conntrack.Flow) bool { return f.ProtoInfo.TCP != nil && f.ProtoInfo.TCP.State == state })
}

// Answered keeps the entries that saw a packet in both directions.
func (e Entries) Answered() Entries {
	return e.keep(func(f *conntrack.Flow) bool { return f.Status.SeenReply() })
}

// PortsByVIP counts the distinct ports that the entries hold of each VIP.
func (e Entries) PortsByVIP() map[netip.Addr]int {
	seen := map[netip.AddrPort]bool{}
	ports := map[netip.Addr]int{}
	for i := range e {
		r := &e[i].TupleReply
		ap := netip.AddrPortFrom(r.IP.DestinationAddress, r.Proto.DestinationPort)
		if !seen[ap] {
			seen[ap] = true
			ports[ap.Addr()]++
		}
	}
	return ports
}

// MaxTimeout is the longest that an entry has left, in seconds.
func (e Entries) MaxTimeout() uint32 {
	var t uint32
	for i := range e {
		t = max(t, e[i].Timeout)
	}
	return t
}

func (e Entries) keep(f func(*conntrack.Flow) bool) Entries {
	var kept Entries
	for i := range e {
		if f(&e[i]) {
			kept = append(kept, e[i])
		}
	}
	return kept
}

// Counters reads the router's conntrack statistics.
func (l *Lab) Counters() (collector.Counters, error) {
	c := collector.Counters{Netns: l.router.Netns()}
	var table string
	err := l.router.Do(func() (err error) {
		table, err = readProc("stat/nf_conntrack")
		return err
	})
	if err != nil {
		return c, fmt.Errorf("read router's counters: %w", err)
	}
	rows := strings.Split(strings.TrimSpace(table), "\n")
	names := strings.Fields(rows[0])
	for _, row := range rows[1:] {
		for i, word := range strings.Fields(row) {
			v, err := strconv.ParseUint(word, 16, 64)
			if err != nil || i >= len(names) {
				return c, fmt.Errorf("read router's counters: column %d of %q", i, row)
			}
			switch names[i] {
			case "entries": // the same in every row
				c.Entries = uint32(v)
			case "found":
				c.Found += v
			case "insert_failed":
				c.InsertFailed += v
			case "drop":
				c.Drop += v
			case "early_drop":
				c.EarlyDrop += v
			case "search_restart":
				c.SearchRestart += v
			}
		}
	}
	return c, nil
}

// Sockets are a host's TCP sockets by state, as sock_diag shows them.
type Sockets struct {
	Established, SynSent, TimeWait int
	// Retransmits of those in SYN_SENT, in all and of how many sockets.
	Retransmits, Retransmitting int
}

// Sockets counts the host's IPv4 and IPv6 sockets towards one destination.
func (h *Host) Sockets(to netip.AddrPort) (Sockets, error) {
	var s Sockets
	list, err := tcpSockets(h.diag, family(to.Addr()))
	if err != nil {
		return s, fmt.Errorf("read sockets of %s: %w", h.Name, err)
	}
	for _, sock := range list {
		if sock.destination != to {
			continue
		}
		switch sock.state {
		case unix.BPF_TCP_ESTABLISHED:
			s.Established++
		case unix.BPF_TCP_TIME_WAIT:
			s.TimeWait++
		case unix.BPF_TCP_SYN_SENT:
			s.SynSent++
			s.Retransmits += int(sock.retransmits)
			if sock.retransmits > 0 {
				s.Retransmitting++
			}
		}
	}
	return s, nil
}

// SynRetransmits is the host's counter TcpExt TCPSynRetrans.
func (h *Host) SynRetransmits() (uint64, error) {
	var text string
	err := h.Do(func() (err error) {
		text, err = readProc("netstat")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read counters of %s: %w", h.Name, err)
	}
	return netstat(text, "TcpExt:", "TCPSynRetrans")
}

// netstat finds a counter in the text of /proc/net/netstat: a line of names, then one of values.
func netstat(text, group, name string) (uint64, error) {
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != group {
			continue
		}
		if names == nil {
			names = words
			continue
		}
		for i, n := range names {
			if n == name && i < len(words) {
				return strconv.ParseUint(words[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("read netstat: no counter %s %s", group, name)
}

// readProc reads a file of the calling thread's network namespace.
func readProc(name string) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/net/%s", unix.Gettid(), name))
	return string(b), err
}
