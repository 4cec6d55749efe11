package verify

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Nothing is opened where what is asked is not plain.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	target := netip.MustParseAddrPort("203.0.113.10:443")
	for _, tt := range []struct {
		name    string
		options Options
		want    string
	}{
		{"no target", Options{Limit: 1}, "no target"},
		{"no limit", Options{Target: target}, "no limit"},
		{"no port", Options{Target: netip.MustParseAddrPort("203.0.113.10:0"), Limit: 1}, "no port"},
		{"any address", Options{Target: netip.MustParseAddrPort("0.0.0.0:443"), Limit: 1}, "not the address of one server"},
		{"multicast", Options{Target: netip.MustParseAddrPort("[ff02::1]:443"), Limit: 1}, "not the address of one server"},
		{"broadcast", Options{Target: netip.MustParseAddrPort("255.255.255.255:443"), Limit: 1}, "not the address of one server"},
		{"a negative limit", Options{Target: target, Limit: -1}, "limit -1"},
		{"a limit without bound", Options{Target: target, Limit: LimitMost + 1}, "limit 1048577: want 1 to 1048576"},
		{"a flood", Options{Target: target, Limit: 1, Rate: RateMost + 1}, "rate 1001: want 1 to 1000"},
		{"a negative timeout", Options{Target: target, Limit: 1, Timeout: -time.Second}, "timeout -1s"},
		{"a hold of a day", Options{Target: target, Limit: 1, Hold: 24 * time.Hour}, "hold 24h0m0s"},
		{"less than nothing held", Options{Target: target, Limit: 1, HeldBefore: -1}, "held before -1"},
		{"more flows than files", Options{Target: target, Limit: LimitMost}, "ulimit -n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.options.Socket = func(int) (int, error) {
				t.Error("a socket was made")
				return -1, nil
			}
			if _, err := Run(t.Context(), tt.options); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBanner(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort("198.51.100.1:1024")
	long := strings.Repeat("x", bannerMost+1)
	for _, tt := range []struct {
		name  string
		parts []string
		seen  netip.AddrPort
		told  bool
	}{
		{"whole", []string{formatBanner(at)}, at, true},
		{"in two parts", []string{"snatwatch-verify 198.51", ".100.1:1024\n"}, at, true},
		{"and more after it", []string{formatBanner(at) + "x"}, at, true},
		{"IPv6", []string{"snatwatch-verify [2001:db8::1]:7\n"}, netip.MustParseAddrPort("[2001:db8::1]:7"), true},
		{"not yet", []string{"snatwatch-"}, netip.AddrPort{}, false},
		{"another server", []string{"220 mail.example ESMTP\r\n"}, netip.AddrPort{}, true},
		{"another server without lines", []string{long}, netip.AddrPort{}, true},
		{"no address", []string{"snatwatch-verify here\n"}, netip.AddrPort{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var f flow
			for _, p := range tt.parts {
				f.hear([]byte(p))
			}
			if f.seen != tt.seen || f.told != tt.told || len(f.banner) > 2*bannerMost {
				t.Errorf("saw %v, told %v with %d bytes kept; want %v, %v", f.seen, f.told, len(f.banner), tt.seen, tt.told)
			}
		})
	}
}
