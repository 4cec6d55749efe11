package conntrack

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// defaults are the kernel's (Linux 6.18).
func defaults() collector.Limits {
	return collector.Limits{Timeouts: map[string]time.Duration{
		"tcp_timeout_syn_sent": 120 * time.Second, "tcp_timeout_syn_recv": 60 * time.Second,
		"tcp_timeout_established": 432000 * time.Second, "tcp_timeout_fin_wait": 120 * time.Second,
		"tcp_timeout_close_wait": 60 * time.Second, "tcp_timeout_last_ack": 30 * time.Second,
		"tcp_timeout_time_wait": 120 * time.Second, "tcp_timeout_close": 10 * time.Second,
		"tcp_timeout_max_retrans": 300 * time.Second, "tcp_timeout_unacknowledged": 300 * time.Second,
		"udp_timeout": 30 * time.Second, "udp_timeout_stream": 120 * time.Second,
	}}
}

// When a packet came follows from what is left of the timeout that it set, to the
// second and never closer; where the kernel may have set another, nothing is guessed.
func TestLife(t *testing.T) {
	t.Parallel()
	const now = collector.Time(1000 * time.Hour)
	const tcp, udp = collector.TCP, collector.UDP
	const both = ipsSeenReply
	ago := func(d time.Duration) collector.Time { return now.Add(-d) }
	// since is the interval of a packet that came least to most ago, rounding included.
	since := func(least, most time.Duration) collector.Interval {
		return collector.Interval{From: ago(most + jiffy + time.Millisecond), To: ago(max(0, least-jiffy))}
	}
	until := func(least time.Duration) collector.Interval { return collector.Interval{To: since(least, 0).To} }
	type life struct {
		State         collector.State
		Reason        collector.Reason
		Refused       bool
		Opened, Ended collector.Interval
		Active        collector.Time
		Cut           collector.Time
		PickedUp      bool
	}
	tests := []struct {
		name string
		m    message
		kind collector.Kind
		set  func(map[string]time.Duration)
		want life
	}{
		{
			name: "established, 100 s idle", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 431900, status: both},
			want: life{State: collector.Established, Opened: until(99 * time.Second), Active: until(99 * time.Second).To},
		},
		{
			name: "established, less than a day left: days idle, or out of a flow table", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 86351, status: both},
			want: life{State: collector.Established, Opened: until(48 * time.Second)},
		},
		{
			name: "established, more left than the limit: a policy's, or out of a flow table", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 86351, status: both},
			set:  func(l map[string]time.Duration) { l["tcp_timeout_established"] = time.Hour },
			want: life{State: collector.Established, Opened: until(0)},
		},
		{
			name: "established, little left: days idle, or data unanswered for a while", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 290, status: both},
			want: life{State: collector.Established, Opened: until(9 * time.Second), Cut: until(9 * time.Second).To},
		},
		{
			name: "established, data unanswered for a moment", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 298, status: both},
			want: life{State: collector.Established, Opened: until(time.Second)},
		},
		{
			name: "established, and its limit is short", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 290, status: both},
			set:  func(l map[string]time.Duration) { l["tcp_timeout_established"] = 300 * time.Second },
			want: life{State: collector.Established, Opened: until(9 * time.Second), Active: until(9 * time.Second).To},
		},
		{
			name: "established, seconds left: an RST may not have been believed", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 8, status: both},
			want: life{State: collector.Established, Opened: until(time.Second), Cut: until(time.Second).To},
		},
		{
			name: "established, more left than there can be", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 432001, status: both},
			want: life{State: collector.Established, Opened: until(0)},
		},
		{
			name: "established, in a flow table", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, status: both | ipsOffload},
			want: life{State: collector.Established, Opened: until(0)},
		},
		{
			name: "timeout that packets do not renew", kind: collector.Seen,
			m:    message{orig: tuple{proto: udp}, hasTimeout: true, timeout: 20, status: both | ipsFixedTimeout},
			want: life{State: collector.Established, Opened: until(0)},
		},
		{
			name: "SYN sent", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpSynSent, hasTimeout: true, timeout: 115},
			want: life{State: collector.Opening, Opened: until(4 * time.Second)},
		},
		{
			name: "half closed", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpFinWait, hasTimeout: true, timeout: 110, status: both},
			want: life{State: collector.Closing, Opened: until(9 * time.Second), Active: until(9 * time.Second).To},
		},
		{
			name: "TIME_WAIT", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, hasTimeout: true, timeout: 100, status: both},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(19 * time.Second), Ended: since(19*time.Second, 20*time.Second), Active: until(19 * time.Second).To},
		},
		{
			name: "TIME_WAIT under a timeout of its own", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, hasTimeout: true, timeout: 200, status: both},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(0), Ended: until(0)},
		},
		{
			name: "TIME_WAIT of a kernel set to more than its shorter limits", kind: collector.Seen,
			set:  func(l map[string]time.Duration) { l["tcp_timeout_time_wait"] = 400 * time.Second },
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, hasTimeout: true, timeout: 250, status: both},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(49 * time.Second), Ended: since(49*time.Second, 150*time.Second)},
		},
		{
			name: "TIME_WAIT, its limit not told", kind: collector.Seen,
			set:  func(l map[string]time.Duration) { delete(l, "tcp_timeout_time_wait") },
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, hasTimeout: true, timeout: 100, status: both},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(0), Ended: until(0)},
		},
		{
			name: "CLOSE", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpClose, hasTimeout: true, timeout: 7, status: both},
			want: life{State: collector.Done, Reason: collector.RST, Opened: until(2 * time.Second), Ended: since(2*time.Second, 3*time.Second), Active: until(2 * time.Second).To},
		},
		{
			name: "state newer than this package", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: 12, hasTimeout: true, timeout: 7, status: both},
			want: life{State: collector.StateUnknown, Opened: until(0)},
		},
		{
			name: "UDP without an answer", kind: collector.Seen,
			m:    message{orig: tuple{proto: udp}, hasTimeout: true, timeout: 25},
			want: life{State: collector.Opening, Opened: until(4 * time.Second), Active: until(4 * time.Second).To},
		},
		{
			name: "UDP stream", kind: collector.Seen,
			m:    message{orig: tuple{proto: udp}, hasTimeout: true, timeout: 20, status: both | ipsAssured},
			want: life{State: collector.Established, Opened: until(99 * time.Second), Active: until(99 * time.Second).To},
		},
		{
			name: "UDP under a helper", kind: collector.Seen,
			m:    message{orig: tuple{proto: udp}, hasTimeout: true, timeout: 20, status: both, hasHelper: true},
			want: life{State: collector.Established, Opened: until(0)},
		},
		{
			name: "stamped after it ended: the clock was stepped", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, hasTimeout: true, timeout: 100, status: both, start: uint64(ago(time.Second))},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(19 * time.Second), Ended: since(19*time.Second, 20*time.Second), Active: until(19 * time.Second).To},
		},
		{
			name: "stamped while it was ending", kind: collector.Seen,
			m: message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, hasTimeout: true, timeout: 100, status: both, start: uint64(ago(19500 * time.Millisecond))},
			want: life{
				State: collector.Done, Reason: collector.FIN, Active: until(19 * time.Second).To,
				Opened: collector.Interval{From: ago(19500 * time.Millisecond), To: ago(19500 * time.Millisecond)},
				Ended:  collector.Interval{From: ago(19500 * time.Millisecond), To: until(19 * time.Second).To},
			},
		},
		{
			name: "new", kind: collector.Opened,
			m:    message{orig: tuple{proto: tcp}, hasTimeout: true, timeout: 120},
			want: life{State: collector.Opening, Opened: collector.Interval{From: ago(time.Millisecond), To: now}},
		},
		{
			name: "new, and in its middle", kind: collector.Opened,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, hasTimeout: true, timeout: 300},
			want: life{State: collector.Established, Opened: collector.Interval{To: now}, PickedUp: true},
		},
		{
			name: "established without a SYN", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, tcpFlags: [2]uint8{0x0a, 0x0a}, hasTimeout: true, timeout: 431900, status: both},
			want: life{State: collector.Established, Opened: until(99 * time.Second), Active: until(99 * time.Second).To, PickedUp: true},
		},
		{
			name: "established, in Open vSwitch", kind: collector.Seen,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, tcpFlags: [2]uint8{0x2b, 0x2b}, hasTimeout: true, timeout: 431900, status: both},
			want: life{State: collector.Established, Opened: until(99 * time.Second), Active: until(99 * time.Second).To},
		},
		{
			name: "new, stamped", kind: collector.Opened,
			m:    message{orig: tuple{proto: udp}, event: uint64(ago(time.Second))},
			want: life{State: collector.Opening, Opened: collector.Interval{From: ago(time.Second), To: ago(time.Second)}},
		},
		{
			name: "destroyed by a kernel that says no more", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, status: both},
			want: life{State: collector.StateUnknown, Opened: until(0), Ended: until(0)},
		},
		{
			name: "TIME_WAIT expired", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, status: both},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(119 * time.Second), Ended: until(119 * time.Second), Active: until(119 * time.Second).To},
		},
		{
			name: "TIME_WAIT expired, stamped", kind: collector.Closed,
			m: message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, status: both, start: uint64(ago(time.Hour)), stop: uint64(ago(time.Minute))},
			want: life{
				State: collector.Done, Reason: collector.FIN, Active: until(179 * time.Second).To,
				Opened: collector.Interval{From: ago(time.Hour), To: ago(time.Hour)},
				Ended:  collector.Interval{From: ago(180*time.Second + jiffy), To: ago(179*time.Second - jiffy)},
			},
		},
		{
			name: "TIME_WAIT whose port was given away", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpTimeWait, status: both, hasTimeout: true, timeout: 100},
			want: life{State: collector.Done, Reason: collector.FIN, Opened: until(19 * time.Second), Ended: since(19*time.Second, 20*time.Second), Active: until(19 * time.Second).To},
		},
		{
			name: "refused", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpClose, hasTimeout: true, timeout: 119},
			want: life{State: collector.Opening, Reason: collector.RST, Refused: true, Opened: until(0), Ended: collector.Interval{From: ago(time.Millisecond), To: now}},
		},
		{
			name: "never answered", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpSynSent},
			want: life{State: collector.Opening, Reason: collector.Timeout, Opened: until(119 * time.Second), Ended: until(0), Active: until(119 * time.Second).To},
		},
		{
			name: "last ACK lost", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpLastAck, status: both},
			want: life{State: collector.Closing, Reason: collector.FIN, Opened: until(29 * time.Second), Ended: until(29 * time.Second), Active: until(29 * time.Second).To},
		},
		{
			name: "idle for five days", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, status: both},
			want: life{State: collector.Established, Reason: collector.Idle, Opened: until(9 * time.Second), Ended: until(0)},
		},
		{
			name: "evicted", kind: collector.Closed,
			m:    message{orig: tuple{proto: tcp}, tcp: tcpEstablished, status: both, hasTimeout: true, timeout: 431990},
			want: life{State: collector.Established, Reason: collector.Evicted, Opened: until(9 * time.Second), Ended: collector.Interval{From: ago(time.Millisecond), To: now}, Active: until(9 * time.Second).To},
		},
		{
			name: "evicted, stamped", kind: collector.Closed,
			m:    message{orig: tuple{proto: udp}, status: both, hasTimeout: true, timeout: 29, event: uint64(ago(time.Second))},
			want: life{State: collector.Established, Reason: collector.Evicted, Opened: collector.Interval{To: ago(time.Second)}, Ended: collector.Interval{From: ago(time.Second), To: ago(time.Second)}, Active: ago(time.Second)},
		},
		{
			name: "UDP expired", kind: collector.Closed,
			m:    message{orig: tuple{proto: udp}, status: both},
			want: life{State: collector.Established, Reason: collector.Idle, Opened: until(29 * time.Second), Ended: until(0), Active: until(29 * time.Second).To},
		},
		{
			name: "UDP expired, noticed a second ago", kind: collector.Closed,
			m:    message{orig: tuple{proto: udp}, status: both, event: uint64(ago(time.Second))},
			want: life{State: collector.Established, Reason: collector.Idle, Opened: until(30 * time.Second), Ended: collector.Interval{To: ago(time.Second)}, Active: until(30 * time.Second).To},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := defaults()
			if tt.set != nil {
				tt.set(l.Timeouts)
			}
			limits := newTimeouts(l)
			c := newClock(func() collector.Time { return now })
			c.wall = func() int64 { return int64(now) }
			c.boot = func() time.Duration { return 24 * time.Hour }
			r := reading{from: ago(time.Millisecond), at: c.read(), clock: c, timeouts: &limits}
			var f collector.Flow
			switch tt.kind {
			case collector.Seen:
				r.fillSeen(&f, &tt.m)
			case collector.Opened:
				r.fillOpened(&f, &tt.m)
			case collector.Closed:
				r.fillClosed(&f, &tt.m)
			}
			got := life{f.State, f.Reason, f.Refused, f.Opened, f.Ended, f.Active, f.Cut, f.PickedUp}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
