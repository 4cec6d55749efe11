package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/collector/sockdiag"
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

// directionText says that of some connections nobody knows yet which side opened them; empty if there are none.
func directionText(st *sockdiag.Stats) string {
	n := 0
	for i := range st.Netns {
		n += st.Netns[i].Last.Unsure
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d connections from before the start may have been opened by either side, as nothing listens on "+
		"their port: they are not counted until that is known, in TIME_WAIT not at all", n)
}
