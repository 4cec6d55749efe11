// Package query writes PromQL: series of the targets that the options select, the labels that tell what
// an answer is about, and sums over nodes, pools and gateways.
package query

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Scope is which series a query reads.
type Scope struct {
	// Selector is a list of label matchers added to every metric, such as
	// job="snatwatch",env="prod". Empty by default: the names are the agent's own.
	Selector string
	// ClusterLabel is the label that tells clusters apart. Default "cluster".
	ClusterLabel string
	// Shard is a regular expression of clusters, for one of several evaluators of which each takes some. Empty by
	// default: all clusters. A gateway is of one cluster, so each shard sees all nodes behind it.
	Shard string
	// Inline writes out what recorded series are made of, for a server without recording rules.
	Inline bool
}

// Validate returns an error that names the flag of cmd/snatgen, its value and
// what would be right.
func (s Scope) Validate() error {
	if s.Selector != "" {
		if err := validSelector(s.Selector); err != nil {
			return fmt.Errorf("--selector=%s: %w; want label matchers such as job=\"snatwatch\",env=~\"prod|stage\"",
				s.Selector, err)
		}
	}
	if !model.LegacyValidation.IsValidLabelName(s.ClusterLabel) {
		return fmt.Errorf("--cluster-label=%s: not a label name; want letters, digits and _", s.ClusterLabel)
	}
	if unlabel.MatchString(s.ClusterLabel) {
		return fmt.Errorf("--cluster-label=%s: PromQL reads it as a number or a keyword; want another label", s.ClusterLabel)
	}
	if ownLabel(s.ClusterLabel) || ofTarget.MatchString(s.ClusterLabel) || reserved.MatchString(s.ClusterLabel) {
		return fmt.Errorf("--cluster-label=%s: it means something else already; want the label that Prometheus gives to "+
			"all targets of a cluster", s.ClusterLabel)
	}
	if s.Shard != "" {
		if err := validSelector(s.shard()); err != nil {
			return fmt.Errorf("--shard=%s: %w; want a regular expression of clusters such as eu-.*|us-1", s.Shard, err)
		}
	}
	return nil
}

// reserved are labels with which Prometheus, its alerts or our rules mean something else, and ofTarget those that tell
// one target from another. unlabel is what PromQL takes for no label in a list of them.
var (
	reserved = regexp.MustCompile(`^(__.*|le|alertname|alertstate|severity)$`)
	ofTarget = regexp.MustCompile(`^(job|instance)$`)
	unlabel  = regexp.MustCompile(`(?i)^(inf|nan|without)$`)
)

// ownLabel says whether a metric of the agent has that label.
func ownLabel(label string) bool {
	return slices.ContainsFunc(metrics.Metrics(), func(m metrics.Metric) bool {
		return slices.Contains(m.Labels, metrics.Label(label))
	})
}

// Metric writes a metric with the selector and the given matchers.
func (s Scope) Metric(name metrics.Name, matchers ...string) string {
	return s.Series(string(name), matchers...)
}

// Series is Metric for what has its name from elsewhere.
func (s Scope) Series(name string, matchers ...string) string {
	if s.Selector != "" {
		matchers = append([]string{strings.TrimSpace(s.Selector)}, matchers...)
	}
	return s.Recorded(name, matchers...)
}

// Recorded writes a recorded series, which the selector does not reach; in the rules of a shard it reads the series of
// the shard's clusters.
func (s Scope) Recorded(name string, matchers ...string) string {
	if s.Shard != "" {
		matchers = append([]string{s.shard()}, matchers...)
	}
	if len(matchers) == 0 {
		return name
	}
	return name + "{" + strings.Join(matchers, ", ") + "}"
}

// shard matches the clusters of the shard.
func (s Scope) shard() string { return s.ClusterLabel + "=~" + strconv.Quote(s.Shard) }

// Agent lists the labels that tell one agent from another, and more.
func (s Scope) Agent(more ...metrics.Label) string {
	return s.Labels(append([]metrics.Label{"job", "instance"}, more...)...)
}

// Gateway lists the labels of what nodes share of a budget in one protocol.
func (s Scope) Gateway(more ...metrics.Label) string {
	return s.Labels(append([]metrics.Label{metrics.LabelBudget, metrics.LabelGateway, metrics.LabelProtocol}, more...)...)
}

// Space lists the labels of a port space that nodes share.
func (s Scope) Space(more ...metrics.Label) string {
	return s.Gateway(append([]metrics.Label{metrics.LabelVIP, metrics.LabelDestination}, more...)...)
}

// Labels lists the cluster label and more.
func (s Scope) Labels(more ...metrics.Label) string {
	list := []string{s.ClusterLabel}
	for _, l := range more {
		list = append(list, string(l))
	}
	return strings.Join(list, ", ")
}
