package sockdiag

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

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
		{"tcp-established", socket{
			family: unix.AF_INET, state: tcpEstablished, local: addrPort("10.77.0.1:40001"), remote: addrPort("10.77.0.2:8080"),
		}},
		{"tcp6-established", socket{
			family: unix.AF_INET6, state: tcpEstablished, local: addrPort("[fd77::1]:40002"), remote: addrPort("[fd77::2]:8081"),
		}},
		{"tcp6-mapped", socket{
			family: unix.AF_INET6, state: tcpEstablished, local: addrPort("10.77.0.2:40003"), remote: addrPort("10.77.0.2:8080"),
		}},
		{"tcp-listen", socket{
			family: unix.AF_INET, state: tcpListen, local: addrPort("10.77.0.2:8080"), remote: addrPort("0.0.0.0:0"),
		}},
		{"tcp-bound", socket{
			family: unix.AF_INET, state: tcpClose, local: addrPort("10.77.0.1:40005"), remote: addrPort("0.0.0.0:0"),
		}},
		{"tcp-synsent", socket{
			family: unix.AF_INET, state: tcpSynSent, timer: 1, retrans: 3, local: addrPort("10.77.0.1:40006"),
			remote: addrPort("10.77.0.2:8082"),
		}},
		{"tcp-closewait", socket{
			family: unix.AF_INET, state: tcpCloseWait, local: addrPort("10.77.0.2:8080"), remote: addrPort("10.77.0.1:40007"),
		}},
		{"tcp-finwait2-orphan", socket{
			family: unix.AF_INET, state: tcpFinWait2, timer: timerTimeWait, local: addrPort("10.77.0.1:40007"),
			remote: addrPort("10.77.0.2:8080"),
		}},
		{"tcp-timewait", socket{
			family: unix.AF_INET, state: tcpTimeWait, timer: timerTimeWait, local: addrPort("10.77.0.1:40007"),
			remote: addrPort("10.77.0.2:8080"),
		}},
		{"udp-connected", socket{
			family: unix.AF_INET, state: tcpEstablished, local: addrPort("10.77.0.1:40010"), remote: addrPort("10.77.0.2:53"),
		}},
		{"udp-unconnected", socket{
			family: unix.AF_INET, state: tcpClose, local: addrPort("10.77.0.1:40011"), remote: addrPort("0.0.0.0:0"),
		}},
	}
	for _, folder := range kernels(t) {
		truths := truths(t, folder)
		for _, tt := range tests {
			t.Run(folder+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				tr, ok := truths[tt.name]
				if !ok {
					t.Fatal("no truth")
				}
				want := tt.want
				want.cookie, want.inode, want.cgroup = tr.Cookie, tr.Inode, tr.Cgroup
				want.expires = time.Duration(tr.Expires) * time.Millisecond
				var got socket
				if err := got.parse(captured(t, folder, tt.name)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, comparers); diff != "" {
					t.Errorf("socket (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestParseBroken(t *testing.T) {
	t.Parallel()
	whole := captured(t, kernels(t)[0], "tcp-established")
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
		{"destroyed-tcp-fin", "10.77.0.1:40021", "10.77.0.2:8080", tcpInfo{known: true, connected: true, finAcked: true, beyondData: 2}},
		{"destroyed-tcp-active-close", "10.77.0.1:40022", "10.77.0.2:8080", tcpInfo{known: true, connected: true, finAcked: true, beyondData: 2}},
		{"destroyed-tcp-reset-by-peer", "10.77.0.1:40023", "10.77.0.2:8080", tcpInfo{known: true, connected: true, beyondData: 1}},
		{"destroyed-tcp-reset", "10.77.0.1:40024", "10.77.0.2:0", tcpInfo{known: true, connected: true}},
		{"destroyed-tcp-refused", "0.0.0.0:40025", "10.77.0.2:0", tcpInfo{known: true, connected: true}},
		{"destroyed-tcp-unanswered", "10.77.0.1:40026", "10.77.0.2:8082", tcpInfo{known: true, connected: true, unanswered: true}},
		{"destroyed-tcp-never-connected", "10.77.0.1:40027", "0.0.0.0:0", tcpInfo{known: true}},
		{"destroyed-udp", "10.77.0.1:40028", "10.77.0.2:53", tcpInfo{}},
		{"destroyed-udp-unconnected", "10.77.0.1:40029", "0.0.0.0:0", tcpInfo{}},
	}
	for _, folder := range kernels(t) {
		for _, tt := range tests {
			t.Run(folder+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				var got destroyed
				if err := got.parse(captured(t, folder, tt.name)); err != nil {
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
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/linux-*/*.bin")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range files {
		f.Add(captured(f, filepath.Dir(path), strings.TrimSuffix(filepath.Base(path), ".bin")))
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
	folder := kernels(t)[0]
	truths := truths(t, folder)
	ago := timeWait - time.Duration(truths["tcp-timewait"].Expires)*time.Millisecond
	ended := collector.Interval{From: at.Add(-2*time.Millisecond - ago - jiffy), To: min(at, at.Add(-ago+jiffy))}
	tests := []struct {
		name     string
		protocol collector.Protocol
		want     collector.Flow
	}{
		{"tcp-established", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Established,
			Source: addrPort("10.77.0.1:40001"), Destination: addrPort("10.77.0.2:8080"),
		})},
		{"tcp-synsent", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Opening,
			Source: addrPort("10.77.0.1:40006"), Destination: addrPort("10.77.0.2:8082"),
		})},
		{"tcp-finwait2-orphan", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Closing,
			Source: addrPort("10.77.0.1:40007"), Destination: addrPort("10.77.0.2:8080"),
		})},
		{"tcp-timewait", collector.TCP, base(collector.Flow{
			Protocol: collector.TCP, State: collector.Done, Reason: collector.FIN,
			Source: addrPort("10.77.0.1:40007"), Destination: addrPort("10.77.0.2:8080"),
			Opened: collector.Interval{To: ended.To}, Ended: ended,
		})},
		{"udp-connected", collector.UDP, base(collector.Flow{
			Protocol: collector.UDP, State: collector.Established,
			Source: addrPort("10.77.0.1:40010"), Destination: addrPort("10.77.0.2:53"),
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var s socket
			if err := s.parse(captured(t, folder, tt.name)); err != nil {
				t.Fatal(err)
			}
			tr := truths[tt.name]
			tt.want.Inode, tt.want.Cgroup = tr.Inode, tr.Cgroup
			if tt.protocol == collector.TCP {
				tt.want.ID = uint32(tr.Cookie)
			}
			var got collector.Flow
			s.flow(&got, tt.protocol, netns, w)
			if diff := cmp.Diff(tt.want, got, comparers); diff != "" {
				t.Errorf("flow (-want +got):\n%s", diff)
			}
		})
	}
}
