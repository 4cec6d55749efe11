package agent

import (
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/detector"
)

// ruleless reports whether the rules of a namespace were read, all of them, and none translates or did a minute ago.
func ruleless(s *natrules.Ruleset) bool {
	return s.Read && len(s.Rules) == 0 && s.Translating == 0 && s.Unknown == 0 && len(s.Remarks) == 0 && !s.LegacyUnread
}

// unruled finds the budgets of flows that this machine translates of which nothing tells that it still does: there
// is no rule, and no flow has opened since there is none. When the last rule goes, packets of old flows leave
// untranslated, and their entries stand for days; where there never was a rule, the agent runs in another namespace
// than the NAT. It needs no constructor.
type unruled struct {
	opened map[string]uint64 // by budget, flows opened when the rules were first found missing
}

// look returns those budgets of s. none says that the outer namespace is ruleless.
func (u *unruled) look(s *detector.Snapshot, none bool) map[string]bool {
	if !none {
		u.opened = nil
		return nil
	}
	if u.opened == nil {
		u.opened = map[string]uint64{}
	}
	var out map[string]bool
	for i := range s.Budgets {
		b := &s.Budgets[i]
		if !b.Budget.Translated || b.Budget.Netns != 0 {
			continue
		}
		opened := uint64(0)
		for j := range b.Protocols {
			opened += b.Protocols[j].Opened
		}
		if _, known := u.opened[b.Budget.Name]; !known {
			u.opened[b.Budget.Name] = opened
		}
		if u.opened[b.Budget.Name] == opened {
			if out == nil {
				out = map[string]bool{}
			}
			out[b.Budget.Name] = true
		}
	}
	return out
}
