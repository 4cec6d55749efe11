package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Snapshot is what is read of an agent's /api/v1/snapshot. Durations are seconds; a nil pointer
// stands for what the agent does not know.
type Snapshot struct {
	At        time.Time `json:"at"`
	Ready     bool      `json:"ready"`
	WarmingUp bool      `json:"warming_up"`
	Exact     bool      `json:"exact"`
	Version   string    `json:"version"`
	Sources   []Source  `json:"sources"`
	Notices   []string  `json:"notices"`
	Budgets   []Budget  `json:"budgets"`
}

// Source is where an agent sees flows.
type Source struct {
	Name     string `json:"source"`
	Strategy string `json:"strategy"`
	Why      string `json:"why"`
}

// Budget is one budget of an agent.
type Budget struct {
	Name            string     `json:"name"`
	Model           string     `json:"model"`
	Scope           string     `json:"scope"`
	Pool            string     `json:"pool"`
	Gateway         string     `json:"gateway"`
	VIPs            []string   `json:"vips"`
	VIPCount        int        `json:"vip_count"`
	SpacePerVIP     bool       `json:"space_per_vip"`
	Nodes           int        `json:"nodes"`
	NodesToNextTier int        `json:"nodes_to_next_tier"`
	NextTierPorts   int        `json:"next_tier_ports"`
	Terms           []Terms    `json:"terms"`
	Protocols       []Protocol `json:"protocols"`
	Contradiction   string     `json:"contradiction"`
	Advice          []string   `json:"advice"`
}

// Terms are the numbers of a budget for one protocol.
type Terms struct {
	Protocol  string             `json:"protocol"`
	Ports     int                `json:"ports"`
	Effective int                `json:"effective_ports"`
	Unique    string             `json:"unique_per"`
	Idle      float64            `json:"idle_seconds"`
	CoolDown  map[string]float64 `json:"cool_down_seconds"`
}

// Protocol is what is held of a budget.
type Protocol struct {
	Protocol string            `json:"protocol"`
	Held     int               `json:"held"`
	Busiest  int               `json:"busiest_held"`
	Opening  int               `json:"opening"`
	Opened   uint64            `json:"opened"`
	Closed   map[string]uint64 `json:"closed"`
	Failures map[string]uint64 `json:"failures"`
	Lifetime Histogram         `json:"lifetime_seconds"`
	Hold     Histogram         `json:"hold_seconds"`
	Spaces   []Space           `json:"spaces"`
	Other    Space             `json:"other"`
}

// Histogram counts durations. Counts has one more than Bounds: the last has no bound.
type Histogram struct {
	Bounds []float64 `json:"bounds"`
	Counts []uint64  `json:"counts"`
	Sum    float64   `json:"sum"`
}

// Space is one port space.
type Space struct {
	VIP         string `json:"vip"`
	Destination string `json:"destination"`
	// Ports and Effective are 0 where the port space has as many as the budget's terms say.
	Ports          int       `json:"ports"`
	Effective      int       `json:"effective_ports"`
	Held           int       `json:"held"`
	Live           int       `json:"live"`
	Cooling        int       `json:"cooling"`
	Opening        int       `json:"opening"`
	Opened         uint64    `json:"opened"`
	OpensPerSecond float64   `json:"opens_per_second"`
	MeanHold       *float64  `json:"mean_hold_seconds"`
	Forecast       *Forecast `json:"forecast"`
	Owners         []Owner   `json:"owners"`
}

// Owner is who holds ports of a space.
type Owner struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Container string `json:"container"` // of a pod, empty where unknown
	Held      int    `json:"held"`
}

// Forecast is what an agent expects of a port space.
type Forecast struct {
	Horizons         []Horizon `json:"horizons"`
	TimeToExhaustion *float64  `json:"time_to_exhaustion_seconds"`
}

// Horizon is a forecast for one time ahead.
type Horizon struct {
	Horizon     string   `json:"horizon"`
	Mean        *float64 `json:"mean"`
	Variance    *float64 `json:"variance"`
	Probability *float64 `json:"probability"`
}

// Of returns the ports of a port space, and its effective ceiling.
func (t *Terms) Of(s *Space) (ports, effective int) {
	if s.Ports > 0 {
		return s.Ports, s.Effective
	}
	return t.Ports, t.Effective
}

// TermsOf returns the budget's numbers for a protocol, nil where it has none.
func (b *Budget) TermsOf(protocol string) *Terms {
	for i := range b.Terms {
		if b.Terms[i].Protocol == protocol {
			return &b.Terms[i]
		}
	}
	return nil
}

// Agent asks the agent at a URL, or a host and port, for its snapshot.
func Agent(ctx context.Context, at string) (*Snapshot, error) {
	u, err := base(at)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := do(ctx, http.MethodGet, u.String()+"/api/v1/snapshot", nil)
	if err != nil {
		var no *failure
		if errors.As(err, &no) && no.status == http.StatusNotFound {
			return nil, fmt.Errorf("%s is no agent of snatwatch: it has no /api/v1/snapshot", at)
		}
		return nil, fmt.Errorf("agent at %s: %w", at, err)
	}
	defer func() { _ = body.Close() }()
	var s Snapshot
	if err := json.NewDecoder(&limited{body, answerMost}).Decode(&s); err != nil {
		return nil, fmt.Errorf("agent at %s: read snapshot: %w", at, err)
	}
	if s.At.IsZero() {
		return nil, fmt.Errorf("%s is no agent of snatwatch: its snapshot has no time", at)
	}
	return &s, nil
}
