package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// scrapedOwners is one scrape: by port space the ports that it holds, and who holds how many.
type scrapedOwners struct {
	held   map[string]int
	owners map[string]map[string]int
}

// ownerLabels are those that snat_owner_ports_held has and snat_ports_held has not.
var ownerLabels = regexp.MustCompile(`owner="((?:[^"\\]|\\.)*)",owner_container="([^"]*)",owner_kind="([^"]*)",`)

func scrapeOwners(t *testing.T, a *runningAgent) scrapedOwners {
	t.Helper()
	_, body := a.get(http.MethodGet, "/metrics")
	s := scrapedOwners{map[string]int{}, map[string]map[string]int{}}
	for line := range strings.Lines(body) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), "{")
		if name != "snat_ports_held" && name != "snat_owner_ports_held" {
			continue
		}
		end := strings.LastIndex(rest, "} ")
		labels, value := rest[:end], rest[end+len("} "):]
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		if name == "snat_ports_held" {
			s.held[labels] = n
			continue
		}
		who := ownerLabels.FindStringSubmatch(labels)
		space := ownerLabels.ReplaceAllString(labels, "")
		if s.owners[space] == nil {
			s.owners[space] = map[string]int{}
		}
		s.owners[space][who[3]+" "+who[1]] += n
	}
	return s
}

// check compares the owners of each port space with its ports: at most 20 are named, and all add up to what is held.
func (s scrapedOwners) check(t *testing.T) {
	t.Helper()
	for space, owners := range s.owners {
		sum := 0
		for _, n := range owners {
			sum += n
		}
		if held, shown := s.held[space]; !shown || sum != held {
			t.Errorf("owners hold %d ports of %s, which holds %d (%v)", sum, space, held, shown)
		}
		if len(owners) > 21 {
			t.Errorf("%d owners of %s", len(owners), space)
		}
	}
	for space, held := range s.held {
		if held > 0 && s.owners[space] == nil && !strings.Contains(space, `destination="other"`) {
			t.Errorf("nobody holds the %d ports of %s", held, space)
		}
	}
}

// Thirty clients open and reset flows to two servers while the agent is scraped: in each scrape the owners of a port
// space hold exactly its ports, the smaller ones as other. Once nothing changes the largest have what they opened.
func TestKernelOwnersAddUp(t *testing.T) {
	if !kerneltest.OwnProcesses(t) {
		return
	}
	const clients = 30
	l, err := lab.New(t.Context(), lab.Topology{Nodes: clients, Servers: 2, NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: 9999}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var to [2]netip.AddrPort
	for i := range to {
		to[i] = l.Server(i).At(9000)
		server, err := l.Server(i).Hold(t.Context(), to[i])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
	}
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	writeConfig(t, config, "2000-9999")
	a := startAgent(t, "--config", config, "--netns", l.Router().Path(), "--poll-interval=200ms", "--strategy=poll", "--cpu-budget=1")

	var flows [2][clients]*lab.Flows
	defer func() {
		for i := range flows {
			for _, f := range flows[i] {
				if f != nil {
					f.Close()
				}
			}
		}
	}()
	open := func(server, client, n int) {
		t.Helper()
		if f := flows[server][client]; f != nil {
			f.Close()
		}
		var err error
		if flows[server][client], err = l.Node(client).OpenTCP(to[server], n); err != nil {
			t.Fatal(err)
		}
	}
	scrapes := 0
	// Each round another client gets another number of flows: owners come, grow, and lose their places.
	for round := range 4 * clients {
		open(0, round%clients, 1+(7*round)%41)
		open(1, (11*round)%clients, 1+(5*round)%23)
		scrapeOwners(t, a).check(t)
		scrapes++
	}
	want := map[string]int{}
	for i := range clients {
		open(0, i, 3+2*i)
		if i >= clients-10 { // these hold the most, and so they are named whoever was before
			want[fmt.Sprintf("client 10.0.%d.2", i)] = 3 + 2*i
		}
	}
	space := fmt.Sprintf(`budget="lab",destination="%s",gateway="",protocol="tcp",vip=""`, to[0])
	var got scrapedOwners
	a.within(3*time.Minute, "the largest clients have what they opened", func() bool {
		got = scrapeOwners(t, a)
		got.check(t)
		largest := map[string]int{}
		for owner := range want {
			largest[owner] = got.owners[space][owner]
		}
		return got.held[space] == clients*(clients-1)+3*clients && cmp.Equal(want, largest)
	})
	if n := len(got.owners[space]); n != 21 || got.owners[space]["other other"] == 0 {
		t.Errorf("%d owners, other holds %d: %v", n, got.owners[space]["other other"], got.owners[space])
	}
	t.Logf("%d scrapes under churn; other holds %d of %d", scrapes, got.owners[space]["other other"], got.held[space])
}
