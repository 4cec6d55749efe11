package web

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// The shapes of /api/v1. New versions add fields and take none away. Durations are seconds. An unknown value is null or
// absent.

type apiSnapshot struct {
	// At is the time of the snapshot.
	At time.Time `json:"at"`
	// Ready: the agent has taken a complete dump. WarmingUp: flows that closed before the start may still hold ports that
	// the agent does not see.
	Ready     bool `json:"ready"`
	WarmingUp bool `json:"warming_up"`
	// Exact: no namespace has lost events since its last complete dump.
	Exact      bool             `json:"exact"`
	Version    string           `json:"version"`
	Sources    []metrics.Source `json:"sources"`
	Cloud      *Cloud           `json:"cloud,omitempty"`
	Notices    []string         `json:"notices"` // what the agent cannot see, and how to change that
	Namespaces []apiNetns       `json:"namespaces"`
	Budgets    []apiBudget      `json:"budgets"`
	// Allowances are EC2's own connection tracking, a limit beside all budgets; absent on other machines.
	Allowances []apiAllowance `json:"allowances,omitempty"`
	// Chains are ways out on which flows take a port of several budgets.
	Chains []apiChain `json:"chains"`
}

// apiAllowance is EC2's own connection tracking of one interface.
type apiAllowance struct {
	Interface string  `json:"interface"`
	Available *uint64 `json:"available"` // null where the driver does not tell
	Exceeded  uint64  `json:"exceeded"`  // packets dropped for want of it
	// TimeToExhaustion is when nothing is available at the pace of the last minutes; 0 now, null not within an hour.
	TimeToExhaustion *float64 `json:"time_to_exhaustion_seconds"`
}

func newAPIAllowances(list []metrics.Allowance) (out []apiAllowance) {
	for _, a := range list {
		to := apiAllowance{Interface: a.Interface, Exceeded: a.Exceeded}
		if a.Known {
			to.Available = &a.Available
		}
		if a.Forecast {
			to.TimeToExhaustion = finite(a.SecondsToExhaustion)
		}
		out = append(out, to)
	}
	return out
}

type apiNetns struct {
	Netns          uint64 `json:"netns"`
	Exact          bool   `json:"exact"`
	EventsLost     uint64 `json:"events_lost"`
	Resyncs        uint64 `json:"resyncs"`
	Mismatches     uint64 `json:"mismatches"`
	Flows          int    `json:"flows"`
	OtherProtocols uint64 `json:"other_protocol_flows"`
}

type apiBudget struct {
	Name            string              `json:"name"`
	Model           string              `json:"model"`
	Source          string              `json:"model_source,omitempty"`
	Scope           string              `json:"scope"`
	Stage           string              `json:"stage"` // socket, node, beyond: where flows take its ports
	Pool            string              `json:"pool,omitempty"`
	Gateway         string              `json:"gateway,omitempty"`
	Assumed         []string            `json:"assumed,omitempty"`
	FailureSignal   string              `json:"failure_signal,omitempty"`
	VIPs            []string            `json:"vips,omitempty"`
	VIPCount        int                 `json:"vip_count,omitempty"`
	SpacePerVIP     bool                `json:"space_per_vip"`
	Nodes           int                 `json:"nodes,omitempty"`
	NodesToNextTier int                 `json:"nodes_to_next_tier,omitempty"`
	NextTierPorts   int                 `json:"next_tier_ports,omitempty"`
	Terms           []apiTerms          `json:"terms"`
	Protocols       []apiProtocol       `json:"protocols,omitempty"`
	Contradiction   string              `json:"contradiction,omitempty"`
	Brier           map[string]*float64 `json:"brier,omitempty"`
	Advice          []string            `json:"advice,omitempty"`
}

type apiTerms struct {
	Protocol  string             `json:"protocol"`
	Ports     int                `json:"ports"`
	Effective int                `json:"effective_ports"`
	Total     int                `json:"all_ports,omitempty"` // of all port spaces together
	Unique    string             `json:"unique_per"`          // endpoint, address, nothing
	Idle      float64            `json:"idle_seconds,omitempty"`
	HalfOpen  float64            `json:"half_open_seconds,omitempty"`
	CoolDown  map[string]float64 `json:"cool_down_seconds"`
}

