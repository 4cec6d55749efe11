package config

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Check writes the budgets that the configuration at path leads to on this machine;
// an empty path is the embedded default. count asks the API server. Mistakes come back as Errors.
func Check(ctx context.Context, w io.Writer, path string, metadata cloud.Client, count CountNodes) error {
	c, err := Load(path)
	if err != nil {
		return err
	}
	outer, err := c.OpenOuter()
	if err != nil {
		return err
	}
	defer func() { _ = outer.Close() }()
	m, err := Discover(ctx, c, outer, Machine{CountNodes: count}, metadata)
	if err != nil {
		return err
	}
	budgets, notes, err := c.Resolve(m)
	if err != nil {
		return err
	}
	if err := Print(w, budgets, notes); err != nil {
		return err
	}
	if m.Cloud.Provider != "" {
		if _, err := fmt.Fprintf(w, "cloud: %v\n", m.Cloud); err != nil {
			return err
		}
	}
	allowances, err := limits.Allowances(outer)
	if err != nil {
		_, err = fmt.Fprintf(w, "note: whether EC2 tracks connections of this machine is not known: %v\n", err)
		return err
	}
	return printAllowances(w, allowances)
}

// printAllowances writes how much of EC2's own connection tracking is left, which is in no budget.
func printAllowances(w io.Writer, list []limits.Allowance) error {
	for _, a := range list {
		left := "the driver does not tell how many more (from ena 2.8.1 on it does)"
		if a.Known {
			left = fmt.Sprintf("%d more now", a.Available)
		}
		if _, err := fmt.Fprintf(w, "EC2 tracks connections of %s: %s; beside all budgets, in and out, whatever their "+
			"ports\n", a.Interface, left); err != nil {
			return err
		}
	}
	return nil
}

// Print writes budgets and notes as tables for a person.
func Print(w io.Writer, budgets []*budget.Budget, notes []string) error {
	var out bytes.Buffer
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	// Neither writes to anything but memory.
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) }
	line("BUDGET\tMODEL\tSCOPE\tVIPS\tNODES\tNEXT TIER\tDESTINATIONS\tASSUMED")
	for _, b := range budgets {
		line("%s\t%s\t%v\t%s\t%s\t%s\t%s\t%s",
			b.Name, b.Model, b.Scope, vipsText(b), orDash(b.Nodes), tierText(b), destinationsText(b),
			orNone(strings.Join(b.Assumed, ", ")))
	}
	line("")
	line("BUDGET\tPROTOCOL\tPORTS\tEFFECTIVE\tUNIQUE PER\tIDLE\tHALF-OPEN\tCOOL-DOWN " +
		"FIN\tRST\tTIMEOUT\tIDLE\tEVICTED\tUNKNOWN")
	for _, b := range budgets {
		for _, p := range []collector.Protocol{collector.TCP, collector.UDP} {
			x := b.Terms(p)
			if x.Ports == 0 {
				line("%s\t%v\tnone", b.Name, p)
				continue
			}
			var cool string
			for _, r := range []collector.Reason{
				collector.FIN, collector.RST, collector.Timeout, collector.Idle,
				collector.Evicted, collector.ReasonUnknown,
			} {
				cool += "\t" + duration(x.CoolDown[r])
			}
			line("%s\t%v\t%d\t%d\t%v\t%s\t%s%s", b.Name, p, x.Ports, x.Effective, x.Unique, kernelOr(x.Idle),
				kernelOr(x.HalfOpen), cool)
		}
	}
	line("")
	for _, c := range budget.Chains(budgets) {
		line("stages: %v", &c)
	}
	for _, b := range budgets {
		if n := max(b.TCP.Total, b.UDP.Total); n > 0 {
			line("%s: at most %d ports of all port spaces together", b.Name, n)
		}
	}
	seen := map[string]bool{}
	for _, b := range budgets {
		if !seen[b.Model] {
			line("%s: numbers from %s\n%s: exhaustion shows as %s", b.Model, b.Source, b.Model, b.FailureSignal)
		}
		seen[b.Model] = true
	}
	for _, n := range notes {
		line("note: %s", n)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes())
	return err
}

func vipsText(b *budget.Budget) string {
	text := fmt.Sprint(b.VIPCount)
	switch {
	case b.Local:
		return "-"
	case len(b.VIPs) == 0 && b.Translated:
		text = "any"
	case len(b.VIPs) == 1:
		text = b.VIPs[0].String()
	case len(b.VIPs) > 1:
		text = fmt.Sprintf("%d (%s)", len(b.VIPs), joinAddrs(b.VIPs[:min(4, len(b.VIPs))]))
		if len(b.VIPs) > 4 {
			text = strings.TrimSuffix(text, ")") + ", …)"
		}
	}
	if b.SpacePerVIP {
		text += ", a port space each"
	}
	switch r := b.PortRange; {
	case len(b.Params.Pools) > 0:
		text += fmt.Sprintf(", %d port ranges", len(b.Params.Pools))
	case b.Translated && r != (collector.PortRange{}):
		text += fmt.Sprintf(", ports %d-%d", r.First, r.Last)
	}
	return text
}

func tierText(b *budget.Budget) string {
	switch {
	case b.NextTierPorts > 0:
		return fmt.Sprintf("%d ports from %d nodes on", b.NextTierPorts, b.Nodes+b.NodesToNextTier+1)
	case b.NodesToNextTier > 0:
		return fmt.Sprintf("none, the table ends at %d nodes", b.Nodes+b.NodesToNextTier)
	}
	return "-"
}

func destinationsText(b *budget.Budget) string {
	text := "all"
	if len(b.Include) > 0 {
		text = prefixesText(b.Include)
	}
	if len(b.Exclude) > 0 {
		text += fmt.Sprintf(" but %d prefixes", len(b.Exclude))
		if len(b.Exclude) <= 2 {
			text = strings.TrimSuffix(text, fmt.Sprintf("%d prefixes", len(b.Exclude))) + prefixesText(b.Exclude)
		}
	}
	return text
}

func prefixesText(ps []netip.Prefix) string {
	if len(ps) > 2 {
		return fmt.Sprintf("%d prefixes", len(ps))
	}
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

func orDash(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// kernelOr: 0 is as long as the kernel shows the flow.
func kernelOr(d time.Duration) string {
	if d == 0 {
		return "kernel's"
	}
	return duration(d)
}

// duration writes 4m and not 4m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
