package owner

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Without any right owners are known by the addresses of their namespaces and by the cgroups of sockets; what is not
// known, and which right would tell, is said.
func TestKernelWithoutRights(t *testing.T) {
	const address = "OWNER_TEST_ADDRESS"
	if os.Getenv(address) == "" {
		kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
		h, to := newHost(t)
		root := tree(t)
		workload{group: "docker/" + id1, flows: 3}.start(t, h, to, root, "")
		outer, elsewhere := newHost(t)
		workload{group: "/", flows: 2}.start(t, outer, elsewhere, root, "")
		t.Setenv(address, to.Prev().String())
	}
	if !kerneltest.Unprivileged(t) {
		return
	}
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	at := netip.MustParseAddr(os.Getenv(address))
	w := New(Config{Outer: h})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if w.Look(t.Context()); w.View().Addresses[at] == container(id1) {
			break
		}
	}
	v := w.View()
	if diff := cmp.Diff(container(id1), v.Addresses[at]); diff != "" {
		t.Errorf("the owner of %v (-want +got):\n%s", at, diff)
	}
	if len(v.Netns) != 0 {
		t.Errorf("namespaces are known by their inode numbers: %v", v.Netns)
	}
	found := false
	for _, id := range v.Cgroups {
		found = found || id == container(id1)
	}
	if !found {
		t.Error("the container's cgroup is not known")
	}
	now := time.Now()
	w.lost = streak{now.Add(-2 * streakHold), now}
	if text := strings.Join(w.missing(now), "\n"); !strings.Contains(text, "needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE") {
		t.Errorf("missing: %q", text)
	}
	if diff := cmp.Diff(collector.Owner{Kind: collector.KindContainer, Name: id1[:shortID]}, v.Name(container(id1))); diff != "" {
		t.Errorf("name (-want +got):\n%s", diff)
	}
}
