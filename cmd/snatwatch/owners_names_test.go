package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// A cgroup's name may have any bytes but three. Whatever it is, the metrics are well-formed, the page shows it as text,
// and the port spaces' sums hold.
func TestKernelOwnersOfAnyName(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin, netns.SysPtrace)
	if !kerneltest.OwnProcesses(t) {
		return
	}
	names := []string{
		"<script>alert(1)<script>.service", `quote".service`, `back\slash.service`, "\xff\xfe\x01\x7f.service", "unknown", "other",
		strings.Repeat("n", 247) + ".service", "{{.}}.service", "\u202egnp.service", "a,b=c}.service",
	}
	l, err := lab.New(t.Context(), lab.Topology{Nodes: len(names), NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: 2255}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Server(0).At(9000)
	server, err := l.Server(0).Hold(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	all := 0
	for i, name := range names {
		flows := len(names) - i // the page names the first three
		all += flows
		startProgram(t, l.Node(i), inCgroup(t, "jobs", name), "verify", "--target", to.String(), fmt.Sprintf("--limit=%d", flows), "--hold=1h", "--ports=256")
	}
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	writeConfig(t, config, "2000-2255")
	a := startAgent(t, "--config", config, "--netns", l.Router().Path(), "--poll-interval=500ms", "--strategy=poll", "--cpu-budget=1")
	var owners map[string]int
	a.within(3*time.Minute, "each has its ports", func() bool {
		var held int
		held, owners = a.heldBy()
		named := 0
		for owner, n := range owners {
			if strings.HasPrefix(owner, "unit ") && n > 0 {
				named++
			}
		}
		return held == all && named == len(names)
	})
	checkMetrics(t, a)
	scrapeOwners(t, a).check(t)
	for owner := range owners {
		if !utf8.ValidString(owner) || strings.ContainsFunc(owner, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q is shown", owner)
		}
	}
	for _, path := range []string{"/", "/api/v1/snapshot", "/metrics"} {
		_, body := a.get(http.MethodGet, path)
		if path == "/" && (strings.Contains(body, "<script>alert") || !strings.Contains(body, "&lt;script&gt;alert")) {
			t.Error("the page does not show a name as text")
		}
		if !utf8.ValidString(body) {
			t.Errorf("%s is not UTF-8", path)
		}
	}
}
