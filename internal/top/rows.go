package top

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/internal/remote"
)

// Table is what is known at one moment.
type Table struct {
	At   time.Time `json:"at"`
	From string    `json:"from"`
	Rows []Row     `json:"port_spaces"`
	// Notes say why the table may be wrong or not complete.
	Notes []string `json:"notes"`
}

// Row is one port space.
type Row struct {
	// Node is the instance, where there are several.
	Node        string `json:"node,omitempty"`
	Budget      string `json:"budget"`
	Protocol    string `json:"protocol"`
	VIP         string `json:"vip,omitempty"`
	Destination string `json:"destination"`
	Held        int    `json:"held"`
	Cooling     int    `json:"cooling"`
	Ports       int    `json:"ports"`
	Effective   int    `json:"effective_ports"`
	// Opens is per second, Hold the mean hold time in seconds; nil where not known.
	Opens *float64 `json:"opens_per_second"`
	Hold  *float64 `json:"mean_hold_seconds"`
	// Left is the median time to exhaustion in seconds: 0 when exhausted, nil beyond an hour, or where NoForecast says
	// that none is made or known.
	Left       *float64 `json:"time_to_exhaustion_seconds"`
	NoForecast bool     `json:"no_forecast,omitempty"`
	// Failures counts the opens of the whole budget that failed for want of ports since its agent started; nil
	// where it has no sensor for them.
	Failures *float64       `json:"budget_failures"`
	Owners   []remote.Owner `json:"owners,omitempty"`
}

// fill is the share of the ports that is held.
func (r *Row) fill() float64 {
	if r.Ports == 0 {
		return 0
	}
	return float64(r.Held) / float64(r.Ports)
}

// left is the time to exhaustion with +Inf for none.
func (r *Row) left() float64 {
	if r.Left == nil {
		return math.Inf(1)
	}
	return *r.Left
}

func value(p *float64) float64 {
	if p == nil {
		return -1
	}
	return *p
}

// Order is what rows are sorted by.
type Order int

// The orders, in which the key goes through them.
const (
	ByLeft Order = iota
	ByHeld
	ByOpens
	ByHold
	ByName
	numOrders
)

// Orders are the names of all orders.
func Orders() []string { return []string{"left", "held", "opens", "hold", "name"} }

// ParseOrder returns the order of that name.
func ParseOrder(name string) (Order, bool) {
	i := slices.Index(Orders(), name)
	return Order(max(i, 0)), i >= 0
}

func (o Order) String() string { return Orders()[o] }

// Sort orders rows; those that are alike by fill, then by name, so that a table does not flap.
func Sort(rows []Row, by Order) {
	slices.SortStableFunc(rows, func(a, b Row) int {
		first := 0
		switch by {
		case ByLeft:
			first = cmp.Compare(a.left(), b.left())
		case ByHeld:
			first = cmp.Compare(b.Held, a.Held)
		case ByOpens:
			first = cmp.Compare(value(b.Opens), value(a.Opens))
		case ByHold:
			first = cmp.Compare(value(b.Hold), value(a.Hold))
		}
		if by == ByName {
			return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Node, b.Node),
				cmp.Compare(a.VIP, b.VIP))
		}
		return cmp.Or(first, cmp.Compare(b.fill(), a.fill()), cmp.Compare(a.Destination, b.Destination),
			cmp.Compare(a.Node, b.Node))
	})
}

// Filter returns the rows that have the text in any of their names.
func Filter(rows []Row, text string) []Row {
	if text == "" {
		return rows
	}
	text = strings.ToLower(text)
	var out []Row
	for i := range rows {
		r := &rows[i]
		names := []string{r.Node, r.Budget, r.Protocol, r.VIP, r.Destination}
		for _, o := range r.Owners {
			names = append(names, o.Name)
		}
		if slices.ContainsFunc(names, func(n string) bool { return strings.Contains(strings.ToLower(n), text) }) {
			out = append(out, *r)
		}
	}
	return out
}
