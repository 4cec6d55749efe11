package agent

import (
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/detector"
)

// remedy returns what would make conntrack readable, empty if the plan that runs reads it or does without.
func (ss *sensors) remedy() string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.unseen
}

// observed returns snap as far as the sources see it. If a remedy is needed, budgets of flows that only conntrack shows
// are left out: what nobody looked at is not 0. The ledger of the outer namespace is inexact then, and notice says why.
func observed(
	snap *detector.Snapshot, outer uint64, stats []sourceStats, remedy string,
) (out *detector.Snapshot, notice string) {
	shown := *snap
	var lost []string
	if remedy != "" {
		shown.Budgets = nil
		for _, b := range snap.Budgets {
			if b.Budget.Translated {
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
			n.Exact = n.Exact && len(lost) == 0
		}
	}
	if len(lost) > 0 {
		notice = "budget " + strings.Join(lost, ", ") + " counts flows that this machine translates, which only conntrack " +
			"shows, and conntrack is not read: its figures are left out; " + remedy
	}
	return &shown, notice
}
