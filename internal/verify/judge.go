package verify

import (
	"fmt"

	"github.com/snatwatch/snatwatch/internal/words"
)

// Budget is what a test is compared with: the ports that one node may hold to one destination,
// and the effective ceiling, the fill at which 1 % of first packets are lost.
type Budget struct {
	Name      string `json:"name,omitempty"`
	Ports     int    `json:"ports"`
	Effective int    `json:"effective_ports"`
}

// Outcome is what a test says of a budget.
type Outcome string

// The outcomes.
const (
	Confirmed    Outcome = "confirmed"
	Contradicted Outcome = "contradicted"
	Inconclusive Outcome = "inconclusive"
)

// Verdict is the comparison of a test with a budget.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Budget  Budget  `json:"budget"`
	// Measured is how many ports the node could hold to the target; 0 where the test did not reach
	// the end of them. Of a range it is the end that is nearer to the budget.
	Measured int    `json:"measured,omitempty"`
	Text     string `json:"text"`
}

// tolerance is how far a measured budget may lie from the one believed: ports that other flows took or gave
// back during the test, and ports that a random picker misses.
func tolerance(ports int) int { return max(2, ports/50) }

// Judge compares the report with a budget and keeps the verdict in it.
func (r *Report) Judge(b Budget) {
	if b.Effective == 0 {
		b.Effective = b.Ports
	}
	v := &Verdict{Outcome: Inconclusive, Budget: b}
	r.Verdict = v
	// What was cooling before may have come free during the test, or not: the ports are from least to most.
	most := r.Open + r.HeldBefore
	least := most - r.CoolingBefore
	slack := tolerance(b.Ports)
	lost := 0
	for _, n := range r.Lost {
		lost += n
	}
	switch {
	case r.Attempted == 0 || r.Open == 0:
		v.Text = "no flow opened, so nothing is known of the ports: " + r.why()
	case least > b.Ports+slack:
		v.Outcome = Contradicted
		v.Text = fmt.Sprintf("the budget of %d is wrong: it is really %d%s", b.Ports, least, r.atLeast())
		if r.endedByPorts() {
			v.Measured = least
		}
	case lost > slack:
		v.Text = fmt.Sprintf("%d flows ended while they were held (%s): the target or the path ends flows, so "+
			"their number says nothing of ports", lost, counts(r.Lost))
	case r.endedByPorts() && most >= min(b.Effective, b.Ports-slack):
		v.Outcome, v.Measured = Confirmed, min(most, max(least, b.Ports))
		v.Text = fmt.Sprintf("the budget of %d is confirmed", b.Ports)
	case r.endedByPorts():
		v.Outcome, v.Measured = Contradicted, most
		v.Text = fmt.Sprintf("the budget of %d is wrong: it is really %s", b.Ports, span(least, most))
	case r.Failed > 0 && r.Causes[causeNoAnswer] == 0:
		v.Text = "flows failed, but not for want of NAT ports: " + r.why()
	case r.Stopped == StoppedByUser:
		v.Text = fmt.Sprintf("interrupted at %s, before the ports of the budget of %d were all held",
			words.Counted(r.Open, "flow", "flows"), b.Ports)
	case r.Failed > 0:
		v.Text = "flows failed here and there, not from one number on: packets are lost on the way"
	default:
		v.Text = fmt.Sprintf("all %d flows opened, and no more were tried: whether the budget is %d is not known; ask "+
			"for a limit of %d", r.Open, b.Ports,
			b.Ports+b.Ports/20+10-r.HeldBefore+r.CoolingBefore)
	}
}

// span prints a number that is known within a range.
func span(least, most int) string {
	if least == most {
		return fmt.Sprint(most)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// unansweredAfter is how many flows must have failed at the end of the test, every one without an answer, to say that
// the ports were all held.
const unansweredAfter = 3

// endedByPorts reports whether the test ended as it does when no port is left: from one number on, no
// flow opened, and nothing answered, not even a refusal.
func (r *Report) endedByPorts() bool {
	return r.FailedFrom > 0 && r.Attempted-r.FailedFrom+1 >= unansweredAfter && r.Causes[causeNoAnswer]*10 >= r.Failed*9
}

// atLeast qualifies a measured number where the test was not stopped by a lack of ports, or where more may have been
// held than it opened.
func (r *Report) atLeast() string {
	if r.endedByPorts() && r.CoolingBefore == 0 {
		return ""
	}
	return " or more"
}

// why explains failures that are no lack of NAT ports.
func (r *Report) why() string {
	switch {
	case r.Causes["ECONNREFUSED"] > 0:
		return "the target refuses (RST): nothing listens there, or its queue is full"
	case r.Causes["EADDRNOTAVAIL"] > 0:
		return "this machine has no local port left (EADDRNOTAVAIL): net.ipv4.ip_local_port_range is the limit"
	case r.Causes[causeNoAnswer] > 0:
		return "nothing answers: the target is down, filtered, or the ports were all held before the test"
	case r.Failed > 0:
		return counts(r.Causes)
	}
	return r.stoppedBy() + " stopped it"
}
