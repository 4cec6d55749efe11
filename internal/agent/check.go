package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/words"
)

// checkHold is for how long a notice names what the ledger's check of itself found.
const checkHold = 10 * time.Minute

// checks remembers what the ledger's checks of itself found. It needs no constructor.
type checks struct {
	mismatches, vanished, reopened found
}

// look returns a notice for each kind of find up to s; none if the last finds are long ago.
func (c *checks) look(s *detector.Snapshot) []string {
	texts := []string{
		c.mismatches.look(s, func(n *detector.NetnsSnapshot) uint64 { return n.Mismatches },
			"the ledger's check of itself found a difference: ",
			"network namespace %d: %s of the kernel's table were not in the ledger, or in another state there: what it "+
				"counted was not exact until the next dump, which took them in"),
		c.vanished.look(s, func(n *detector.NetnsSnapshot) uint64 { return n.Vanished },
			"flows left conntrack before a read showed how they ended: ",
			"network namespace %d: %s vanished a moment after packets of theirs. Somebody flushed the table or deleted "+
				"entries, or the kernel gave ports of flows that had just closed to new flows, as it does where "+
				"they are scarce. Flows that opened and ended since the read before are not counted, flows that go on are "+
				"counted"),
		c.reopened.look(s, func(n *detector.NetnsSnapshot) uint64 { return n.Reopened },
			"ports come round about as fast as conntrack is read: ",
			"network namespace %d: %s opened on the port of another that was seen one or two reads before. Flows that "+
				"opened and ended between two reads are not counted: shorten poll_interval, or set strategy: events"),
	}
	return slices.DeleteFunc(texts, func(t string) bool { return t == "" })
}

// found is a counter of namespaces, and what was said of its last growth.
type found struct {
	counted map[uint64]uint64 // by namespace
	at      collector.Time
	text    string
}

// look returns what to say of the growth of a counter up to s: title, and form with the namespace and the growth in
// flows.
func (f *found) look(s *detector.Snapshot, counter func(*detector.NetnsSnapshot) uint64, title, form string) string {
	var texts []string
	for i := range s.Netns {
		n := &s.Netns[i]
		if more := counter(n) - min(counter(n), f.counted[n.Netns]); more > 0 {
			texts = append(texts, fmt.Sprintf(form, n.Netns, words.Counted(more, "flow", "flows")))
		}
	}
	if len(texts) > 0 {
		f.counted = map[uint64]uint64{}
		for i := range s.Netns {
			f.counted[s.Netns[i].Netns] = counter(&s.Netns[i])
		}
		f.at, f.text = s.At, title+strings.Join(texts, ", ")
	}
	if f.text != "" && s.At.Sub(f.at) >= checkHold {
		f.text = ""
	}
	return f.text
}
