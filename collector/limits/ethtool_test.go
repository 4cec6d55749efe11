package limits

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// What a driver shows, as ethtool -S does; a driver other than EC2's shows no allowance.
func TestKernelStatistics(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	kerneltest.Uplink(t, ns, "up0", "192.0.2.1/24")
	path := kerneltest.Program(t, "ethtool", "ethtool")
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		got, err := statistics(fd, "up0")
		if err != nil {
			return err
		}
		out, err := exec.Command(path, "-S", "up0").Output()
		if err != nil {
			return err
		}
		want := map[string]uint64{}
		for line := range strings.Lines(string(out)) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
				want[name] = n
			}
		}
		if len(want) == 0 {
			t.Errorf("ethtool shows nothing:\n%s", out)
		}
		for name := range want { // packets come and go meanwhile
			if _, ok := got[name]; !ok {
				t.Errorf("no %s in %v", name, got)
			}
		}
		if got["peer_ifindex"] != want["peer_ifindex"] || want["peer_ifindex"] == 0 {
			t.Errorf("peer_ifindex %d, want %d", got["peer_ifindex"], want["peer_ifindex"])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := Allowances(ns); err != nil || len(list) != 0 {
		t.Errorf("allowances of veth: %v, %v", list, err)
	}
}

func TestAllowanceOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		values map[string]uint64
		want   Allowance
		ok     bool
	}{
		{
			"ena 2.8.1 and later",
			map[string]uint64{"conntrack_allowance_available": 136812, "conntrack_allowance_exceeded": 7, "tx_timeout": 0},
			Allowance{"eth0", 136812, true, 7},
			true,
		},
		{"older ena", map[string]uint64{"conntrack_allowance_exceeded": 7}, Allowance{"eth0", 0, false, 7}, true},
		{"another driver", map[string]uint64{"rx_queue_0_drops": 1}, Allowance{Interface: "eth0"}, false},
		{"nothing", nil, Allowance{Interface: "eth0"}, false},
	} {
		got, ok := allowanceOf("eth0", tt.values)
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, ok, diff)
		}
	}
}
