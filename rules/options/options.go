// Package options holds what a user may set of the rules, and says what is wrong with it.
package options

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/query"
)

// Options are what a user may set; Default gives the values of the files that
// stand in the repository.
type Options struct {
	query.Scope
	// Critical, Warning and Info are the values of the label "severity".
	Critical, Warning, Info string
	// RunbookURL is the address that the name of an alert's runbook is added to.
	RunbookURL string
	// GrafanaURL is the address of the Grafana that has the boards; with it each alert links to its panel.
	// Empty by default: inside Grafana alerts find their panels without.
	GrafanaURL string
	// Thresholds of the alerts.
	Thresholds Thresholds
	// PageHorizon and TicketHorizon are values of the label "horizon".
	PageHorizon, TicketHorizon string
	// FleetInterval is how often the page of gateways and what it needs soonest are evaluated; other sums over gateways
	// and the tickets half as often, tickets that take ten minutes to fire and the rules of pools a quarter as often,
	// what moves slowly a sixteenth as often, and what boards alone show of that half as often again. Default one minute.
	FleetInterval time.Duration
	// PageInterval is how often the pages of nodes are evaluated. Default 0: as often as the server evaluates what does
	// not say. vmalert and Thanos' ruler then take a minute.
	PageInterval time.Duration

	// Engine is the program that evaluates the rules; the expressions are the same for each. Default Prometheus.
	Engine Engine
}

// Thresholds of the alerts. A pair is raised at the first and cleared below the second.
type Thresholds struct {
	// Page is the urgency that raises the page, of a gateway the probability at PageHorizon; PageClear is a probability.
	Page, PageClear float64
	// Ticket and TicketClear are probabilities at TicketHorizon.
	Ticket, TicketClear float64
	// FailureRatio of opens that fail, and FailureRate in flows per second that it takes.
	FailureRatio, FailureRate float64
	// TierNodes is how many nodes before a tier's edge a ticket is raised.
	TierNodes float64
	// LeakGrowth is the factor by which hold times grow in an hour, LeakArrivals the one
	// that arrivals must stay below.
	LeakGrowth, LeakArrivals float64
	// Dominates is the fill of one destination, DominatesShare its share of all held ports.
	Dominates, DominatesShare float64
	// IdleRate is idle-expired TCP flows per second.
	IdleRate float64
	// StaleSeconds is the age of a snapshot.
	StaleSeconds float64
	// Brier is the score above which probabilities are no better than a coin.
	Brier float64
	// ConntrackTable is how full a conntrack table is when it is as good as full, InsertFailedRate the flows per second
	// that conntrack fails to insert.
	ConntrackTable, InsertFailedRate float64
	// Correlation between nodes behind one gateway, 0 (independent) to 1 (in step).
	Correlation float64
}

// Default returns the options of the generated files in the repository.
func Default() Options {
	return Options{
		Scope:    query.Scope{ClusterLabel: "cluster"},
		Critical: "critical", Warning: "warning", Info: "info",
		RunbookURL:  "https://github.com/snatwatch/snatwatch/blob/main/rules/runbooks/",
		PageHorizon: "5m", TicketHorizon: "1h",
		FleetInterval: time.Minute,
		Engine:        Prometheus,
		Thresholds: Thresholds{
			Page: detector.PageRaise, PageClear: detector.PageClear,
			Ticket: 0.7, TicketClear: 0.4,
			FailureRatio: 0.05, FailureRate: 0.1,
			TierNodes:  2,
			LeakGrowth: 1.5, LeakArrivals: 1.2,
			Dominates: detector.RaceFill, DominatesShare: 0.8,
			IdleRate:       0.1,
			StaleSeconds:   60,
			Brier:          0.25,
			ConntrackTable: detector.TableNear, InsertFailedRate: detector.RaceRate,
			Correlation: 0.2,
		},
	}
}