type apiProtocol struct {
	Protocol  string            `json:"protocol"`
	Held      int               `json:"held"`
	Live      int               `json:"live"`
	Cooling   int               `json:"cooling"`
	Busiest   int               `json:"busiest_held"`
	Opening   int               `json:"opening"`
	Stalled   *int              `json:"stalled"`
	Opened    uint64            `json:"opened"`
	Closed    map[string]uint64 `json:"closed"`
	Failures  map[string]uint64 `json:"failures"` // a cause without a working sensor is absent
	Lifetime  apiHistogram      `json:"lifetime_seconds"`
	Hold      apiHistogram      `json:"hold_seconds"`
	Tracked   int               `json:"destinations_tracked"`
	Folded    int               `json:"destinations_folded"`
	FoldedMax int               `json:"folded_held_max"`
	Spaces    []apiSpace        `json:"spaces"`
	Other     apiSpace          `json:"other"`
	Owners    []apiOwner        `json:"owners,omitempty"` // those that spaces name
}

type apiHistogram struct {
	Bounds []float64 `json:"bounds"`
	Counts []uint64  `json:"counts"` // one more than bounds: the last has no bound
	Sum    float64   `json:"sum"`
}

type apiSpace struct {
	VIP         string `json:"vip,omitempty"`
	Destination string `json:"destination"`
	// Ports and Effective are this port space's own, where it has fewer than the terms say: of low ports on Linux.
	Ports          int          `json:"ports,omitempty"`
	Effective      int          `json:"effective_ports,omitempty"`
	Held           int          `json:"held"`
	Live           int          `json:"live"`
	Cooling        int          `json:"cooling"`
	Opening        int          `json:"opening"`
	Opened         uint64       `json:"opened"`
	OpensPerSecond float64      `json:"opens_per_second"`
	MeanHold       *float64     `json:"mean_hold_seconds"`
	Forecast       *apiForecast `json:"forecast,omitempty"`
	// Owners hold the ports, the largest first; absent where nobody counts owners.
	Owners []apiOwnerHeld `json:"owners,omitempty"`
}

type apiForecast struct {
	Horizons []apiHorizon `json:"horizons"`
	// TimeToExhaustion is the median; 0 when exhausted, null beyond the longest horizon.
	TimeToExhaustion *float64 `json:"time_to_exhaustion_seconds"`
	// PageUrgency is from 0 to 1; 0.5 raises the page.
	PageUrgency *float64 `json:"page_urgency"`
}

type apiHorizon struct {
	Horizon     string   `json:"horizon"`
	Mean        *float64 `json:"mean"`
	Variance    *float64 `json:"variance"`
	Probability *float64 `json:"probability"`
}

// newAPISnapshot returns what /api/v1/snapshot answers; s has a snapshot.
func newAPISnapshot(s *State) apiSnapshot {
	v := s.View
	out := apiSnapshot{
		At:         v.At.UTC(),
		Ready:      s.Ready,
		WarmingUp:  v.Snapshot.Warming,
		Exact:      exact(v.Snapshot),
		Version:    v.Build.Version,
		Sources:    nonNil(v.Sources),
		Cloud:      s.Cloud,
		Notices:    nonNil(s.Notices),
		Namespaces: []apiNetns{},
		Budgets:    []apiBudget{},
		Allowances: newAPIAllowances(v.Allowances),
		Chains:     newAPIChains(v.Snapshot),
	}
	for _, n := range v.Snapshot.Netns {
		out.Namespaces = append(out.Namespaces, apiNetns{
			n.Netns, n.Exact, n.EventsLost, n.Resyncs, n.Mismatches, n.Flows,
			n.OtherProtocols,
		})
	}
	for i := range v.Snapshot.Budgets {
		b := &v.Snapshot.Budgets[i]
		budget := newAPIBudget(b.Budget)
		budget.Contradiction = b.Contradiction
		budget.Advice = advice(b)
		for h, name := range metrics.HorizonValues() {
			if f := finite(b.Brier[h]); f != nil {
				if budget.Brier == nil {
					budget.Brier = map[string]*float64{}
				}
				budget.Brier[name] = f
			}
		}
		for j := range b.Protocols {
			budget.Protocols = append(budget.Protocols, newAPIProtocol(v, b.Budget, &b.Protocols[j]))
		}
		out.Budgets = append(out.Budgets, budget)
	}
	return out
}

