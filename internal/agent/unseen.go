package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/words"
)

// remedy returns what would make conntrack readable, empty if the selection that runs reads it or does without.
func (ss *sensors) remedy() string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.unseen
}

// observed returns snap as far as the sources see it. If a remedy is needed, budgets of flows that only conntrack shows
// are left out: what nobody looked at is not 0. So are the unruled ones, and those of other namespaces, whose conntrack
// is not read. The ledger of the outer namespace is inexact then, and notice says why.
func observed(
	snap *detector.Snapshot, outer uint64, stats []sourceStats, remedy string, unruled map[string]bool,
) (out *detector.Snapshot, notice string) {
	shown, elsewhere := ofOuter(snap, outer)
	var lost []string
	if remedy == "" && len(unruled) > 0 {
		remedy = "no NAT rule of this network namespace translates any flow, and none has opened since: entries of flows " +
			"from before may stand for days, but hold no port; load the rules again, or run the agent in the namespace of " +
			"the machine that translates (hostNetwork: true in a pod)"
	} else {
		unruled = nil
	}
	if remedy != "" {
		all := shown.Budgets
		shown.Budgets = nil
		for _, b := range all {
			if b.Budget.Translated && (unruled == nil || unruled[b.Budget.Name]) {
				lost = append(lost, b.Budget.Name)
				continue
			}
			shown.Budgets = append(shown.Budgets, b)
		}
	}
	others := uint64(0)
	for _, st := range stats {
		others += st.others
	}
	shown.Netns = slices.Clone(snap.Netns)
	for i := range shown.Netns {
		if n := &shown.Netns[i]; n.Netns == outer {
			n.OtherProtocols += others
			n.Exact = n.Exact && len(lost)+len(elsewhere) == 0
		}
	}
	if len(lost) > 0 {
		why := "which only conntrack shows, and conntrack is not read"
		if unruled != nil {
			why = "and it translates none now"
		}
		notice = "budget " + strings.Join(lost, ", ") + " counts flows that this machine translates, " + why +
			": its figures are left out; " + remedy
	}
	if len(elsewhere) > 0 {
		if notice != "" {
			notice += "; "
		}
		notice += "budget " + strings.Join(elsewhere, ", ") + " counts flows that another network namespace translates, " +
			"and conntrack is read in the agent's alone: its figures are left out; run an agent with netns, at the top of its " +
			"configuration, set to that namespace"
	}
	return &shown, notice
}

// ofOuter returns snap without the budgets of flows that another namespace than outer translates, and their names.
func ofOuter(snap *detector.Snapshot, outer uint64) (shown detector.Snapshot, elsewhere []string) {
	shown = *snap
	shown.Budgets = nil
	for _, b := range snap.Budgets {
		if b.Budget.Translated && b.Budget.Netns != 0 && b.Budget.Netns != outer {
			elsewhere = append(elsewhere, b.Budget.Name)
			continue
		}
		shown.Budgets = append(shown.Budgets, b)
	}
	return shown, elsewhere
}

// directionText says for how many connections nobody knows yet which side opened them; empty if there are none.
func directionText(st *sockdiag.Stats) string {
	n := 0
	for i := range st.Netns {
		n += st.Netns[i].Last.Unsure
	}
	if n == 0 {
		return ""
	}
	return words.Counted(n, "connection", "connections") + " from before the start cannot be counted: nothing listens " +
		"on their port, so it is not known yet which side opened them, and in TIME_WAIT never will be"
}

// localPortsText says which range of local ports is used up by all destinations together while each alone holds few;
// empty if none is. The figures are in steps of five percent.
func localPortsText(s *detector.Snapshot) string {
	var texts []string
	for i := range s.Budgets {
		b := &s.Budgets[i]
		for j := range b.Protocols {
			p := &b.Protocols[j]
			ports := p.Terms.Ports
			if !b.Budget.Local || ports == 0 || p.PortsInUse*10 < ports*9 || p.Busiest*2 > ports {
				continue
			}
			texts = append(texts, fmt.Sprintf("budget %s: %d %% of its %d local ports are in use towards all destinations "+
				"together, though the busiest holds less than %d %%: a socket that is bound before it connects finds none; set "+
				"IP_BIND_ADDRESS_NO_PORT before bind, or widen net.ipv4.ip_local_port_range", b.Budget.Name,
				min(100, 100*p.PortsInUse/ports/5*5), ports, 100*p.Busiest/ports/5*5+5))
		}
	}
	return strings.Join(texts, "; ")
}
