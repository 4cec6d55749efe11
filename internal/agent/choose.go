package agent

import (
	"errors"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/words"
)

// evidence is what the choice between the sources depends on.
type evidence struct {
	limits collector.Limits
	caps   netns.Capabilities // that count in the namespace
	rules  int                // NAT rules in the outer namespace
	// connections counts sockets of that namespace that an active conntrack would have an entry for, unknown those that
	// it has no entry for. The agent samples some sockets, and only if there is no rule.
	connections, unknown int
	// hidden: /proc/sys does not show this namespace's settings, so they do not tell whether conntrack is loaded.
	hidden bool
	// foreign: the namespace belongs to a user namespace outside the agent's.
	foreign bool
	// broken says why conntrack does not work although it is loaded and permitted; empty while it may work.
	broken string
}

// untracked reports whether conntrack has no entry for most connections: no rule needs it any more. That it still has
// entries proves nothing: they outlive the last rule by their timeouts, an established flow's by 5 days.
func (e *evidence) untracked() bool { return 2*e.unknown > e.connections }

// tracked reports whether conntrack has an entry for most connections. The two thresholds differ, so that the choice
// does not go to and fro.
func (e *evidence) tracked() bool { return 4*e.unknown <= e.connections }

// choice is a source and why the agent takes it. The notice says what this source does not see and how to change
// that; it is empty if nothing is missing.
type choice struct {
	source config.Source
	why    string
	notice string
	// unseen says what would make conntrack readable, where it may translate flows and is not read: flows that only it
	// shows are not 0 then, but unknown. It is empty where nothing is translated unseen.
	unseen string
}

// errNoSource means that the source that the config asks for does not work.
var errNoSource = errors.New("no source works")

// choose takes conntrack if it is active and permitted, else sockets.
func choose(want config.Source, e evidence) (choice, error) {
	loaded := e.limits.EntriesMax != 0 || e.hidden
	permitted := e.caps.Has(netns.NetAdmin)
	active := (e.limits.Entries > 0 || e.rules > 0 || e.hidden) && !e.untracked()
	if want == config.SourceSockets {
		c := choice{source: config.SourceSockets, why: "asked for"}
		if loaded {
			c.unseen = "set source to auto or conntrack"
		}
		return c, nil
	}
	missing, help := "missing CAP_NET_ADMIN", remedy
	if e.foreign {
		missing, help = "CAP_NET_ADMIN does not count here", netns.Foreign
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
			return choice{}, fmt.Errorf("%w: source conntrack: %s: %s", errNoSource, missing, help)
		}
		return choice{
			source: config.SourceSockets, why: "conntrack takes CAP_NET_ADMIN",
			notice: missing + ": conntrack is not read, so flows that this machine forwards or " +
				"translates for others, " +
				"their VIPs and the kernel's drop counters are not seen; " + help,
			unseen: help,
		}, nil
	case e.broken != "":
		return choice{
			source: config.SourceSockets, why: "conntrack does not work",
			notice: fmt.Sprintf("conntrack does not work, so only sockets are seen: %s; %s", e.broken, refused),
			unseen: fmt.Sprintf("conntrack must work: %s; %s", e.broken, refused),
		}, nil
	case want == config.SourceConntrack:
		return choice{source: config.SourceConntrack, why: "asked for"}, nil
	case !active && e.limits.Entries > 0:
		return choice{
			source: config.SourceSockets,
			why: fmt.Sprintf("conntrack tracks nothing in this namespace any more: no NAT rule, no entry of "+
				"%d of %d connections", e.unknown, e.connections),
		}, nil
	case !active:
		return choice{source: config.SourceSockets, why: "conntrack tracks nothing in this namespace"}, nil
	case e.hidden && e.limits.Entries == 0 && e.rules == 0:
		return choice{source: config.SourceConntrack, why: "/proc/sys does not tell whether it is active"}, nil
	case e.rules > 0:
		return choice{source: config.SourceConntrack, why: fmt.Sprintf("%s, %s tracked",
			words.Counted(e.rules, "NAT rule", "NAT rules"), words.Counted(e.limits.Entries, "flow", "flows"))}, nil
	}
	return choice{source: config.SourceConntrack, why: words.Counted(e.limits.Entries, "flow", "flows") + " tracked"}, nil
}

// timesText says how much the agent knows of the times at which flows opened; empty if the kernel stamps them.
func timesText(c choice, l collector.Limits) string {
	if c.source != config.SourceConntrack || l.Timestamps {
		return ""
	}
	return "conntrack does not stamp its entries: the agent knows when a flow opened only to the time between two " +
		"dumps, and guesses the lifetime of a " +
		"shorter flow; net.netfilter.nf_conntrack_timestamp=1 makes both exact for flows that open after it is set"
}

// refused says what stands in the way of conntrack where CAP_NET_ADMIN does not, and what helps.
const refused = "CAP_NET_ADMIN is there, so a sandbox, a security module or a user namespace that does not own this " +
	"network namespace refuses it, or the kernel does not show its table: load nf_conntrack_netlink, or run the agent " +
	"outside the sandbox (gVisor has no such table)"

// remedy says how to grant CAP_NET_ADMIN.
const remedy = "to give it: setcap cap_net_admin+ep on the binary, AmbientCapabilities=CAP_NET_ADMIN in " +
	"its systemd unit, " +
	"or securityContext.capabilities.add: [NET_ADMIN] in its pod"
