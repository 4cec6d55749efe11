package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// checkHold is for how long a notice names what the ledger's check of itself found.
const checkHold = 10 * time.Minute

// checks remembers what the ledger's checks of itself found. It needs no constructor.
type checks struct {
	found map[uint64]uint64 // mismatches by namespace
	at    collector.Time    // of the last
	text  string
}

// look returns the notice about what the checks found up to s, empty if the last find is long ago.
func (c *checks) look(s *detector.Snapshot) string {
	var texts []string
	for _, n := range s.Netns {
		if more := n.Mismatches - min(n.Mismatches, c.found[n.Netns]); more > 0 {
			texts = append(texts, fmt.Sprintf("network namespace %d: %d flows of the kernel's table were not in the ledger, or "+
				"in another state there: what it counted was not exact until the next dump, which took them in", n.Netns, more))
		}
	}
	if len(texts) > 0 {
		c.found = map[uint64]uint64{}
		for _, n := range s.Netns {
			c.found[n.Netns] = n.Mismatches
		}
		c.at, c.text = s.At, "the ledger's check of itself found a difference: "+strings.Join(texts, "; ")
	}
	if c.text != "" && s.At.Sub(c.at) >= checkHold {
		c.text = ""
	}
	return c.text
}
