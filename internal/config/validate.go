package config

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// Validate checks a configuration again that was changed after it was loaded, by flags say. Mistakes are
// returned as Errors.
func (c *Config) Validate() error {
	if errs := c.validate(); len(errs) > 0 {
		return errs
	}
	return nil
}

// validate finds what no single value shows; the models themselves check their
// parameters in Resolve.
func (c *Config) validate() Errors {
	v := validation{at: c.at}
	v.require(Listenable(c.Listen), "listen", cmp.Or(c.Listen, `""`), "an address such as :9959 or 127.0.0.1:9959")
	v.require(c.PollInterval >= 100*time.Millisecond && c.PollInterval <= 10*time.Second, "poll_interval", c.PollInterval,
		"100ms to 10s: the kernel shows a reset flow for 10s")
	v.require(c.CPUBudget > 0 && c.CPUBudget <= 1, "cpu_budget", c.CPUBudget, "a fraction of one core above 0 and up to 1")
	tracked := c.Limits.Tracked >= 1 && c.Limits.Tracked <= 10_000_000
	v.require(tracked, "limits.tracked", c.Limits.Tracked, "1 to 10000000")
	v.require(c.Limits.Forecast >= 0 && (c.Limits.Forecast <= c.Limits.Tracked || !tracked), "limits.forecast",
		c.Limits.Forecast, "0 to limits.tracked")
	v.require(c.Limits.Exported >= 1 && (c.Limits.Exported <= c.Limits.Tracked || !tracked), "limits.exported",
		c.Limits.Exported, "1 to limits.tracked")
	for i, d := range c.SharedDestinations {
		v.require(!slices.Contains(c.SharedDestinations[:i], d), fmt.Sprintf("shared_destinations[%d]", i), d,
			"each destination once")
	}
	v.destinations("destinations", &c.Destinations)
	names := map[string]bool{}
	for i := range c.Budgets {
		v.budget(fmt.Sprintf("budgets[%d]", i), &c.Budgets[i], names)
	}
	slices.SortStableFunc(v.errs, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	return v.errs
}

// Listenable reports whether address has a port to listen on.
func Listenable(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

type validation struct {
	at   positions
	errs Errors
}

func (v *validation) require(ok bool, path string, value any, want string) {
	if !ok {
		v.errs = append(v.errs, v.at.errorAt(path, fmt.Sprint(value), want))
	}
}

func (v *validation) budget(path string, b *Budget, names map[string]bool) {
	if b.Name == "" {
		v.errs = append(v.errs, v.at.errorAt(path+".name", "", "the value of the label budget"))
	}
	v.require(b.Name == "" || !names[b.Name], path+".name", b.Name, "each name once")
	for key, label := range map[string]string{"name": b.Name, "pool": b.Pool, "gateway": b.Gateway} {
		v.require(strings.IndexFunc(label, unicode.IsControl) < 0, path+"."+key, strconv.Quote(label), "one line of text")
	}
	names[b.Name] = true
	if b.Model == "" {
		v.errs = append(v.errs, v.at.errorAt(path+".model", "", "the model that its ports follow"))
	} else if _, ok := budget.FindModel(b.Model); !ok && b.Model != ModelAuto {
		_, err := budget.Resolve(budget.Params{Model: b.Model})
		e := v.at.keyError(path, err)
		e.Want += ", or auto"
		v.errs = append(v.errs, e)
	}
	// Zero would pass for "not given" further on.
	for _, x := range []struct {
		key   string
		value float64
	}{
		{"nodes", float64(b.Nodes)},
		{"vip_count", float64(b.VIPCount)},
		{"ports", float64(b.Ports)},
		{"max_ports", float64(b.MaxPorts)},
		{"instances", float64(b.Instances)},
		{"blocks", float64(b.Blocks)},
		{"retries", float64(b.Retries)},
		{"effective_ceiling", b.EffectiveCeiling},
	} {
		at := path + "." + x.key
		v.require(!math.IsNaN(x.value) && (x.value > 0 || x.value == 0 && !v.at.given(at)), at, x.value,
			"a number above 0, or no such key")
	}
	v.require(b.NodesFrom == "" || b.NodesFile == "", path+".nodes_from", b.NodesFrom,
		"nodes_from or nodes_file, not both")
	v.require(b.NodesSelector == "" || b.NodesFrom != "", path+".nodes_selector", b.NodesSelector,
		"nodes_from: kubernetes beside it")
	if b.Destinations != nil {
		v.destinations(path+".destinations", b.Destinations)
	}
	if b.Model == ModelAuto {
		v.auto(path)
	}
}

// destinations refuses what would be included in vain.
func (v *validation) destinations(path string, d *Destinations) {
	for i, p := range d.Include {
		at := fmt.Sprintf("%s.include[%d]", path, i)
		if p.Addr().IsLoopback() {
			v.require(false, at, p, "a prefix of other machines: no budget counts flows over loopback")
			continue
		}
		v.require(!budget.Covered(p, d.Exclude), at, p,
			"a prefix that exclude, the default one where none is given, leaves something of")
	}
}

// autoKeys are what an auto budget hands on to whatever it turns into.
func autoKeys() []string {
	return []string{
		"name", "model", "pool", "gateway", "nodes", "nodes_file", "nodes_from", "nodes_selector",
		"destinations", "netns",
	}
}

func (v *validation) auto(path string) {
	for _, key := range keysOf(typeOf[Budget]()) {
		if v.at.given(path+"."+key) && !slices.Contains(autoKeys(), key) {
			v.errs = append(v.errs, v.at.errorAt(path+"."+key, "given",
				"a model that takes it: model auto finds out for itself"))
		}
	}
}
