package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
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
	l, to := holdingLab(t, len(names), 2255)
	all := 0
	for i, name := range names {
		flows := len(names) - i // the page names the first three
		all += flows
		startProgram(t, l.Node(i), inCgroup(t, "jobs", name), "verify", "--target", to.String(), fmt.Sprintf("--limit=%d", flows), "--hold=1h", "--ports=256")
	}
	a := routerAgent(t, l, "2000-2255")
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
