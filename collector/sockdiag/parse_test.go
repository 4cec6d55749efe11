package sockdiag

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// captured returns a message that a kernel sent, without its netlink header.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func addrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var comparers = cmp.Options{
	cmp.AllowUnexported(socket{}, tcpInfo{}),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		want socket
	}{
		{"6.18-tcp-established", socket{
			family: unix.AF_INET, state: tcpEstablished, local: addrPort("10.77.0.1:44617"), remote: addrPort("10.77.0.2:8080"),
			cookie: 70389, inode: 349505, cgroup: 1,
		}},
		{"6.18-tcp6-established", socket{
			family: unix.AF_INET6, state: tcpEstablished, local: addrPort("[fd77::1]:59053"), remote: addrPort("[fd77::2]:8081"),
			cookie: 70392, inode: 349511, cgroup: 1,
		}},
		{"6.18-tcp6-mapped", socket{
			family: unix.AF_INET6, state: tcpEstablished, local: addrPort("10.77.0.2:40910"), remote: addrPort("10.77.0.2:8080"),
			cookie: 70394, inode: 349514, cgroup: 1,
		}},
		{"6.18-tcp-listen", socket{
			family: unix.AF_INET, state: tcpListen, local: addrPort("10.77.0.2:8080"), remote: addrPort("0.0.0.0:0"),
			cookie: 70387, inode: 349503, cgroup: 1,
		}},
		{"6.18-tcp-bound", socket{
			family: unix.AF_INET, state: tcpClose, local: addrPort("10.77.0.1:37019"), remote: addrPort("0.0.0.0:0"),
			cookie: 70390, inode: 349509, cgroup: 1,
		}},
		{"6.18-tcp-synsent", socket{
			family: unix.AF_INET, state: tcpSynSent, timer: 1, retrans: 3, local: addrPort("10.77.0.1:49675"),
			remote: addrPort("10.77.0.2:8082"), cookie: 74906, expires: 532 * time.Millisecond, inode: 349535, cgroup: 1,
		}},
		{"6.18-tcp-closewait", socket{
			family: unix.AF_INET, state: tcpCloseWait, local: addrPort("10.77.0.2:8080"), remote: addrPort("10.77.0.1:39719"),
			cookie: 70396, inode: 349518, cgroup: 1,
		}},
		{"6.18-tcp-finwait2-orphan", socket{
			family: unix.AF_INET, state: tcpFinWait2, timer: timerTimeWait, local: addrPort("10.77.0.1:39719"),
			remote: addrPort("10.77.0.2:8080"), cookie: 70397, expires: 59952 * time.Millisecond,
		}},
		{"6.18-tcp-timewait", socket{
			family: unix.AF_INET, state: tcpTimeWait, timer: timerTimeWait, local: addrPort("10.77.0.1:39719"),
			remote: addrPort("10.77.0.2:8080"), cookie: 70397, expires: 59900 * time.Millisecond,
		}},
		{"6.18-udp-connected", socket{
			family: unix.AF_INET, state: tcpEstablished, local: addrPort("10.77.0.1:57188"), remote: addrPort("10.77.0.2:53"),
			cookie: 71860, inode: 355236, cgroup: 1,
		}},
		{"6.18-udp-unconnected", socket{
			family: unix.AF_INET, state: tcpClose, local: addrPort("10.77.0.1:47753"), remote: addrPort("0.0.0.0:0"),
			cookie: 72057, inode: 355245, cgroup: 1,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got socket
			if err := got.parse(captured(t, tt.name)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, comparers); diff != "" {
				t.Errorf("socket (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseBroken(t *testing.T) {
	t.Parallel()
	whole := captured(t, "6.18-tcp-established")
	with := func(change func(b []byte) []byte) []byte { return change(append([]byte(nil), whole...)) }
	tests := []struct {
		name    string
		b       []byte
		want    string
		unknown int
	}{
		{name: "empty", b: nil, want: "inet_diag_msg: 0 bytes, want 72"},
		{name: "short", b: whole[:71], want: "inet_diag_msg: 71 bytes, want 72"},
		{name: "no attributes", b: whole[:72]},
		{name: "attribute cut off", b: whole[:len(whole)-4], want: "attribute after 100 bytes of 104 is no whole one"},
		{name: "attribute of length 0", b: append(with(func(b []byte) []byte { return b[:72] }), 0, 0, 1, 0), want: "attribute after 72 bytes of 76 is no whole one"},
		{name: "attribute too long", b: append(with(func(b []byte) []byte { return b[:72] }), 255, 255, 1, 0), want: "attribute after 72 bytes of 76 is no whole one"},
		{name: "cgroup id of 4 bytes", b: append(with(func(b []byte) []byte { return b[:72] }), 8, 0, attrCgroupID, 0, 1, 2, 3, 4), want: "INET_DIAG_CGROUP_ID: 4 bytes, want 8"},
		{name: "attributes of a newer kernel", b: append(with(func(b []byte) []byte { return b[:72] }), 5, 0, attrMax+1, 0, 1, 0, 0, 0, 4, 0, 99, 0), unknown: 2},
		{name: "another family", b: with(func(b []byte) []byte { b[0] = unix.AF_UNIX; return b }), want: "idiag_family: 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got socket
			err := got.parse(tt.b)
			switch {
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || err.Error() != tt.want):
				t.Errorf("error %v, want %q", err, tt.want)
			case err != nil && got != socket{}:
				t.Errorf("error, and yet %+v", got)
			case got.unknown != tt.unknown:
				t.Errorf("%d unknown attributes, want %d", got.unknown, tt.unknown)
			}
		})
	}
}

func TestParseDestroyed(t *testing.T) {
	t.Parallel()
	// All are the side that connected.
	tests := []struct {
		name   string
		local  string
		remote string
		info   tcpInfo // lastPacket is left out
	}{
		{"6.18-destroyed-tcp-fin", "10.77.0.1:43543", "10.77.0.2:8080", tcpInfo{known: true, connected: true, finAcked: true}},
		{"6.18-destroyed-tcp-active-close", "10.77.0.1:59081", "10.77.0.2:8080", tcpInfo{known: true, connected: true, finAcked: true}},
		{"6.18-destroyed-tcp-reset-by-peer", "10.77.0.1:41167", "10.77.0.2:8080", tcpInfo{known: true, connected: true}},
		{"6.18-destroyed-tcp-reset", "10.77.0.1:45205", "10.77.0.2:0", tcpInfo{known: true, connected: true}},
		{"6.18-destroyed-tcp-refused", "0.0.0.0:35522", "10.77.0.2:0", tcpInfo{known: true, connected: true}},
		{"6.18-destroyed-tcp-unanswered", "10.77.0.1:52725", "10.77.0.2:8082", tcpInfo{known: true, connected: true, unanswered: true}},
		{"6.18-destroyed-tcp-never-connected", "10.77.0.1:56137", "0.0.0.0:0", tcpInfo{known: true}},
		{"6.18-destroyed-udp", "10.77.0.1:57188", "10.77.0.2:53", tcpInfo{}},
		{"6.18-destroyed-udp-unconnected", "10.77.0.1:47753", "0.0.0.0:0", tcpInfo{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got destroyed
			if err := got.parse(captured(t, tt.name)); err != nil {
				t.Fatal(err)
			}
			got.info.lastPacket = 0
			if diff := cmp.Diff(tt.info, got.info, comparers); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
			if got.local != addrPort(tt.local) || got.remote != addrPort(tt.remote) {
				t.Errorf("got %v to %v, want %s to %s", got.local, got.remote, tt.local, tt.remote)
			}
			want := collector.TCP
			if strings.Contains(tt.name, "udp") {
				want = collector.UDP
			}
			if got.protocol != want {
				t.Errorf("protocol %v, want %v", got.protocol, want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range files {
		f.Add(captured(f, strings.TrimSuffix(filepath.Base(name), ".hex")))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s socket
		if err := s.parse(b); err != nil && s != (socket{}) {
			t.Errorf("error %v, and yet %+v", err, s)
		}
		if a := s.remote.Addr(); a.Is4In6() {
			t.Errorf("%v is mapped", a)
		}
		var d destroyed
		if err := d.parse(b); err != nil && d != (destroyed{}) {
			t.Errorf("error %v, and yet %+v", err, d)
		}
		if d.info.lastPacket < 0 {
			t.Errorf("last packet %v ago", d.info.lastPacket)
		}
		var flow collector.Flow
		w := written{after: 1e18, before: 1e18 + 5e6}
		s.flow(&flow, collector.TCP, 7, w)
		if e := flow.Ended; !e.IsZero() && (e.From > e.To || e.To > w.before) {
			t.Errorf("ended in %v, seen at %v", e, w.before)
		}
		if (flow.State == collector.Done) != !flow.Ended.IsZero() {
			t.Errorf("state %d, ended %v", flow.State, flow.Ended)
		}
	})
}

func TestFlow(t *testing.T) {
	t.Parallel()
	const (
		netns = 4026531840
		at    = collector.Time(1_700_000_000_000_000_000)
	)
	w := written{after: at.Add(-2 * time.Millisecond), before: at}
	base := func(f collector.Flow) collector.Flow {
		f.Netns, f.VIP = netns, f.Source
		if f.Opened.IsZero() {
			f.Opened.To = at
		}
		return f
	}
	ended := collector.Interval{From: at.Add(-2*time.Millisecond - 100*time.Millisecond - jiffy), To: at.Add(-100*time.Millisecond + jiffy)}
	tests := []struct {
		name     string
		protocol collector.Protocol
		want     collector.Flow
	}{
		{"6.18-tcp-established", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Established, ID: 70389, Inode: 349505, Cgroup: 1,
			Source: addrPort("10.77.0.1:44617"), Destination: addrPort("10.77.0.2:8080"),
		})},
		{"6.18-tcp-synsent", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Opening, ID: 74906, Inode: 349535, Cgroup: 1,
			Source: addrPort("10.77.0.1:49675"), Destination: addrPort("10.77.0.2:8082"),
		})},
		{"6.18-tcp-finwait2-orphan", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Closing, ID: 70397,
			Source: addrPort("10.77.0.1:39719"), Destination: addrPort("10.77.0.2:8080"),
		})},
		{"6.18-tcp-timewait", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Done, Reason: collector.FIN, ID: 70397,
			Source: addrPort("10.77.0.1:39719"), Destination: addrPort("10.77.0.2:8080"),
			Opened: collector.Interval{To: ended.To}, Ended: ended,
		})},
		{"6.18-udp-connected", collector.UDP, base(collector.Flow{
			Protocol: collector.UDP, State: collector.Established, Inode: 355236, Cgroup: 1,
			Source: addrPort("10.77.0.1:57188"), Destination: addrPort("10.77.0.2:53"),
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s socket
			if err := s.parse(captured(t, tt.name)); err != nil {
				t.Fatal(err)
			}
			var got collector.Flow
			s.flow(&got, tt.protocol, netns, w)
			if diff := cmp.Diff(tt.want, got, comparers); diff != "" {
				t.Errorf("flow (-want +got):\n%s", diff)
			}
		})
	}
}
