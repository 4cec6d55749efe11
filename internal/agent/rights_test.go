package agent

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

const translatedText = "budgets: [{name: nat, model: linux, vips: [192.0.2.1], port_range: 1024-2047}]\n"

// Without CAP_NET_ADMIN nobody sees what this machine translates: a budget of it is absent and not 0, the ledger is not
// exact, and the notice says what right to give.
func TestKernelBudgetWithoutRightsIsAbsent(t *testing.T) {
	if !kerneltest.Unprivileged(t) {
		return
	}
	a := newSourcesAgentAt(t, "/proc/self/ns/net", translatedText)
	a.eventually("the budget is left out", func(s seen) bool {
		st := a.publisher.state.Load()
		return s.Source == "sockets" && !s.Exact && st.View.Snapshot != nil && len(st.View.Snapshot.Netns) > 0 &&
			len(st.View.Snapshot.Budgets) == 0 && slices.ContainsFunc(st.Notices, func(n string) bool {
			return strings.Contains(n, "budget nat counts flows") && strings.Contains(n, "setcap cap_net_admin+ep")
		})
	})
}

// A /proc that is mounted with subset=pid shows no settings; netlink answers all the same, and conntrack is read.
func TestKernelConntrackIsReadWithoutProcSys(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const env = "KERNELTEST_SUBSET_PID"
	if os.Getenv(env) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(kerneltest.Program(t, "unshare", "util-linux"), "--mount", "--net", "sh", "-ec",
			`mount -t proc -o subset=pid proc /proc; exec "$0" "$@"`, exe, "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, err := os.Stat("/proc/sys"); err == nil {
		t.Fatal("/proc/sys is there")
	}
	kerneltest.Command(t, self(t), kerneltest.Program(t, "nft", "nftables"),
		"table ip n { chain post { type nat hook postrouting priority 100; ip protocol tcp snat to 192.0.2.1:1024-2047; }; }")
	a := newSourcesAgentAt(t, "/proc/self/ns/net", translatedText)
	a.eventually("conntrack is read", func(s seen) bool { return s.Source == "conntrack" && s.Exact })
	for _, n := range a.notices.list() {
		if strings.Contains(n, "not loaded") || strings.Contains(n, "setcap") {
			t.Errorf("said: %s", n)
		}
	}
}

func self(t *testing.T) *netns.Handle {
	t.Helper()
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}
