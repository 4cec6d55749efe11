// Package config reads snatwatch's configuration: YAML in, budgets out. A
// mistake comes back with file, line, key and value, and what would be right.
//
//   - config.go holds the keys, load.go and decode.go read them, validate.go checks them.
//   - discover.go asks the machine what the keys leave open, machine.go holds what it says.
//   - resolve.go makes the budgets: rules.go one of each group of NAT rules (groups.go), auto.go those of the stages at
//     which a flow takes a port.
package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// ModelAuto stands for whatever the machine itself tells: see Machine.
const ModelAuto = "auto"

// Config is the whole configuration. deploy/snatwatch.yaml documents every key.
type Config struct {
	// Listen is the address that the agent serves on; a flag wins over it.
	Listen   string   `yaml:"listen"`
	Source   Source   `yaml:"source"`
	Strategy Strategy `yaml:"strategy"`
	// PollInterval is the time between two dumps under the poll strategy.
	PollInterval time.Duration `yaml:"poll_interval"`
	// Netns is the namespace in which flows leave the machine, by name below /run/netns
	// or by path; empty is the agent's own.
	Netns string `yaml:"netns"`
	// CPUBudget is the fraction of one core that the process may take. Reading flows slows down to fit it, where it stays
	// exact; a metric says that a minute took more.
	CPUBudget float64 `yaml:"cpu_budget"`
	// CloudMetadata: ask the cloud's instance metadata service where the configuration
	// leaves VIPs open.
	CloudMetadata bool `yaml:"cloud_metadata"`
	// StateFile keeps hold-time statistics over a restart; empty is none.
	StateFile string `yaml:"state_file"`

	Limits   Limits   `yaml:"limits"`
	Forecast Forecast `yaml:"forecast"`
	// Destinations is for budgets that have no list of their own.
	Destinations Destinations `yaml:"destinations"`
	// SharedDestinations are always exported, written as the label shows them.
	SharedDestinations []SharedDestination `yaml:"shared_destinations"`
	// Budgets are never empty: without any there is one of model auto.
	Budgets []Budget `yaml:"budgets"`

	at positions
}

func (c *Config) wantsRules() bool {
	return slices.ContainsFunc(c.Budgets, func(b Budget) bool { return b.Netns == "" && b.followsRules() })
}

// WantsCloud reports whether cloud metadata can tell what the configuration leaves open.
func (c *Config) WantsCloud() bool {
	if !c.CloudMetadata {
		return false
	}
	return slices.ContainsFunc(c.Budgets, func(b Budget) bool {
		return b.Model == ModelAuto || isAzureLB(b.Model) && len(b.VIPs) == 0 && b.VIPCount == 0
	})
}

// Limits bound what is kept per budget.
type Limits struct {
	// Tracked destinations have an entry of their own, Forecast of them a forecast, and
	// Exported of them series.
	Tracked  int `yaml:"tracked"`
	Forecast int `yaml:"forecast"`
	Exported int `yaml:"exported"`
}

// Forecast sets up the forecast.
type Forecast struct {
	Enabled bool `yaml:"enabled"`
}

// Destinations says which destinations go through the NAT: those in Include (all
// when empty) and not in Exclude.
type Destinations struct {
	Include []netip.Prefix `yaml:"include"`
	Exclude []netip.Prefix `yaml:"exclude"`
}

// Budget is one entry of budgets: a model and its parameters.
type Budget struct {
	Name  string `yaml:"name"`
	Model string `yaml:"model"`
	// Pool and Gateway are labels: the nodes that share VIPs, and what translates for them.
	Pool    string `yaml:"pool"`
	Gateway string `yaml:"gateway"`
	// Nodes is the pool size. NodesFile holds it where it changes; Nodes then stands in
	// until the file can be read.
	Nodes     int    `yaml:"nodes"`
	NodesFile string `yaml:"nodes_file"`
	// NodesFrom says where else nodes are counted: by the API server of the cluster, those that NodesSelector, a label
	// selector, selects. Nodes stands in until it has answered.
	NodesFrom     NodesFrom `yaml:"nodes_from"`
	NodesSelector string    `yaml:"nodes_selector"`
	// VIPs by address, or by number only.
	VIPs     []netip.Addr `yaml:"vips"`
	VIPCount int          `yaml:"vip_count"`

	Ports         int         `yaml:"ports"`
	MaxPorts      int         `yaml:"max_ports"`
	AliasRanges   bool        `yaml:"alias_ranges"`
	PortRange     PortRange   `yaml:"port_range"`
	ReservedPorts []PortRange `yaml:"reserved_ports"`
	SpacePerVIP   bool        `yaml:"space_per_vip"`
	// EvictTimeWait nil follows the kernel's version.
	EvictTimeWait    *bool   `yaml:"evict_time_wait"`
	Instances        int     `yaml:"instances"`
	Blocks           int     `yaml:"blocks"`
	Retries          int     `yaml:"retries"`
	Shared           bool    `yaml:"shared"`
	EffectiveCeiling float64 `yaml:"effective_ceiling"`

	TCP Protocol `yaml:"tcp"`
	UDP Protocol `yaml:"udp"`

	// Destinations nil is the top-level list.
	Destinations *Destinations `yaml:"destinations"`
	// Netns restricts the budget to one namespace; empty is any that is read.
	Netns string `yaml:"netns"`
}

// followsRules reports whether NAT rules tell something of an entry.
func (b *Budget) followsRules() bool { return b.Model == ModelAuto || b.Model == "linux" }

// Protocol is what a budget says of one protocol instead of its model.
type Protocol struct {
	Ports    *int           `yaml:"ports"`
	Unique   *Unique        `yaml:"unique"`
	Idle     *time.Duration `yaml:"idle"`
	HalfOpen *time.Duration `yaml:"half_open"`
	CoolDown CoolDown       `yaml:"cool_down"`
}

func (p Protocol) overrides() budget.Overrides {
	o := budget.Overrides{Ports: p.Ports, Idle: p.Idle, HalfOpen: p.HalfOpen, CoolDown: p.CoolDown.byReason()}
	if p.Unique != nil {
		u := p.Unique.uniqueness()
		o.Unique = &u
	}
	return o
}

// CoolDown is how long a port stays held after the flow ended, by reason.
type CoolDown struct {
	FIN     *time.Duration `yaml:"fin"`
	RST     *time.Duration `yaml:"rst"`
	Timeout *time.Duration `yaml:"timeout"`
	Idle    *time.Duration `yaml:"idle"`
	Evicted *time.Duration `yaml:"evicted"`
	Unknown *time.Duration `yaml:"unknown"`
}

func (c CoolDown) byReason() map[collector.Reason]time.Duration {
	m := map[collector.Reason]time.Duration{}
	for r, d := range map[collector.Reason]*time.Duration{
		collector.FIN: c.FIN, collector.RST: c.RST, collector.Timeout: c.Timeout,
		collector.Idle: c.Idle, collector.Evicted: c.Evicted, collector.ReasonUnknown: c.Unknown,
	} {
		if d != nil {
			m[r] = *d
		}
	}
	return m
}

func isAzureLB(model string) bool { return strings.HasPrefix(model, "azure-lb") }
