package agent

import (
	"errors"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/config"
)

// evidence is what the choice between sources hangs on.
type evidence struct {
	limits collector.Limits
	caps   netns.Capabilities
	rules  int // NAT rules in the outer namespace
	// connections are sockets of that namespace that conntrack would have an entry of while it is active: some of
	// them, and only where there is no rule. Of unknown ones it has none.
	connections, unknown int
	// broken is why conntrack does not work although it is loaded and permitted, empty while it may.
	broken string
}

// untracked: no rule asks conntrack for anything, and it has no entry of most connections. Entries from before the
// last rule went are no sign: they stay for as long as their timeouts, those of established flows for 5 days.
func (e *evidence) untracked() bool { return 2*e.unknown > e.connections }

// tracked is more than that it is not untracked, so that the choice does not go to and fro.
func (e *evidence) tracked() bool { return 4*e.unknown <= e.connections }

// choice is a source and why it was taken. Notice says what it does not see and
// how to give it that, empty where nothing is missing.
type choice struct {
	source config.Source
	why    string
	notice string
}

// errNoSource: the source that was asked for does not work.
var errNoSource = errors.New("no source works")

// choose takes conntrack where it is active and permitted, sockets else.
func choose(want config.Source, e evidence) (choice, error) {
	loaded := e.limits.EntriesMax > 0
	permitted := e.caps.Has(netns.NetAdmin)
	active := (e.limits.Entries > 0 || e.rules > 0) && !e.untracked()
	if want == config.SourceSockets {
		return choice{source: config.SourceSockets, why: "asked for"}, nil
	}
	switch {
	case !loaded:
		const text = "conntrack is not loaded in this namespace"
		if want == config.SourceConntrack {
			return choice{}, fmt.Errorf("%w: source conntrack: %s: modprobe nf_conntrack_netlink", errNoSource, text)
		}
		return choice{
			source: config.SourceSockets, why: text,
			notice: text + ": flows that this machine forwards or translates for others are not seen, only sockets",
		}, nil
	case !permitted:
		if want == config.SourceConntrack {
			return choice{}, fmt.Errorf("%w: source conntrack: missing CAP_NET_ADMIN: %s", errNoSource, remedy)
		}
		return choice{
			source: config.SourceSockets, why: "conntrack takes CAP_NET_ADMIN",
			notice: "missing CAP_NET_ADMIN: conntrack is not read, so flows that this machine forwards or translates for others, " +
				"their VIPs and the kernel's drop counters are not seen; " + remedy,
		}, nil
	case e.broken != "":
		return choice{
			source: config.SourceSockets, why: "conntrack does not work",
			notice: fmt.Sprintf("conntrack does not work, so only sockets are seen: %s; %s", e.broken, remedy),
		}, nil
	case want == config.SourceConntrack:
		return choice{source: config.SourceConntrack, why: "asked for"}, nil
	case !active && e.limits.Entries > 0:
		return choice{
			source: config.SourceSockets,
			why:    fmt.Sprintf("conntrack tracks nothing in this namespace any more: no NAT rule, no entry of %d of %d connections", e.unknown, e.connections),
		}, nil
	case !active:
		return choice{source: config.SourceSockets, why: "conntrack tracks nothing in this namespace"}, nil
	case e.rules > 0:
		return choice{source: config.SourceConntrack, why: fmt.Sprintf("%d NAT rules, %d flows tracked", e.rules, e.limits.Entries)}, nil
	}
	return choice{source: config.SourceConntrack, why: fmt.Sprintf("%d flows tracked", e.limits.Entries)}, nil
}

// timesText says what is not known of when flows opened, empty where the kernel tells.
func timesText(c choice, l collector.Limits) string {
	if c.source != config.SourceConntrack || l.Timestamps {
		return ""
	}
	return "conntrack does not stamp its entries: when a flow opened is known to the time between two dumps, and the lifetime of a shorter one is a guess; " +
		"net.netfilter.nf_conntrack_timestamp=1 makes it exact for flows from then on"
}

// remedy says how to give CAP_NET_ADMIN.
const remedy = "to give it: setcap cap_net_admin+ep on the binary, AmbientCapabilities=CAP_NET_ADMIN in its systemd unit, " +
	"or securityContext.capabilities.add: [NET_ADMIN] in its pod"
