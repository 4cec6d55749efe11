package conntrack

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Activity is whether conntrack tracks the packets of a namespace. It does so only where a rule
// asks for it (NAT, "ct state"), however loaded its modules are.
type Activity uint8

// What a Probe can say.
const (
	// Undecided: there was no packet yet to tell by.
	Undecided Activity = iota
	// Active: it tracks.
	Active
	// Inactive: packets were sent and it did not notice.
	Inactive
)

var activityNames = [...]string{"undecided", "active", "inactive"}

func (a Activity) String() string { return activityNames[min(int(a), len(activityNames)-1)] }

// activityWindow is how long every entry that a packet of Probe's kind leaves is there at least.
const activityWindow = 10 * time.Second

// Probe finds out, by watching only, whether conntrack is active in one namespace.
type Probe struct {
	ns    *netns.Handle
	stats *Statistics
	sent  uint64
	at    time.Time // of the last look
}

// OpenProbe opens one for ns, nil for the caller's own. It needs CAP_NET_ADMIN.
func OpenProbe(ns *netns.Handle) (*Probe, error) {
	stats, err := OpenStatistics(ns)
	if err != nil {
		return nil, err
	}
	return &Probe{ns: ns, stats: stats}, nil
}

// Close closes its socket.
func (p *Probe) Close() error { return p.stats.Close() }

// Look says what can be said now. Only two looks less than 10 s apart can tell that conntrack is inactive.
func (p *Probe) Look(ctx context.Context, now time.Time) (Activity, error) {
	sent, err := p.packets()
	if err != nil {
		return Undecided, err
	}
	c, err := p.stats.Read(ctx) // after, so that what was sent has its entry
	if err != nil {
		return Undecided, err
	}
	more := !p.at.IsZero() && now.Sub(p.at) < activityWindow && sent > p.sent
	p.sent, p.at = sent, now
	quiet := collector.Counters{Netns: c.Netns}
	switch {
	case c != quiet:
		return Active, nil
	case more:
		return Inactive, nil
	}
	return Undecided, nil
}

// packets counts what conntrack cannot overlook and then keeps an entry for: UDP datagrams, and
// TCP segments while there are connections. (A refused TCP flow leaves no entry, and IPv6's own
// housekeeping is never tracked.)
func (p *Probe) packets() (n uint64, err error) {
	read := func() error {
		four, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		six, err := os.ReadFile("/proc/thread-self/net/snmp6")
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		n = parsePackets(string(four), string(six))
		return nil
	}
	if p.ns == nil {
		return n, read()
	}
	return n, p.ns.Do(read)
}

// parsePackets takes the counters out of /proc/net/snmp, where a line of names goes before a line
// of values, and /proc/net/snmp6, with one of both on each line. What is not there is 0.
func parsePackets(snmp, snmp6 string) uint64 {
	values := map[string]uint64{}
	var names []string
	for line := range strings.Lines(snmp) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(names) != len(fields) || names[0] != fields[0] {
			names = fields
			continue
		}
		for i, f := range fields[1:] {
			values[fields[0]+names[i+1]], _ = strconv.ParseUint(f, 10, 64) // some are negative, none that is needed
		}
		names = nil
	}
	for line := range strings.Lines(snmp6) {
		if fields := strings.Fields(line); len(fields) == 2 {
			values[fields[0]], _ = strconv.ParseUint(fields[1], 10, 64)
		}
	}
	n := values["Udp:OutDatagrams"] + values["Udp6OutDatagrams"]
	if values["Tcp:CurrEstab"] > 0 {
		n += values["Tcp:OutSegs"]
	}
	return n
}
