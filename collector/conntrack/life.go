package conntrack

import (
	"cmp"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// reading is when a message was read, and the clock and timeouts that its numbers refer to.
type reading struct {
	// The kernel wrote the message in (from, at].
	from, at collector.Time
	clock    *clock
	timeouts *timeouts
}

// fillSeen makes a Flow of an entry that a dump shows. f must be the zero Flow. CTA_TIMEOUT is rounded to a second,
// so we know the time of the last packet to a second; Active is its upper bound. A packet in TIME_WAIT or CLOSE, such
// as a FIN sent again, renews the timeout, so Ended is the time of the flow's last packet.
func (r *reading) fillSeen(f *collector.Flow, m *message) {
	tuples(f, m)
	f.State, f.Reason = state(m)
	last, sure := collector.Interval{To: r.at}, false
	if m.hasTimeout {
		last, sure = r.lastPacket(m, m.timeout, collector.Interval{From: r.from, To: r.at})
	}
	switch {
	case f.State == collector.Done:
		f.Ended = last
	case m.hasTimeout: // a whole second of what is left is cut off
		f.Expires = r.at.Add(time.Duration(m.timeout) * time.Second)
	}
	// A SYN sent again does not renew the timeout (Linux 5.14).
	if sure && m.tcp != tcpSynSent && m.tcp != tcpSynSent2 {
		f.Active = last.To
	}
	f.PickedUp = m.pickedUp()
	if f.Offloaded = m.status&ipsOffload != 0; !f.Offloaded && m.tcp == tcpEstablished && m.hasTimeout {
		if ago, ok := r.timeouts.cut(m.timeout); ok {
			f.Cut = r.at.Add(-ago)
		}
	}
	f.Opened = collector.Interval{To: last.To}
	if m.start != 0 {
		f.Opened = r.clock.moment(m.start, r.at)
	}
	order(f)
}

// fillOpened makes a Flow of an IPCTNL_MSG_CT_NEW event, which comes as the first packet leaves.
// An entry that a program makes as established, such as conntrackd on a gateway that takes over, counts as picked up. A
// dump cannot tell it from a flow that opened since the dump before, and counts it as opened.
func (r *reading) fillOpened(f *collector.Flow, m *message) {
	tuples(f, m)
	f.State, f.Reason = state(m)
	if f.State == collector.StateUnknown {
		f.State = collector.Opening
	}
	f.Opened = collector.Interval{From: r.from, To: r.at}
	if m.event != 0 {
		f.Opened = r.clock.moment(m.event, r.at)
	}
	if f.State != collector.Opening && f.Protocol == collector.TCP { // a first packet that is no SYN
		f.PickedUp, f.Opened.From = true, 0
	}
}

// fillClosed makes a Flow of an IPCTNL_MSG_CT_DELETE event. Linux 5.8 and later send the last state of a TCP flow and
// the rest of its timeout; from older kernels the reason stays unknown.
func (r *reading) fillClosed(f *collector.Flow, m *message) {
	tuples(f, m)
	f.State, f.Reason = state(m)
	gone := r.gone(m)
	last, sure := r.lastPacket(m, m.timeout, gone)
	if sure {
		f.Active = last.To
	}
	f.Opened = collector.Interval{To: last.To}
	if m.start != 0 {
		f.Opened = r.clock.moment(m.start, r.at)
	}

	refused := m.tcp == tcpClose && m.status&ipsSeenReply == 0
	switch {
	case m.orig.proto == collector.TCP && m.tcp == 0:
		f.Ended = collector.Interval{To: gone.To}
	case refused: // An RST that answers the first SYN deletes the entry at once.
		f.State, f.Refused, f.Ended, f.Active = collector.Opening, true, gone, 0
	case f.State == collector.Done:
		f.Ended = last
	case m.tcp == tcpLastAck: // Both FINs were seen, only the last ACK was not.
		f.Reason, f.Ended = collector.FIN, last
	case m.timeout > 0:
		f.Reason, f.Ended = collector.Evicted, gone
	case m.tcp == tcpSynSent || m.tcp == tcpSynSent2:
		f.Reason, f.Ended = collector.Timeout, gone
	default:
		f.Reason, f.Ended = collector.Idle, gone
	}
	order(f)
}

// gone bounds when a destroyed entry was deleted or expired. Without a stamp we know only an upper bound of an
// expiry: an expired entry stays until the kernel comes across it.
func (r *reading) gone(m *message) collector.Interval {
	switch {
	case m.stop != 0: // the time of the expiry, even if the kernel noticed it later
		return r.clock.moment(m.stop, r.at)
	case m.timeout == 0 && m.event != 0:
		return collector.Interval{To: r.clock.moment(m.event, r.at).To}
	case m.timeout == 0:
		return collector.Interval{To: r.at}
	case m.event != 0:
		return r.clock.moment(m.event, r.at)
	}
	return collector.Interval{From: r.from, To: r.at}
}

// lastPacket bounds when the packet came that last set the timeout of m. left is the rest of the timeout, in seconds,
// at the moment seen. sure means what it means for timeouts.age.
func (r *reading) lastPacket(m *message, left uint32, seen collector.Interval) (last collector.Interval, sure bool) {
	least, most, sure, ok := r.timeouts.age(m, left)
	if !ok {
		return collector.Interval{To: seen.To}, false
	}
	last.To = max(1, seen.To.Add(-least))
	if seen.From != 0 {
		last.From = max(0, seen.From.Add(-most))
	}
	return last, sure
}

// pickedUp reports whether an entry that a dump shows began without a SYN: conntrack then checks no sequence numbers,
// and does not know whether windows are scaled (tcp_new, net/netfilter/nf_conntrack_proto_tcp.c, Linux 6.18). Open
// vSwitch and flow tables turn the check off too, of flows whose SYN said how windows are scaled.
func (m *message) pickedUp() bool {
	const both = tcpBeLiberal | tcpWindowScale
	return m.tcpFlags[0]&both == tcpBeLiberal && m.tcpFlags[1]&both == tcpBeLiberal
}

// tuples sets the flow's addresses, and what distinguishes it from other flows.
func tuples(f *collector.Flow, m *message) {
	f.Protocol = m.orig.proto
	f.Zone, f.ZoneOut, f.ID = cmp.Or(m.zone, m.reply.zone), cmp.Or(m.zone, m.orig.zone), m.id
	f.Source, f.Destination, f.VIP = m.orig.src, m.reply.src, m.orig.src
	if m.status&ipsSrcNAT != 0 {
		f.Translated, f.VIP = true, m.reply.dst
	}
}

// state returns the flow's state, and the reason of a flow that is done.
func state(m *message) (collector.State, collector.Reason) {
	if m.orig.proto != collector.TCP {
		if m.status&ipsSeenReply != 0 {
			return collector.Established, collector.ReasonUnknown
		}
		return collector.Opening, collector.ReasonUnknown
	}
	switch m.tcp {
	case tcpSynSent, tcpSynSent2:
		return collector.Opening, collector.ReasonUnknown
	case tcpSynRecv, tcpEstablished:
		return collector.Established, collector.ReasonUnknown
	case tcpFinWait, tcpCloseWait, tcpLastAck:
		return collector.Closing, collector.ReasonUnknown
	case tcpTimeWait:
		return collector.Done, collector.FIN
	case tcpClose:
		return collector.Done, collector.RST
	case 0:
		// A flow table takes established flows only, and conntrack then hides their state.
		if m.status&ipsOffload != 0 {
			return collector.Established, collector.ReasonUnknown
		}
	}
	return collector.StateUnknown, collector.ReasonUnknown
}

// order makes the times of f agree: a flow opens before it ends. If a stamp says otherwise, somebody had set the wall
// clock.
func order(f *collector.Flow) {
	if f.Ended.IsZero() {
		return
	}
	if f.Opened.From > f.Ended.To {
		f.Opened = collector.Interval{}
	}
	if f.Opened.To == 0 || f.Opened.To > f.Ended.To {
		f.Opened.To = f.Ended.To
	}
	f.Ended.From = max(f.Ended.From, f.Opened.From)
}
