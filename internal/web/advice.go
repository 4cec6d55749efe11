package web

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// advice says what would help the port space of a budget that runs out first, and by how much. It is empty if no port
// space is near its end. The numbers come from resolving the budget again with one thing changed, so they follow its
// model: another VIP doubles the ports of one model and adds nothing to those of another.
func advice(s *detector.BudgetSnapshot) []string {
	u := urgent{level: levelOK}
	if u.of(s); u.level == levelOK {
		return nil
	}
	return append(adviceBudget(s.Budget, u.protocol.Protocol), adviceSpace(u.space, &u.protocol.Terms)...)
}

func adviceBudget(b *budget.Budget, p collector.Protocol) []string {
	var out []string
	now := b.Terms(p).Ports
	if more, err := b.WithVIPs(b.VIPCount + 1); err == nil && b.VIPCount > 0 && !b.Local {
		switch then := more.Terms(p).Ports; {
		case b.SpacePerVIP:
			out = append(out, "Another VIP is a port space of its own: flows that hash to this VIP gain nothing. A rule form that retries on another VIP does.")
		case then > now:
			out = append(out, fmt.Sprintf("Another VIP: %d ports in place of %d.", then, now))
		case strings.HasPrefix(b.Model, "azure-lb"):
			out = append(out, fmt.Sprintf("Another VIP adds nothing here: %d ports with %d VIPs too. A manual allocation, a NAT gateway or a smaller pool does.", then, b.VIPCount+1))
		}
	}
	for n := b.Nodes - 1; n > 0; n-- {
		fewer, err := b.WithNodes(n)
		if err != nil {
			break
		}
		if then := fewer.Terms(p).Ports; then > now {
			out = append(out, fmt.Sprintf("A pool of at most %d nodes (now %d): %d ports in place of %d.", n, b.Nodes, then, now))
			break
		}
	}
	if b.Local {
		out = append(out, "A wider net.ipv4.ip_local_port_range adds ports.")
	}
	return out
}

func adviceSpace(s *detector.SpaceSnapshot, t *budget.Terms) []string {
	var out []string
	if s.Cooling > s.Live {
		out = append(out, fmt.Sprintf("%d of %d ports held are closed and cooling down: fewer, reused connections to %s free them.", s.Cooling, s.Held, s.Destination))
	}
	if s.OpensPerSecond > 0 && s.MeanHold > 0 {
		text := fmt.Sprintf("At %s opens/s a mean hold under %s stays below the effective ceiling; it is %s",
			decimal(s.OpensPerSecond), span(float64(t.Effective)/s.OpensPerSecond), span(s.MeanHold.Seconds()))
		if c := t.CoolDown[collector.FIN]; c > 0 {
			text += ", of which " + span(c.Seconds()) + " is cool-down after a FIN"
		}
		out = append(out, text+".")
	}
	if t.Unique == budget.PerEndpoint {
		out = append(out, fmt.Sprintf("A second address or port of %s is a port space of its own.", s.Destination))
	}
	return out
}
