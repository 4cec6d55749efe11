package web

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/words"
)

// advice says what would help the port space of a budget that runs out first, and by how much. It is empty if no port
// space is near its end. The numbers come from resolving the budget again with one thing changed, so they follow its
// model: another VIP doubles the ports of one model and adds nothing to the ports of another.
func advice(s *detector.BudgetSnapshot) []string {
	u := urgent{level: levelOK}
	if u.of(s); u.level == levelOK {
		return nil
	}
	return append(adviceBudget(s.Budget, u.protocol.Protocol, u.space.Class), adviceSpace(u.space, &u.protocol.Terms)...)
}

// Measures returns what the advice can put a number on: the ports that it would add to each port space. It is
// empty where nothing is near its end or nothing helps.
func Measures(s *detector.BudgetSnapshot) []metrics.Measure {
	u := urgent{level: levelOK}
	if u.of(s); u.level == levelOK {
		return nil
	}
	var out []metrics.Measure
	p, c := u.protocol.Protocol, u.space.Class
	now := portsOf(s.Budget, p, c)
	if then, ok := anotherVIP(s.Budget, p, c); ok && then > now && !s.Budget.SpacePerVIP {
		out = append(out, metrics.Measure{Name: "another VIP", Ports: then - now})
	}
	if nodes, then, ok := smallerPool(s.Budget, p, c); ok {
		name := "a pool of at most " + words.Counted(nodes, "node", "nodes")
		out = append(out, metrics.Measure{Name: name, Ports: then - now})
	}
	return out
}

// portsOf returns the ports of a port space of class c.
func portsOf(b *budget.Budget, p collector.Protocol, c budget.PortClass) int {
	return b.Terms(p).OfClass(c).Ports
}

// anotherVIP returns the ports of a port space with one more VIP, ok false where the budget's model has none to add.
func anotherVIP(b *budget.Budget, p collector.Protocol, c budget.PortClass) (ports int, ok bool) {
	if b.VIPCount == 0 || b.Local {
		return 0, false
	}
	more, err := b.WithVIPs(b.VIPCount + 1)
	if err != nil {
		return 0, false
	}
	return portsOf(more, p, c), true
}

// smallerPool returns the largest pool whose nodes have more ports than they have now, ok false where there is none.
func smallerPool(b *budget.Budget, p collector.Protocol, c budget.PortClass) (nodes, ports int, ok bool) {
	now := portsOf(b, p, c)
	for n := b.Nodes - 1; n > 0; n-- {
		fewer, err := b.WithNodes(n)
		if err != nil {
			break
		}
		if then := portsOf(fewer, p, c); then > now {
			return n, then, true
		}
	}
	return 0, 0, false
}

func adviceBudget(b *budget.Budget, p collector.Protocol, c budget.PortClass) []string {
	var out []string
	now := portsOf(b, p, c)
	if then, ok := anotherVIP(b, p, c); ok {
		switch {
		case b.SpacePerVIP:
			out = append(out, "Another VIP is a port space of its own: flows that get this VIP gain nothing. A rule form that "+
				"retries on another VIP does.")
		case then > now:
			out = append(out, fmt.Sprintf("Another VIP: %d ports in place of %d.", then, now))
		case strings.HasPrefix(b.Model, "azure-lb"):
			out = append(out, fmt.Sprintf("Another VIP adds nothing here: %d ports with %d VIPs too. A manual allocation, a "+
				"NAT gateway or a smaller pool does.", then, b.VIPCount+1))
		}
	}
	if nodes, then, ok := smallerPool(b, p, c); ok {
		out = append(out, fmt.Sprintf("A pool of at most %s (now %d): %d ports in place of %d.",
			words.Counted(nodes, "node", "nodes"), b.Nodes, then, now))
	}
	if b.Local {
		out = append(out, "A wider net.ipv4.ip_local_port_range adds ports.")
	}
	return out
}

func adviceSpace(s *detector.SpaceSnapshot, all *budget.Terms) []string {
	var out []string
	of := all.OfClass(s.Class)
	t := &of
	if s.Class != budget.AnyClass {
		out = append(out, fmt.Sprintf("The clients send from ports below 1024 and so share %d ports: from higher ports "+
			"they have %d.", t.Ports, all.Ports))
	}
	if s.Cooling > s.Live {
		out = append(out, fmt.Sprintf("%d of %d ports held are closed and cooling down: fewer, reused "+
			"connections to %s free them.", s.Cooling, s.Held, s.Destination))
	}
	if s.OpensPerSecond > 0 && s.MeanHold > 0 {
		text := fmt.Sprintf("At %s opens/s a mean hold under %s stays below the effective ceiling; it is %s",
			decimal(s.OpensPerSecond), span(float64(t.Effective)/s.OpensPerSecond), span(s.MeanHold.Seconds()))
		if c := t.CoolDown[collector.FIN]; c > 0 {
			text += ", of which " + span(c.Seconds()) + " is cool-down after a FIN"
		}
		text += "."
		if s.Held >= t.Effective { // then as many flows open as ports come free, whatever the demand is
			text += " Opens that found no port are not counted in that: with them the hold must be shorter."
		}
		out = append(out, text)
	}
	if t.Unique == budget.PerEndpoint {
		out = append(out, fmt.Sprintf("A second address or port of %s is a port space of its own.", s.Destination))
	}
	return out
}
