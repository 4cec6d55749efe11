package sockdiag

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

const (
	// timeWait is TCP_TIMEWAIT_LEN, include/net/tcp.h: how long the kernel keeps a closed
	// socket. A FIN that is sent again starts it anew, so an end may be shown too late.
	timeWait = 60 * time.Second
	// jiffy is the coarsest that a kernel timer gets (HZ=100), and a millisecond for its rounding.
	jiffy = 11 * time.Millisecond
)

// written bounds when the kernel wrote a message.
type written struct {
	after, before collector.Time
}

// flow fills f from the socket, which is in one of statesFlows.
func (s *socket) flow(f *collector.Flow, p collector.Protocol, netns uint64, w written) {
	// Field by field: a literal would be built aside and copied, at a fifth of the decoding.
	*f = collector.Flow{}
	f.Protocol, f.Netns = p, netns
	if int(s.state) < len(flowState) {
		f.State = flowState[s.state]
	}
	f.Source, f.Destination, f.VIP = s.local, s.remote, s.local
	f.Opened.To = w.before
	f.Inode, f.Cgroup = s.inode, s.cgroup
	if p != collector.TCP {
		return
	}
	f.ID = uint32(s.cookie)
	if s.state == tcpTimeWait {
		f.Reason = collector.FIN
		f.Ended = collector.Interval{To: w.before}
		if s.timer == timerTimeWait && s.expires <= timeWait {
			ago := timeWait - s.expires
			f.Ended = collector.Interval{
				From: w.after.Add(-ago - jiffy),
				To:   min(w.before, w.before.Add(-ago+jiffy)),
			}
			f.Opened.To = f.Ended.To
		}
	}
}

// leavesMachine reports whether the flow goes to another machine, judging by its addresses alone.
func (s *socket) leavesMachine() bool {
	return !s.remote.Addr().IsLoopback() && s.remote.Addr() != s.local.Addr()
}
