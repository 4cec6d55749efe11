package dashboards

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

// sel writes a metric with the matchers of the variables that its labels allow, and more.
func sel(o rules.Options, name metrics.Name, more ...string) string {
	matchers := []string{o.ClusterLabel + `=~"$cluster"`, `job=~"$job"`, `instance=~"$instance"`}
	for _, m := range metrics.Metrics() {
		if m.Name != name {
			continue
		}
		for _, l := range m.Labels {
			switch l {
			case metrics.LabelBudget:
				matchers = append(matchers, `budget=~"$budget"`)
			case metrics.LabelPool:
				matchers = append(matchers, `pool=~"$pool"`)
			}
		}
	}
	return series(string(name), append(matchers, more...)...)
}

// budgetInfo is the budget's info metric as the rules join it: one series for each agent and budget.
func budgetInfo(o rules.Options, more ...string) string {
	return "topk by (" + o.ClusterLabel + ", job, instance, budget) (1, " + sel(o, metrics.BudgetInfo, more...) + ")"
}

// bucket is sel for the buckets of a histogram.
func bucket(o rules.Options, name metrics.Name) string {
	return strings.Replace(sel(o, name), string(name), string(name)+"_bucket", 1)
}

// ofNode, ofPool and ofGateway write recorded series with the variables that they have.
func ofNode(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{o.ClusterLabel + `=~"$cluster"`, `job=~"$job"`, `instance=~"$instance"`, `budget=~"$budget"`}, more...)...)
}

func ofPool(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{o.ClusterLabel + `=~"$cluster"`, `pool=~"$pool"`, `budget=~"$budget"`}, more...)...)
}

func ofGateway(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{o.ClusterLabel + `=~"$cluster"`, `budget=~"$budget"`}, more...)...)
}

func series(name string, matchers ...string) string {
	return name + "{" + strings.Join(matchers, ", ") + "}"
}

func rate(expr string) string { return "rate(" + expr + "[$__rate_interval])" }

func by(op, labels, expr string) string { return fmt.Sprintf("%s by (%s) (%s)", op, labels, expr) }

func at(horizon string) string { return fmt.Sprintf(`horizon="%s"`, horizon) }
