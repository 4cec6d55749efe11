package score

import "time"

// Pager follows a page through a run, in ticks: raised when its urgency is Raise or more, on until the probability has
// been below Clear for Keep ticks, and where ports are scarce for ScarceKeep ticks before those; it looks every Every
// ticks.
type Pager struct {
	Raise, Clear            float64
	Keep, ScarceKeep, Every int
	// From is the tick of the first look.
	From int
	// Spans are the pages; to is the last tick of each, inclusive.
	Spans []Span
	on    bool
	held  int // the last tick at which it was held on
	high  int // the last tick at which the probability was Clear or more
}

// Step takes tick k, and whether ports are scarce.
func (p *Pager) Step(k int, urgency, probability float64, scarce bool) {
	if k%p.Every != p.From {
		return
	}
	if probability >= p.Clear {
		p.high = k
	}
	switch {
	case urgency >= p.Raise || p.on && (p.high == k || scarce && k-p.high <= p.ScarceKeep):
		if !p.on {
			p.Spans = append(p.Spans, Span{From: k})
		}
		p.on, p.held = true, k
	case p.on && k-p.held > p.Keep:
		p.on = false
	}
	if p.on {
		p.Spans[len(p.Spans)-1].To = k
	}
}

// Pages says how a page did. It adds up over runs.
type Pages struct {
	Episodes int
	// Leads of the episodes that a page came before, in seconds, at most the horizon.
	Leads []float64
	// False are pages that no episode followed within the horizon of their end, AtStart the ones among them that were
	// raised within startLasts of a start of the agent. The false ones include them.
	False, AtStart int
	Starts         int
	// Watched is how long was judged, On how long a page was on outside episodes, in seconds.
	Watched, On float64
}

// startLasts is for how long after a start of the agent a page counts as one of the start.
const startLasts = 15 * time.Minute

// Judge compares the pages with the episodes; starts are the ticks at which the agent started.
func (p *Pager) Judge(t *Truth, starts []int, horizon time.Duration) Pages {
	out := Pages{Starts: len(starts), Watched: float64(len(t.Held)) * t.Tick.Seconds()}
	ahead := t.Ticks(horizon)
	over := 0 // the tick at which the last episode ended
	for _, e := range t.Episodes {
		out.Episodes += min(1, e.From)
		for _, s := range p.Spans {
			// A page that has just ended is one that somebody is looking at still.
			if e.From > 0 && s.From < e.From && s.To >= e.From-t.Ticks(MergeGap) {
				lead := time.Duration(e.From-max(s.From, over)) * t.Tick
				out.Leads = append(out.Leads, min(lead, horizon).Seconds())
				break
			}
		}
		over = e.To
		for _, s := range p.Spans {
			out.On -= float64(max(0, min(e.To, s.To+1)-max(e.From, s.From))) * t.Tick.Seconds()
		}
	}
	for _, s := range p.Spans {
		out.On += float64(s.To+1-s.From) * t.Tick.Seconds()
		right := s.From+ahead >= len(t.Held) // nobody knows
		for _, e := range t.Episodes {
			right = right || e.From <= s.To+ahead && e.To > s.From
		}
		if right {
			continue
		}
		out.False++
		for _, at := range starts {
			if s.From >= at && s.From < at+t.Ticks(startLasts) {
				out.AtStart++
				break
			}
		}
	}
	return out
}

// Merge adds another run.
func (p *Pages) Merge(o *Pages) {
	p.Episodes += o.Episodes
	p.Leads = append(p.Leads, o.Leads...)
	p.False += o.False
	p.AtStart += o.AtStart
	p.Starts += o.Starts
	p.Watched += o.Watched
	p.On += o.On
}

// Detected is the share of episodes that a page came before.
func (p *Pages) Detected() float64 { return float64(len(p.Leads)) / float64(p.Episodes) }

// Lead is the median over the episodes that a page came before, in seconds.
func (p *Pages) Lead() float64 { return median(p.Leads) }

// OnShare is the share of the time that a page was on outside episodes.
func (p *Pages) OnShare() float64 { return p.On / p.Watched }

// FalsePerDay is false pages a day.
func (p *Pages) FalsePerDay() float64 { return float64(p.False) / p.Watched * 86400 }