// Validate returns an error that names the flag of cmd/snatgen, its value and
// what would be right.
func (o Options) Validate() error {
	if err := o.Scope.Validate(); err != nil {
		return err
	}
	for _, s := range []struct{ flag, value string }{{"critical", o.Critical}, {"warning", o.Warning}, {"info", o.Info}} {
		if !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(s.value) {
			return fmt.Errorf("--severity-%s=%s: want a word of letters, digits, _ and -", s.flag, s.value)
		}
	}
	if o.Warning == o.Critical || o.Info == o.Critical {
		return fmt.Errorf("--severity-critical=%s: another severity is called so; want a word of its own: it pages",
			o.Critical)
	}
	if u, ok := web(o.GrafanaURL); o.GrafanaURL != "" && (!ok || u.RawQuery != "" || u.Fragment != "") {
		return fmt.Errorf("--grafana-url=%s: want the http or https address of Grafana", o.GrafanaURL)
	}
	if _, ok := web(o.RunbookURL); !ok {
		return fmt.Errorf("--runbook-url=%s: want an http or https address to which NAME.md is added", o.RunbookURL)
	}
	if !strings.ContainsAny(o.RunbookURL[len(o.RunbookURL)-1:], "/=#") {
		return fmt.Errorf("--runbook-url=%s: NAME.md is added to it as it stands; want / (or = or #) at its end",
			o.RunbookURL)
	}
	horizons := metrics.HorizonValues()
	for _, h := range []struct{ flag, value string }{
		{"page-horizon", o.PageHorizon},
		{"ticket-horizon", o.TicketHorizon},
	} {
		if !slices.Contains(horizons[:], h.value) {
			return fmt.Errorf("--%s=%s: want one of %s", h.flag, h.value, strings.Join(horizons[:], ", "))
		}
	}
	if slices.Index(horizons[:], o.PageHorizon) > slices.Index(horizons[:], o.TicketHorizon) {
		return fmt.Errorf("--ticket-horizon=%s: want no shorter one than the page's, %s", o.TicketHorizon, o.PageHorizon)
	}
	if !slices.Contains(Engines(), o.Engine) {
		return fmt.Errorf("--engine=%s: want one of %s", o.Engine, strings.Join(engineNames(), ", "))
	}
	if o.FleetInterval < time.Second || o.FleetInterval%time.Second != 0 {
		return fmt.Errorf("--fleet-interval=%s: want whole seconds, 1s or more", o.FleetInterval)
	}
	if o.FleetInterval > maxFleetInterval {
		return fmt.Errorf("--fleet-interval=%s: want at most %s: half as often must be within the five minutes that "+
			"Prometheus looks back", o.FleetInterval, maxFleetInterval)
	}
	if o.PageInterval < 0 || o.PageInterval%time.Second != 0 || o.PageInterval > o.FleetInterval {
		return fmt.Errorf("--page-interval=%s: want whole seconds, at most --fleet-interval, %s", o.PageInterval,
			o.FleetInterval)
	}
	return o.Thresholds.validate()
}

// maxFleetInterval leaves a missed evaluation of the pools' rules, twice as long, within the look-back.
const maxFleetInterval = 2 * time.Minute

// Quarter is the interval of what is evaluated a quarter as often as FleetInterval says, within the look-back.
func (o Options) Quarter() time.Duration { return min(4*o.FleetInterval, 2*maxFleetInterval) }

// web reads an http or https address without what templates, Grafana's variables and YAML give a meaning.
func web(address string) (u *url.URL, ok bool) {
	u, err := url.Parse(address)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		!strings.ContainsAny(address, "{}$ \"'\\")
}

func (t Thresholds) validate() error {
	for _, r := range []struct {
		flag       string
		value, max float64
	}{
		{"page", t.Page, 1},
		{"page-clear", t.PageClear, t.Page},
		{"ticket", t.Ticket, 1},
		{"ticket-clear", t.TicketClear, t.Ticket},
		{"failure-ratio", t.FailureRatio, 1},
		{"dominates", t.Dominates, 1},
		{"dominates-share", t.DominatesShare, 1},
		{"brier", t.Brier, 1},
		{"conntrack-table", t.ConntrackTable, 1},
	} {
		if !(r.value > 0 && r.value <= r.max) {
			return fmt.Errorf("--threshold.%s=%g: want above 0 and at most %g", r.flag, r.value, r.max)
		}
	}
	for _, r := range []struct {
		flag  string
		value float64
	}{{"page-clear", t.PageClear}, {"ticket-clear", t.TicketClear}} {
		if r.value < metrics.LikelyProbability {
			return fmt.Errorf("--threshold.%s=%g: want at least %g, the least that agents tell alerts", r.flag, r.value,
				metrics.LikelyProbability)
		}
	}
	if t.DominatesShare < 0.5 {
		return fmt.Errorf("--threshold.dominates-share=%g: want at least 0.5, the least that agents tell alerts",
			t.DominatesShare)
	}
	if !(t.Correlation >= 0 && t.Correlation <= 1) {
		return fmt.Errorf("--threshold.correlation=%g: want 0 (nodes independent) to 1 (in step)", t.Correlation)
	}
	for _, r := range []struct {
		flag       string
		value, min float64
	}{
		{"failure-rate", t.FailureRate, 0},
		{"tier-nodes", t.TierNodes, 0},
		{"leak-growth", t.LeakGrowth, 1},
		{"leak-arrivals", t.LeakArrivals, 0},
		{"idle-rate", t.IdleRate, 0},
		{"stale-seconds", t.StaleSeconds, 0},
		{"insert-failed-rate", t.InsertFailedRate, 0},
	} {
		if !(r.value > r.min && r.value < 1e9) {
			return fmt.Errorf("--threshold.%s=%g: want a number above %g", r.flag, r.value, r.min)
		}
	}
	return nil
}
