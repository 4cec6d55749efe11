package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/internal/words"
)

// Stopped says why no more flows were opened.
type Stopped string

// The reasons.
const (
	StoppedByLimit    Stopped = "limit"    // as many as asked were opened or failed
	StoppedByFailures Stopped = "failures" // a row of flows failed
	StoppedByMachine  Stopped = "machine"  // this machine could not make more sockets
	StoppedByUser     Stopped = "user"     // the context ended
)

// Report is what a test learned.
type Report struct {
	Target netip.AddrPort `json:"target"`
	Limit  int            `json:"limit"`
	// Attempted flows, those among them that were open at the same time, and those that failed.
	Attempted int `json:"attempted"`
	Open      int `json:"open"`
	Failed    int `json:"failed"`
	// Causes counts failures by errno's name, or "no answer" within the timeout.
	Causes map[string]int `json:"causes"`
	// FirstFailed is the number, from 1, of the first flow that failed; FailedFrom is the number from
	// which on every flow failed. 0 where there is none.
	FirstFailed int `json:"first_failed,omitempty"`
	FailedFrom  int `json:"failed_from,omitempty"`
	// Lost counts, by cause, flows that were open and ended before they were released.
	Lost map[string]int `json:"lost"`
	// VIPs are the addresses that the target saw, most flows first; empty unless the target is
	// the server of this package.
	VIPs []VIP `json:"vips"`
	// HeldBefore is how many ports were held to the target before the test, CoolingBefore how many of them were cooling.
	HeldBefore    int     `json:"held_before"`
	CoolingBefore int     `json:"cooling_before"`
	Stopped       Stopped `json:"stopped_by"`
	// Reason completes Stopped where the machine was the reason.
	Reason  string  `json:"reason,omitempty"`
	Seconds float64 `json:"seconds"`
	// Verdict is set by Judge.
	Verdict *Verdict `json:"verdict,omitempty"`
}

// VIP is one translated address that the target saw.
type VIP struct {
	Address netip.Addr `json:"vip"`
	Flows   int        `json:"flows"`
	// First and Last are the lowest and the highest port seen.
	First uint16 `json:"first_port"`
	Last  uint16 `json:"last_port"`
}

func (t *test) report(stopped Stopped) *Report {
	r := &Report{
		Target: t.Target, Limit: t.Limit, Attempted: len(t.flows), Open: t.peak, Failed: t.failed,
		Causes: map[string]int{}, Lost: map[string]int{}, VIPs: []VIP{},
		HeldBefore: t.HeldBefore, CoolingBefore: t.CoolingBefore, Stopped: stopped, Seconds: time.Since(t.began).Seconds(),
	}
	if t.local != nil {
		r.Reason = t.local.Error()
	}
	seen := map[netip.Addr]*VIP{}
	for i := range t.flows {
		f := &t.flows[i]
		switch f.state {
		case failed:
			r.Causes[f.cause]++
			if r.FirstFailed == 0 {
				r.FirstFailed = i + 1
			}
			if r.FailedFrom == 0 {
				r.FailedFrom = i + 1
			}
		case open, lost:
			r.FailedFrom = 0
			if f.state == lost {
				r.Lost[f.cause]++
			}
		}
		if f.seen.IsValid() {
			count(seen, f.seen)
		}
	}
	for _, v := range seen {
		r.VIPs = append(r.VIPs, *v)
	}
	slices.SortFunc(r.VIPs, func(a, b VIP) int {
		return cmp.Or(cmp.Compare(b.Flows, a.Flows), a.Address.Compare(b.Address))
	})
	return r
}

func count(seen map[netip.Addr]*VIP, at netip.AddrPort) {
	a := at.Addr().Unmap()
	v := seen[a]
	if v == nil {
		v = &VIP{Address: a, First: at.Port(), Last: at.Port()}
		seen[a] = v
	}
	v.Flows++
	v.First, v.Last = min(v.First, at.Port()), max(v.Last, at.Port())
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-12s  %s\n", name, value) }
	row("target", r.Target.String())
	row("attempted", fmt.Sprintf("%d of at most %d, in %.0f s; stopped by %s", r.Attempted, r.Limit, r.Seconds,
		r.stoppedBy()))
	row("open", fmt.Sprintf("%d at the same time%s", r.Open, r.before()))
	if r.Failed > 0 {
		row("failed", fmt.Sprintf("%d (%s), %s", r.Failed, counts(r.Causes), r.from()))
	} else {
		row("failed", "0")
	}
	if len(r.Lost) > 0 {
		row("lost", "while held: "+counts(r.Lost))
	}
	if len(r.VIPs) == 0 {
		row("VIPs", "not known: the target is not snatwatch verify --serve")
	}
	for i, v := range r.VIPs {
		if i == 8 {
			row("VIP", fmt.Sprintf("and %d more", len(r.VIPs)-i))
			break
		}
		row("VIP", fmt.Sprintf("%v, %s, ports %d to %d", v.Address, words.Counted(v.Flows, "flow", "flows"), v.First,
			v.Last))
	}
	if r.Verdict != nil {
		row("verdict", r.Verdict.Text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) before() string {
	if r.HeldBefore == 0 {
		return ""
	}
	text := fmt.Sprintf(", and %d ports held before the test", r.HeldBefore)
	if r.CoolingBefore > 0 {
		text += fmt.Sprintf(", %d of them cooling down", r.CoolingBefore)
	}
	return text
}

func (r *Report) stoppedBy() string {
	switch r.Stopped {
	case StoppedByLimit:
		return "the limit"
	case StoppedByFailures:
		return "a row of failures"
	case StoppedByMachine:
		return "this machine: " + r.Reason
	}
	return "you"
}

// from says where failures began.
func (r *Report) from() string {
	if r.FailedFrom == 0 {
		return fmt.Sprintf("the first was flow %d; later ones opened", r.FirstFailed)
	}
	if r.FailedFrom == r.FirstFailed {
		return fmt.Sprintf("all from flow %d on", r.FailedFrom)
	}
	return fmt.Sprintf("the first was flow %d, all from flow %d on", r.FirstFailed, r.FailedFrom)
}

// counts lists numbers by name, the largest first.
func counts(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", m[name], name)
	}
	return strings.Join(names, ", ")
}
