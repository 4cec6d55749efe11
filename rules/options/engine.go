package options

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
