package rules

import (
	"time"
)

// Engine is a program that evaluates rules.
type Engine string

// The engines. Mimir and Cortex take what Prometheus does.
const (
	Prometheus      Engine = "prometheus"
	VictoriaMetrics Engine = "victoriametrics"
	Thanos          Engine = "thanos"
)

// Engines lists them.
func Engines() []Engine { return []Engine{Prometheus, VictoriaMetrics, Thanos} }

func engineNames() []string {
	var out []string
	for _, e := range Engines() {
		out = append(out, string(e))
	}
	return out
}

// pageInterval is how often the pages of nodes are evaluated where no option says. vmalert and Thanos' ruler evaluate what
// does not say once a minute, whatever is scraped.
const pageInterval = 15 * time.Second

// group is a group without its rules, as the engine evaluates it when Prometheus would. vmalert asks for the past by default,
// for what was 30 s ago, rounded down to the group's interval: up to 8 minutes more for what is recorded seldom. And
// VictoriaMetrics hides the newest 30 s of an answer.
func (e Engine) group(g Group) ruleGroup {
	if e != Prometheus && g.Interval == 0 {
		g.Interval = pageInterval
	}
	out := ruleGroup{Name: g.Name, Interval: duration(g.Interval)}
	if e == VictoriaMetrics {
		out.EvalDelay = "0s"
		out.EvalAlignment = new(bool)
		out.Params = map[string][]string{"latency_offset": {"1ms"}}
	}
	return out
}
