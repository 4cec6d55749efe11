package web

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/words"
)

//go:embed page.html
var pageHTML string

// The page stays under pageBytes whatever the agent watches. It shows pageSpaces port spaces, fewer where their names
// and owners are long, at most pageSpacesTable of them in one table, and pageBudgets budgets.
const (
	pageBytes       = 100_000
	pageSpaces      = 80
	pageSpacesTable = 20
	pageBudgets     = 12
	pageCharts      = 4 // protocols whose past is drawn
)

type pageData struct {
	At, Age  string
	Version  string
	Level    level
	Verdict  string
	Because  string   // what is behind the verdict; empty where nothing is near its budget
	Doubts   []string // why the verdict may be wrong, and limits other than ports
	Exact    bool
	Warming  bool
	CPU      bool
	Starting bool
	Sources  []pageSource
	Tables   []pageTable
	// Allowances are of EC2.
	Allowances []pageAllowance
	Cloud      *Cloud
	Notices    []string
	// NoticesText says how many notices there are; empty for none.
	NoticesText string
	Chains      []pageChain
	Budgets     []pageBudget
	More        int
}

// pageSource is where flows are seen, and how many there are now.
type pageSource struct {
	Name, Strategy, Why string
	Flows               string // tracked now; empty before the first dump

	flows, namespaces int
}

type pageBudget struct {
	Answers                           []answer
	Name, Model, Scope, Pool, Gateway string
	Assumed                           []string
	Edge                              string
	Contradiction                     string
	Advice                            []string
	Protocols                         []pageProtocol
	urgency                           float64
}

type pageProtocol struct {
	Protocol         string
	Level            level
	Ports, Effective int
	Busiest          int
	Fill             string
	Held             int
	Idle             bool // nothing to show
	Opening          int
	Stalled          string
	Failures         []pageFailure
	Spaces           []pageSpace
	Hidden           int // port spaces that are not shown one by one
	HiddenHeld       int
	Charts           []chart
	Band             *band
	plain            *band // without the past
}

type pageFailure struct {
	Cause string
	Count uint64
}

type pageSpace struct {
	Destination, VIP    string
	Held, Live, Cooling int
	Level               level
	Bar                 bar
	Fill                string
	Opens, Hold         string
	Probability, TTE    string
	Owners              []pageOwner
	Rest                int // ports that other owners hold
}

// page makes the live page.
type page struct {
	tmpl *template.Template
	// history is nil where none is kept.
	history *History
	planner planner
	logger  *slog.Logger
}

func newPage(history *History, logger *slog.Logger) (*page, error) {
	tmpl, err := parsePage()
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	return &page{tmpl: tmpl, history: history, logger: logger}, nil
}

