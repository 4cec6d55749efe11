package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A pool size that was good stands over a reload too, for as long as its file gives none that can be used.
func TestReloadKeepsThePoolSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, content string // of the file at the reload; none where empty
		config        string // at the reload
		ports         int    // after it; 0 where it is refused
		stale         bool
	}{
		{"no file", "", "{name: web, model: azure-lb-2018, nodes_file: FILE}", 1024, true},
		{"no number", "many", "{name: web, model: azure-lb-2018, nodes_file: FILE}", 1024, true},
		{"more than the table has", "1001", "{name: web, model: azure-lb-2018, nodes_file: FILE}", 1024, true},
		{"more than the table has, beside another change", "1001", "{name: web, model: azure-lb-2018, vip_count: 2, nodes_file: FILE}", 2048, true},
		{"over the edge of the table", "51", "{name: web, model: azure-lb-2018, nodes_file: FILE}", 512, false},
		{"what only the new size allows", "10", "{name: web, model: azure-lb-manual, ports: 6400, nodes_file: FILE}", 6400, false},
		{"another mistake beside", "1001", "{name: web, model: azure-lb-2018, vips: [203.0.113.1, 203.0.113.1], nodes_file: FILE}", 0, false},
		{"another file, which is not there", "50", "{name: web, model: azure-lb-2018, nodes_file: /no/such}", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "nodes")
			write(t, file, "40\n")
			const before = "cloud_metadata: false\nbudgets: ["
			a, path := newQuietAgent(t, before+fmt.Sprintf("{name: web, model: azure-lb-2018, nodes_file: %q}]\n", file), cloud.Client{})
			if tt.content == "" {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, file, tt.content)
			}
			write(t, path, before+strings.ReplaceAll(tt.config, "FILE", strconv.Quote(file))+"]\n")
			err := a.setup.reload(t.Context())
			if tt.ports == 0 {
				if got := a.setup.current()[0].TCP.Ports; err == nil || got != 1024 {
					t.Errorf("error %v, %d ports", err, got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, stale := a.setup.current()[0].TCP.Ports, a.setup.seen.stale["web"]; got != tt.ports || stale != tt.stale {
				t.Errorf("%d ports, stale %v, want %d, %v", got, stale, tt.ports, tt.stale)
			}
		})
	}
}

// Another namespace takes a restart: until then the budgets are those of the one in which flows are seen.
func TestKernelReloadWithAnotherNetns(t *testing.T) {
	t.Parallel()
	outer, other := kerneltest.Netns(t), kerneltest.Netns(t)
	for ns, ports := range map[*netns.Handle]string{outer: "10000 10099", other: "20000 20499"} {
		if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte(ports), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	text := func(ns string) string {
		return "cloud_metadata: false\nnetns: " + ns + "\nbudgets: [{name: own, model: local}]\n"
	}
	at := func(ns *netns.Handle) string { return fmt.Sprintf("/proc/self/fd/%d", ns.FD()) }
	a, path := newQuietAgent(t, text(at(outer)), cloud.Client{})
	write(t, path, text(at(other)))
	if err := a.setup.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	const notice = "restart the agent for the new netns in its config"
	if b := a.setup.current()[0]; b.TCP.Ports != 100 || b.Netns != outer.Inode() || !slices.Contains(a.notices.list(), notice) {
		t.Errorf("%d ports in namespace %d, want 100 in %d; notices %q", b.TCP.Ports, b.Netns, outer.Inode(), a.notices.list())
	}
	write(t, path, text("/no/such"))
	if err := a.setup.reload(t.Context()); err == nil || !strings.Contains(err.Error(), "netns: /no/such: want a network namespace that is there") {
		t.Errorf("a namespace that is not there: %v", err)
	}
}
