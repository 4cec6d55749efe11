package config

import (
	_ "embed"
	"net/netip"
	"os"
	"time"
)

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

// Parse reads a configuration; file is its name in errors. Mistakes come back as Errors.
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
