package limits

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files map[string]string
		want  collector.Limits
		errs  []string
	}{
		{
			name: "nothing there",
			want: collector.Limits{Events: -1},
		},
		{
			name: "everything there, and files that are no limit",
			files: map[string]string{
				"net/ipv4/ip_local_port_range":                       "32768\t60999\n",
				"net/ipv4/ip_local_reserved_ports":                   "8080,9148-9150\n",
				"net/ipv4/tcp_tw_reuse":                              "1\n",
				"net/ipv4/tcp_tw_reuse_delay":                        "1500\n",
				"net/ipv4/tcp_timestamps":                            "1\n",
				"net/netfilter/nf_conntrack_count":                   "17\n",
				"net/netfilter/nf_conntrack_max":                     "262144\n",
				"net/netfilter/nf_conntrack_events":                  "2\n",
				"net/netfilter/nf_conntrack_timestamp":               "1\n",
				"net/netfilter/nf_conntrack_acct":                    "0\n",
				"net/netfilter/nf_conntrack_tcp_timeout_established": "432000\n",
				"net/netfilter/nf_conntrack_udp_timeout":             "30\n",
				"net/netfilter/nf_conntrack_tcp_loose":               "1\n",
				"net/netfilter/nf_log_all_netns":                     "0\n",
			},
			want: collector.Limits{
				LocalPorts:    collector.PortRange{First: 32768, Last: 60999},
				Reserved:      []collector.PortRange{{First: 8080, Last: 8080}, {First: 9148, Last: 9150}},
				ReuseTimeWait: 1500 * time.Millisecond,
				Entries:       17, EntriesMax: 262144, Events: 2, Timestamps: true,
				Timeouts: map[string]time.Duration{
					"tcp_timeout_established": 120 * time.Hour, "udp_timeout": 30 * time.Second,
				},
			},
		},
		{
			name:  "TIME_WAIT is reused after a second before the kernel has a setting for it",
			files: map[string]string{"net/ipv4/tcp_tw_reuse": "1", "net/ipv4/tcp_timestamps": "2"},
			want:  collector.Limits{Events: -1, ReuseTimeWait: time.Second},
		},
		{
			name:  "on loopback alone",
			files: map[string]string{"net/ipv4/tcp_tw_reuse": "2", "net/ipv4/tcp_timestamps": "1"},
			want:  collector.Limits{Events: -1},
		},
		{
			name:  "without timestamps never",
			files: map[string]string{"net/ipv4/tcp_tw_reuse": "1", "net/ipv4/tcp_timestamps": "0", "net/ipv4/tcp_tw_reuse_delay": "10"},
			want:  collector.Limits{Events: -1},
		},
		{
			name: "events off is not events absent",
			files: map[string]string{
				"net/netfilter/nf_conntrack_events": "0\n", "net/ipv4/ip_local_reserved_ports": "\n",
			},
			want: collector.Limits{},
		},
		{
			name: "each bad file is named with its value, the good ones still count",
			files: map[string]string{
				"net/ipv4/ip_local_port_range":           "60999\t32768\n",
				"net/netfilter/nf_conntrack_max":         "-1\n",
				"net/netfilter/nf_conntrack_events":      "3\n",
				"net/netfilter/nf_conntrack_udp_timeout": "soon\n",
				"net/netfilter/nf_conntrack_count":       "5\n",
			},
			want: collector.Limits{Entries: 5, Events: -1},
			errs: []string{
				`parse net/ipv4/ip_local_port_range "60999\t32768": want two ports, the first not above the last`,
				`parse net/netfilter/nf_conntrack_max "-1": want a number that is not negative`,
				`parse net/netfilter/nf_conntrack_events "3": want 0, 1 or 2`,
				`parse net/netfilter/nf_conntrack_udp_timeout "soon": want seconds, at most 4294967295`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sys := fstest.MapFS{}
			for name, value := range tt.files {
				sys[name] = &fstest.MapFile{Data: []byte(value)}
			}
			got, err := Read(sys)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("limits (-want +got):\n%s", diff)
			}
			var errs []string
			if err != nil {
				errs = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(tt.errs, errs); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// refusing is a file system in which one file may not be read.
type refusing struct {
	fstest.MapFS
	file string
}

func (f refusing) ReadFile(name string) ([]byte, error) {
	if name == f.file {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.MapFS.ReadFile(name)
}

// A table without a limit is not taken for one that is not there.
func TestReadUnlimited(t *testing.T) {
	t.Parallel()
	got, err := Read(fstest.MapFS{fileEntries: {Data: []byte("7\n")}, fileEntriesMax: {Data: []byte("0\n")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(collector.Limits{Entries: 7, EntriesMax: collector.Unlimited, Events: -1}, got); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}

func TestReadRefused(t *testing.T) {
	t.Parallel()
	sys := refusing{
		MapFS: fstest.MapFS{fileEntries: {Data: []byte("7\n")}, fileEntriesMax: {Data: []byte("9\n")}},
		file:  fileEntriesMax,
	}
	got, err := Read(sys)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), fileEntriesMax) {
		t.Errorf("error %v, want a refusal that names %s", err, fileEntriesMax)
	}
	if diff := cmp.Diff(collector.Limits{Entries: 7, Events: -1}, got); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}

func TestEvictsClosed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		release    string
		evicts, ok bool
	}{
		{"6.18.44-fc-v445", true, true},
		{"6.5.0-14-generic", true, true},
		{"6.5-rc1+", true, true},
		{"6.5", true, true},
		{"7.0.1", true, true},
		{"10.0", true, true},
		{"6.4.12", false, true},
		{"6.1.0-13-amd64", false, true},
		{"5.15.0-1053-aws", false, true},
		{"5.14.0-503.el9.x86_64", false, true},
		{"4.19.325", false, true},
		{"6", false, false},
		{"6.", false, false},
		{"", false, false},
		{"six.five", false, false},
		{"6.99999999999", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.release, func(t *testing.T) {
			t.Parallel()
			if evicts, ok := EvictsClosed(tt.release); evicts != tt.evicts || ok != tt.ok {
				t.Errorf("got %v, %v, want %v, %v", evicts, ok, tt.evicts, tt.ok)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"32768\t60999", "8080,9148-9150", "1-1", "0", "2", "4294967295", "6.5.0-generic", ",", "-", "9-8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parsePortRange(s); err != nil && r != (collector.PortRange{}) || r.Len() < 1 {
			t.Errorf("port range %q: %v, %v", s, r, err)
		}
		ranges, err := parseReserved(s)
		if err != nil && ranges != nil {
			t.Errorf("reserved %q: %v with error %v", s, ranges, err)
		}
		for _, r := range ranges {
			if r.First > r.Last {
				t.Errorf("reserved %q: %v is upside down", s, r)
			}
		}
		if n, err := parseCount(s); n < 0 || err != nil && n != 0 {
			t.Errorf("count %q: %d, %v", s, n, err)
		}
		if b, err := parseSwitch(s); err != nil && b {
			t.Errorf("switch %q: %v, %v", s, b, err)
		}
		if n, err := parseEvents(s); n < 0 || n > 2 || err != nil && n != 0 {
			t.Errorf("events %q: %d, %v", s, n, err)
		}
		if d, err := parseSeconds(s); d < 0 || err != nil && d != 0 {
			t.Errorf("seconds %q: %v, %v", s, d, err)
		}
		if evicts, ok := EvictsClosed(s); evicts && !ok {
			t.Errorf("release %q: evicts without a version", s)
		}
	})
}

// Each namespace has bounds of its own, and reading one leaves the reader where it was.
func TestKernelOf(t *testing.T) {
	t.Parallel()
	const file = "/proc/sys/net/ipv4/ip_local_port_range"
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ranges := []collector.PortRange{{First: 20000, Last: 20009}, {First: 30000, Last: 30099}}
	for i, text := range []string{"20000 20009", "30000 30099"} {
		ns := kerneltest.Netns(t)
		if err := ns.Do(func() error { return os.WriteFile(file, []byte(text), 0) }); err != nil {
			t.Fatal(err)
		}
		got, err := Of(ns)
		if err != nil {
			t.Fatal(err)
		}
		if got.LocalPorts != ranges[i] || got.Netns != ns.Inode() {
			t.Errorf("got ports %v of netns %d, want %v of %d", got.LocalPorts, got.Netns, ranges[i], ns.Inode())
		}
		if got.EntriesMax > 0 && (got.Timeouts["tcp_timeout_time_wait"] == 0 || got.Events < 0) {
			t.Errorf("conntrack is there, but: %+v", got)
		}
		if own, err := os.ReadFile(root + "/" + fileEntriesMax); err == nil &&
			strings.TrimSpace(string(own)) != strconv.Itoa(got.EntriesMax) {
			t.Errorf("limit of the conntrack table %d, want that of the initial namespace, %s", got.EntriesMax, own)
		}
		if got.Entries != 0 {
			t.Errorf("%d entries of another namespace are counted", got.Entries)
		}
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("own namespace changed (-before +after):\n%s", diff)
	}
}