func newAPIBudget(b *budget.Budget) apiBudget {
	out := apiBudget{
		Name: b.Name, Model: b.Model, Source: b.Source, Scope: b.Scope.String(), Stage: b.Stage().String(),
		Pool: b.Pool, Gateway: b.Gateway, Assumed: b.Assumed, FailureSignal: b.FailureSignal,
		VIPCount: b.VIPCount, SpacePerVIP: b.SpacePerVIP,
		Nodes: b.Nodes, NodesToNextTier: b.NodesToNextTier, NextTierPorts: b.NextTierPorts,
		Terms: []apiTerms{},
	}
	for _, vip := range b.VIPs {
		out.VIPs = append(out.VIPs, vip.String())
	}
	for _, p := range []collector.Protocol{collector.TCP, collector.UDP} {
		t := b.Terms(p)
		if t.Ports == 0 {
			continue
		}
		terms := apiTerms{
			Protocol: p.String(), Ports: t.Ports, Effective: t.Effective, Total: t.Total,
			Unique: [...]string{"endpoint", "address", "nothing"}[t.Unique],
			Idle:   t.Idle.Seconds(), HalfOpen: t.HalfOpen.Seconds(),
			CoolDown: map[string]float64{},
		}
		for r := range collector.NumReasons {
			terms.CoolDown[r.String()] = t.CoolDown[r].Seconds()
		}
		out.Terms = append(out.Terms, terms)
	}
	return out
}

func newAPIHistogram(h *detector.Histogram) apiHistogram {
	return apiHistogram{Bounds: h.Bounds, Counts: h.Counts, Sum: h.Sum}
}

func newAPIProtocol(v *metrics.View, b *budget.Budget, p *detector.AccountSnapshot) apiProtocol {
	out := apiProtocol{
		Protocol: p.Protocol.String(), Held: p.Held, Live: p.Live, Cooling: p.Cooling,
		Busiest: p.Busiest, Opening: p.Opening, Opened: p.Opened,
		Closed: map[string]uint64{}, Failures: map[string]uint64{},
		Lifetime: newAPIHistogram(&p.Lifetime), Hold: newAPIHistogram(&p.Hold),
		Tracked: p.Tracked, Folded: p.Folded, FoldedMax: p.FoldedMax,
		Spaces: []apiSpace{}, Other: newAPISpace(&p.Other, &p.Terms),
	}
	out.Other.Destination = metrics.DestinationOther
	if v.Stalled && p.Protocol == collector.TCP {
		out.Stalled = &p.Stalled
	}
	for r := range collector.NumReasons {
		out.Closed[r.String()] = p.Closed[r]
	}
	for _, c := range causes(v, b, p) {
		out.Failures[c] = failures(p, c)
	}
	for i := range p.Spaces {
		out.Spaces = append(out.Spaces, newAPISpace(&p.Spaces[i], &p.Terms))
	}
	out.Owners = newAPIOwners(p)
	return out
}

func newAPISpace(s *detector.SpaceSnapshot, all *budget.Terms) apiSpace {
	out := apiSpace{
		VIP: s.VIP, Destination: s.Destination, Held: s.Held, Live: s.Live, Cooling: s.Cooling,
		Opening: s.Opening, Opened: s.Opened, OpensPerSecond: s.OpensPerSecond,
	}
	if s.Class != budget.AnyClass {
		of := all.OfClass(s.Class)
		out.Ports, out.Effective = of.Ports, of.Effective
	}
	out.Owners = newAPIOwnersHeld(s)
	if s.MeanHold > 0 {
		out.MeanHold = finite(s.MeanHold.Seconds())
	}
	if f := s.Forecast; f != nil {
		out.Forecast = &apiForecast{TimeToExhaustion: finite(f.TimeToExhaustion), PageUrgency: finite(float64(f.Urgency))}
		for i, name := range metrics.HorizonValues() {
			out.Forecast.Horizons = append(out.Forecast.Horizons,
				apiHorizon{name, finite(f.Mean[i]), finite(f.Variance[i]), finite(f.Probability[i])})
		}
	}
	return out
}