// write answers with the page of st, whose snapshot is age old.
func (p *page) write(w http.ResponseWriter, st *State, age time.Duration) {
	var b bytes.Buffer
	data := p.data(st, age)
	for spaces := pageSpaces; ; spaces /= 2 {
		trim(data.Budgets, spaces)
		b.Reset()
		if err := p.tmpl.Execute(&b, data); err != nil {
			p.logger.Error("page not rendered", "err", err)
			http.Error(w, "page not rendered", http.StatusInternalServerError)
			return
		}
		if b.Len() <= pageBytes || spaces == 0 {
			break
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "+
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.Bytes()) // fails only if the client went away
}

func parsePage() (*template.Template, error) { return template.New("page").Parse(pageHTML) }

// data is what the template shows.
func (p *page) data(st *State, age time.Duration) pageData {
	v := st.View
	out := pageData{
		Version: v.Build.Version, Sources: pageSources(v), Tables: pageTables(v), Allowances: pageAllowances(v),
		Cloud: st.Cloud, Notices: st.Notices, CPU: v.CPUExceeded,
		Level: levelWarn, Verdict: "Waiting for the first dump", Starting: !st.Ready,
	}
	if n := len(st.Notices); n > 0 {
		out.NoticesText = words.Counted(n, "notice", "notices") + " on what the agent cannot see or do"
	}
	snap := v.Snapshot
	if snap == nil {
		return out
	}
	out.At = v.At.UTC().Format("2006-01-02 15:04:05 UTC")
	out.Age = span(age.Seconds())
	out.Exact, out.Warming = exact(snap), snap.Warming
	out.Chains = newPageChains(snap)
	for i := range snap.Budgets {
		out.Budgets = append(out.Budgets, newPageBudget(v, &snap.Budgets[i], p.history))
	}
	slices.SortStableFunc(out.Budgets, func(a, b pageBudget) int { return cmp.Compare(b.urgency, a.urgency) })
	if st.Ready {
		out.Level, out.Verdict = verdict(snap)
		u := mostUrgent(snap)
		out.Because = u.because()
	}
	if out.Doubts = doubts(snap, age, st.Ready); len(out.Doubts) > 0 {
		out.Level = worse(out.Level, levelWarn)
	}
	other, l := otherLimits(v)
	out.Doubts, out.Level = append(out.Doubts, other...), worse(out.Level, l)
	if len(out.Budgets) > 0 && st.Ready {
		out.Budgets[0].Answers = p.answers(v, out.Budgets[0].Name)
	}
	if len(out.Budgets) > pageBudgets {
		out.More = len(out.Budgets) - pageBudgets
		out.Budgets = out.Budgets[:pageBudgets]
	}
	return out
}

// answers are the plan's best ones for a budget.
func (p *page) answers(v *metrics.View, name string) []answer {
	for i := range v.Snapshot.Budgets {
		if b := &v.Snapshot.Budgets[i]; b.Budget.Name == name {
			return p.planner.answers(p.history, v.At, v.Snapshot.At, b)
		}
	}
	return nil
}

// sourcesShown are how many lines of sources a page has.
const sourcesShown = 8

// pageSources are the sources with the flows that they track now: what was so when one was chosen is in its why.
// Sources of several namespaces that were chosen for one reason are one line.
func pageSources(v *metrics.View) []pageSource {
	type alike struct{ name, strategy, why string }
	var out []pageSource
	lines := map[alike]int{} // number in out, from 1 on
	more := 0
	for i := range v.Sources {
		x := &v.Sources[i]
		k := alike{x.Name, x.Strategy, x.Why}
		switch {
		case lines[k] > 0:
		case len(out) == sourcesShown:
			more++
			continue
		default:
			out = append(out, pageSource{Name: x.Name, Strategy: x.Strategy, Why: x.Why})
			lines[k] = len(out)
		}
		p := &out[lines[k]-1]
		p.namespaces++
		if v.Snapshot == nil {
			continue
		}
		for _, n := range v.Snapshot.Netns {
			if n.Netns == x.Netns {
				p.flows += n.Flows
				p.Flows = words.Counted(p.flows, "flow now", "flows now")
			}
		}
	}
	for i := range out {
		if n := out[i].namespaces; n > 1 && out[i].Flows != "" {
			out[i].Flows += fmt.Sprintf(" in %d network namespaces", n)
		}
	}
	if more > 0 {
		out = append(out, pageSource{Name: fmt.Sprintf("%d more", more)})
	}
	return out
}

// trim cuts each table to its share of the port spaces that the page shows.
func trim(budgets []pageBudget, spaces int) {
	tables, drawn := 0, 0
	for i := range budgets {
		tables += len(budgets[i].Protocols)
	}
	share := min(pageSpacesTable, max(1, spaces/max(1, tables)))
	for i := range budgets {
		for j := range budgets[i].Protocols {
			p := &budgets[i].Protocols[j]
			if len(p.Charts) > 0 {
				if drawn++; drawn > pageCharts {
					p.Charts, p.Band = nil, p.plain
				}
			}
			for _, s := range p.Spaces[min(share, len(p.Spaces)):] {
				p.Hidden++
				p.HiddenHeld += s.Held
			}
			p.Spaces = p.Spaces[:min(share, len(p.Spaces))]
		}
	}
}

func newPageBudget(v *metrics.View, x *detector.BudgetSnapshot, h *History) pageBudget {
	b := x.Budget
	out := pageBudget{
		Name: b.Name, Model: b.Model, Scope: b.Scope.String(), Pool: b.Pool, Gateway: b.Gateway,
		Assumed: b.Assumed, Contradiction: x.Contradiction, Advice: advice(x),
	}
	if b.NextTierPorts > 0 {
		out.Edge = fmt.Sprintf("%s in the pool; %d more and each node's budget falls from %d to %d TCP ports",
			words.Counted(b.Nodes, "node", "nodes"), b.NodesToNextTier+1, b.TCP.Ports, b.NextTierPorts)
	}
	for i := range x.Protocols {
		p := &x.Protocols[i]
		out.Protocols = append(out.Protocols, newPageProtocol(v, b, p, h))
		held, terms, _ := fullest(p)
		out.urgency = max(out.urgency, ratio(held, terms.Effective))
		for j := range p.Spaces {
			if f := p.Spaces[j].Forecast; f != nil {
				out.urgency = max(out.urgency, 1+f.Probability[2])
			}
		}
	}
	return out
}

func newPageProtocol(v *metrics.View, b *budget.Budget, p *detector.AccountSnapshot, h *History) pageProtocol {
	name := b.Name
	busiest, terms, low := fullest(p)
	out := pageProtocol{
		Protocol: p.Protocol.String(), Ports: terms.Ports, Effective: terms.Effective,
		Busiest: busiest, Held: p.Held, Opening: p.Opening, Level: levelOK,
		Fill:       percent(ratio(busiest, terms.Ports)),
		Hidden:     p.Tracked + p.Folded - len(p.Spaces),
		HiddenHeld: p.Other.Held,
		Idle:       p.Held+p.Opening+p.Stalled == 0 && len(p.Spaces) == 0 && p.Unanswered+p.Refused+p.NoPorts == 0,
	}
	if v.Stalled && p.Protocol == collector.TCP {
		out.Stalled = strconv.Itoa(p.Stalled)
	}
	for _, c := range causes(v, b, p) {
		out.Failures = append(out.Failures, pageFailure{c, failures(p, c)})
	}
	var endangered, calm []pageSpace // the page shows endangered spaces first; each list starts with the fullest
	var soonest *detector.SpaceSnapshot
	for i := range p.Spaces {
		s := &p.Spaces[i]
		ps := newPageSpace(s, &p.Terms)
		out.Level = worse(out.Level, ps.Level)
		if ps.Level == levelOK {
			calm = append(calm, ps)
		} else {
			endangered = append(endangered, ps)
		}
		if s.Held > 0 && s.Forecast != nil &&
			(soonest == nil || s.Forecast.TimeToExhaustion < soonest.Forecast.TimeToExhaustion) {
			soonest = s
		}
	}
	out.Spaces = slices.Concat(endangered, calm)
	past := h.past(pastKey{budget: name, protocol: p.Protocol})
	if low != nil { // the hour of what it holds, against its own ceiling
		past = past.holding(h.past(pastKey{name, p.Protocol, low.VIP, low.Destination}))
	}
	out.Charts = charts(past, terms.Effective)
	if soonest != nil {
		of := p.Terms.OfClass(soonest.Class)
		out.plain = newBand(soonest, &of, nil)
		out.Band = newBand(soonest, &of, h.past(pastKey{name, p.Protocol, soonest.VIP, soonest.Destination}))
	}
	return out
}

func newPageSpace(s *detector.SpaceSnapshot, all *budget.Terms) pageSpace {
	of := all.OfClass(s.Class)
	t := &of
	out := pageSpace{
		Destination: s.Destination, VIP: s.VIP, Held: s.Held, Live: s.Live, Cooling: s.Cooling,
		Level: spaceLevel(s, all), Bar: newBar(s.Live, s.Cooling, t),
		Fill:  percent(ratio(s.Held, t.Ports)),
		Opens: decimal(s.OpensPerSecond), Hold: "–", Probability: "–", TTE: "–",
	}
	if s.MeanHold > 0 {
		out.Hold = span(s.MeanHold.Seconds())
	}
	if f := s.Forecast; f != nil {
		out.Probability = percent(f.Probability[2])
		out.TTE = timeToExhaustion(f.TimeToExhaustion)
	}
	out.Owners, out.Rest = pageOwnersOf(s)
	return out
}
