package conntrack

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// jiffy is the longest tick of a kernel (CONFIG_HZ=100). The kernel counts timeouts in ticks.
const jiffy = 10 * time.Millisecond

// offloadTimeout is what the kernel gives an entry while a flow table sees its packets (NF_CT_DAY). A flow that leaves
// the table keeps what is left of it (seen on Linux 6.12; 6.1 gives it the limit of its state).
const offloadTimeout = 24 * time.Hour

// synSent2 is the timeout of TCP_CONNTRACK_SYN_SENT2, which has no sysctl:
// tcp_timeouts, net/netfilter/nf_conntrack_proto_tcp.c (Linux 6.18).
const synSent2 = 120 * time.Second

// timeouts are what a packet sets the timeout of an entry to. 0 is unknown.
//
// An entry under a timeout policy of its own (nft "ct timeout"), or given a
// timeout by hand, looks like any other. Where it has more left than its state
// allows, its age is unknown; where it has less, it is taken to be older than it is.
type timeouts struct {
	tcp                   [tcpStates]time.Duration
	maxRetrans, unacked   time.Duration
	udpUnreplied, udpLast time.Duration
	// forgets is for how long the kernel remembers a flow that ended: of TCP by RST or by FIN, of UDP with its last
	// datagram, whichever is the shortest.
	// forgetsBy names the sysctl or the timeout policy that says so.
	forgets   time.Duration
	forgetsBy string
}

// newTimeouts takes the timeouts from the namespace's limits.
func newTimeouts(l collector.Limits) timeouts {
	t := timeouts{
		maxRetrans:   l.Timeouts["tcp_timeout_max_retrans"],
		unacked:      l.Timeouts["tcp_timeout_unacknowledged"],
		udpUnreplied: l.Timeouts["udp_timeout"],
		udpLast:      l.Timeouts["udp_timeout_stream"],
	}
	for s, name := range map[tcpState]string{
		tcpSynSent:     "tcp_timeout_syn_sent",
		tcpSynRecv:     "tcp_timeout_syn_recv",
		tcpEstablished: "tcp_timeout_established",
		tcpFinWait:     "tcp_timeout_fin_wait",
		tcpCloseWait:   "tcp_timeout_close_wait",
		tcpLastAck:     "tcp_timeout_last_ack",
		tcpTimeWait:    "tcp_timeout_time_wait",
		tcpClose:       "tcp_timeout_close",
	} {
		t.tcp[s] = l.Timeouts[name]
	}
	for _, name := range [...]string{
		"tcp_timeout_close", "tcp_timeout_time_wait", "udp_timeout", "udp_timeout_stream",
	} {
		// An entry with a timeout of 0 goes at once.
		if d, known := l.Timeouts[name]; known && (t.forgets == 0 || d < t.forgets) {
			t.forgets, t.forgetsBy = max(d, 1), "nf_conntrack_"+name
		}
	}
	if t.tcp[tcpSynSent] != 0 {
		t.tcp[tcpSynSent2] = synSent2
	}
	return t
}

// age bounds how long ago the packet came that last set the timeout of m, of
// which left seconds remain. sure is false if the kernel may have set it from more than one limit;
// the bounds then hold all of them. ok is false if none explains what is left.
func (t *timeouts) age(m *message, left uint32) (least, most time.Duration, sure, ok bool) {
	if m.status&(ipsFixedTimeout|ipsOffload|ipsNATClash) != 0 {
		return 0, 0, false, false
	}
	var limits [5]time.Duration
	n := 0
	switch {
	case m.orig.proto == collector.UDP && m.hasHelper:
		// The helper sets the timeout as it likes (SIP).
	case m.orig.proto == collector.UDP && m.status&ipsAssured != 0:
		limits[0], n = t.udpLast, 1
	case m.orig.proto == collector.UDP:
		limits[0], n = t.udpUnreplied, 1
	case m.orig.proto == collector.TCP && m.tcp < tcpStates:
		// nf_conntrack_tcp_packet, net/netfilter/nf_conntrack_proto_tcp.c: the limit of the state, or a
		// shorter one while data goes unanswered or the window is closed, or after an RST that it does not believe.
		l := t.tcp[m.tcp]
		limits[0], n = l, 1
		for _, shorter := range [...]time.Duration{t.maxRetrans, t.unacked} {
			if l > shorter {
				limits[n] = shorter
				n++
			}
		}
		if m.tcp == tcpEstablished {
			limits[n] = t.tcp[tcpClose]
			n++
			if l > offloadTimeout {
				limits[n] = offloadTimeout
				n++
			}
		}
	}
	remain := time.Duration(left) * time.Second
	sure = true
	for _, l := range limits[:n] {
		switch {
		case l == 0:
			sure = false // this kernel lacks it, or it could not be read
		case l >= remain && !ok:
			least, most, ok = l-remain, l-remain, true
		case l >= remain:
			least, most = min(least, l-remain), max(most, l-remain)
		}
	}
	if !ok || limits[0] == 0 {
		return 0, 0, false, false
	}
	sure = sure && least == most
	// CTA_TIMEOUT is rounded down: up to a second more is left.
	return max(0, least-time.Second-jiffy), most + jiffy, sure, true
}

// silence is for how long data goes unanswered at least before an entry with tcp_timeout_unacknowledged is taken for
// one whose flow was reset: TCP sends unanswered data again, and again, within that time.
const silence = 2 * time.Second

// cut bounds how long ago at least an RST came that conntrack did not believe, if that explains why an established
// entry has left seconds left. Conntrack knows nothing of what was acknowledged in a flow table: it drops the RST out
// of the window, keeps the state, and lowers the timeout to tcp_timeout_close (seen on Linux 6.1) or
// tcp_timeout_unacknowledged (6.12). Unanswered data lowers it to tcp_timeout_unacknowledged too.
func (t *timeouts) cut(left uint32) (ago time.Duration, ok bool) {
	remain, limit, least := time.Duration(left)*time.Second, t.tcp[tcpClose], time.Duration(0)
	if remain > limit {
		limit, least = t.unacked, silence
	}
	if remain > limit || limit >= t.tcp[tcpEstablished] {
		return 0, false
	}
	ago = max(0, limit-remain-time.Second-jiffy)
	return ago, ago >= least-jiffy
}

const whyLate = "the time between two reads of conntrack, %v, is longer than %s, %v, for which it remembers a flow " +
	"that ended: some may have opened and ended unseen; give the agent more CPU time, or let it read events"

// late says why a dump that ends now is late, where the one before began at previous. It returns an empty text if the
// dump is in time, and if the timeout is not known. By the kernel's defaults conntrack forgets those flows the soonest
// that were reset.
func (t *timeouts) late(previous, now collector.Time) string {
	gap := now.Sub(previous)
	if previous == 0 || t.forgets == 0 || gap <= t.forgets {
		return ""
	}
	return fmt.Sprintf(whyLate, gap.Round(100*time.Millisecond), t.forgetsBy,
		t.forgets.Truncate(time.Second))
}
