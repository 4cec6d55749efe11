// Package config reads snatwatch's configuration: YAML in, budgets out. A
// mistake is told by file, line, key and value, with what would be right. rules.go makes a budget of each NAT rule,
// auto.go chooses the stages at which a flow takes a port.
package config

import (
	_ "embed"
	"net/netip"
	"os"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

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
	// exact; that a minute took more is told.
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

// Protocol is what a budget says of one protocol instead of its model.
type Protocol struct {
	Ports    *int           `yaml:"ports"`
	Unique   *Unique        `yaml:"unique"`
	Idle     *time.Duration `yaml:"idle"`
	HalfOpen *time.Duration `yaml:"half_open"`
	CoolDown CoolDown       `yaml:"cool_down"`
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

// defaultYAML is the configuration of an agent that was given none.
//
//go:embed default.yaml
var defaultYAML []byte

// defaultName stands for the embedded configuration in errors.
const defaultName = "the default configuration"

// Load reads the configuration at path, the embedded default where path is empty. A file that
// holds no YAML document is a mistake: it is more likely cut off than meant. Mistakes are Errors.
func Load(path string) (*Config, error) {
	if path == "" {
		return Parse(defaultName, defaultYAML)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(path, data)
	if err == nil && len(c.at.lines) == 0 {
		return nil, Errors{{File: path, Want: "at least one key, such as budgets; the file is empty. Without " +
			"--config the defaults hold"}}
	}
	return c, err
}

// Parse reads a configuration; file is its name in errors. Mistakes are told as Errors.
func Parse(file string, data []byte) (*Config, error) {
	c := &Config{
		Listen: ":9959", Source: SourceAuto, Strategy: StrategyAuto,
		PollInterval: 2 * time.Second, CPUBudget: 0.02, CloudMetadata: true,
		Limits:       Limits{Tracked: 10_000},
		Forecast:     Forecast{Enabled: true},
		Destinations: Destinations{Exclude: DefaultExclude()},
	}
	var errs Errors
	c.at, errs = decode(file, data, c)
	c.CompleteLimits(false, false)
	if len(errs) == 0 {
		errs = c.validate()
	}
	if len(errs) > 0 {
		return nil, errs
	}
	if len(c.Budgets) == 0 {
		c.Budgets = []Budget{{Name: ModelAuto, Model: ModelAuto}}
	}
	return c, nil
}

// CompleteLimits gives the limits that neither the configuration nor, as the arguments say, the command line
// has their defaults, which are not above limits.tracked.
func (c *Config) CompleteLimits(forecastGiven, exportedGiven bool) {
	most := max(1, c.Limits.Tracked)
	if !forecastGiven && !c.at.given("limits.forecast") {
		c.Limits.Forecast = min(1_000, most)
	}
	if !exportedGiven && !c.at.given("limits.exported") {
		c.Limits.Exported = min(50, most)
	}
}

// DefaultExclude lists the destinations that go through no NAT unless configured
// otherwise.
func DefaultExclude() []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8",          // this network, RFC 1122
		"10.0.0.0/8",         // private, RFC 1918
		"100.64.0.0/10",      // shared address space, RFC 6598: clouds use it inside
		"127.0.0.0/8",        // loopback
		"168.63.129.16/32",   // Azure's wire server
		"169.254.0.0/16",     // link-local, with the metadata address 169.254.169.254
		"172.16.0.0/12",      // private
		"192.168.0.0/16",     // private
		"224.0.0.0/4",        // multicast
		"255.255.255.255/32", // limited broadcast
		"::/128",             // unspecified
		"::1/128",            // loopback
		"fc00::/7",           // unique local, RFC 4193, with the metadata address fd00:ec2::254
		"fe80::/10",          // link-local
		"ff00::/8",           // multicast
	} {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}
