package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteJSON writes the plan for programs.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(p)
}

// WriteText writes the plan for people, at most 120 columns but for commands.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	row := func(name, text string) { fold(&b, fmt.Sprintf("%-9s ", name), text) }
	of := "of each node"
	if p.Today.Shared {
		of = "shared by all nodes"
	}
	row("today", fmt.Sprintf("%s, %s: %d ports %s to one destination%s", p.Model, p.Setting, p.Today.Ports, of,
		effective(&p.Today)))
	row("demand", p.Demand.text())
	coolDown := "no cool-down"
	if p.Today.CoolDown > 0 {
		coolDown = "cool-down " + span(p.Today.CoolDown)
	}
	row("", fmt.Sprintf("held %s (lifetime %s, %s): %s ports at the peak", span(p.Today.Hold),
		span(p.Today.Hold-p.Today.CoolDown), coolDown, ports(p.Today.Load)))
	row("so", fmt.Sprintf("a day exhausts with probability %s; at the peak %s of opens fail",
		probability(&p.Today), Percent(p.Today.Blocked)))
	row("needed", fmt.Sprintf("%d ports (%d–%d), %.1f times today's, for less than %s a day",
		p.Need, p.NeedLow, p.NeedHigh, p.Multiple, Percent(p.Target)))
	row("or", fmt.Sprintf("a mean hold of at most %s%s", span(p.LongestHold), p.coolDownText()))

	fmt.Fprintf(&b, "\nWhat would do, model by model, for less than %s a day\n", Percent(p.Target))
	model, set := len("model"), len("setting")
	for i := range p.Offers {
		model, set = max(model, len(p.Offers[i].Model)), max(set, len(p.Offers[i].Setting))
	}
	fmt.Fprintf(&b, "  %-*s %-*s %7s %8s %7s %6s  %s\n", model, "model", set, "setting", "ports", "in all", "held",
		"hold", "a day")
	for i := range p.Offers {
		o := &p.Offers[i]
		mark := ""
		if !o.Fits {
			mark = "  not enough"
		}
		fmt.Fprintf(&b, "  %-*s %-*s %7d %8d %7s %6s  %s%s\n", model, o.Model, set, o.Setting, o.Answer.Ports, o.Reserved,
			ports(o.Answer.Load), span(o.Answer.Hold), probability(&o.Answer), mark)
	}
	p.writeChanges(&b)
	for _, s := range []struct {
		title string
		lines []string
	}{{"The tier's edge", lines(p.Edge)}, {"Right size", p.Size}, {"Growth", p.Growth}, {"Notes", p.Notes}} {
		if len(s.lines) > 0 {
			fmt.Fprintf(&b, "\n%s\n", s.title)
		}
		for _, l := range s.lines {
			fold(&b, "  ", l)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fold writes head and then text, whose lines end at column 120 and begin below its first.
func fold(b *strings.Builder, head, text string) {
	const columns = 120
	indent := utf8.RuneCountInString(head)
	b.WriteString(head)
	for i, part := range strings.Split(text, "\n") {
		at := indent
		for j, word := range strings.Split(part, " ") {
			switch n := utf8.RuneCountInString(word); {
			case j > 0 && at+1+n > columns, i > 0 && j == 0:
				b.WriteString("\n" + strings.Repeat(" ", indent))
				at = indent + n
			case j > 0:
				b.WriteByte(' ')
				at += 1 + n
			default:
				at += n
			}
			b.WriteString(word)
		}
	}
	b.WriteByte('\n')
}

// coolDownText says which cool-down would do, where ports have one.
func (p *Plan) coolDownText() string {
	switch {
	case p.Today.CoolDown == 0:
		return ""
	case p.LongestCoolDown == 0:
		return "; with today's lifetimes no cool-down is short enough"
	}
	return ": with today's lifetimes a cool-down of at most " + span(p.LongestCoolDown)
}

func (p *Plan) writeChanges(b *strings.Builder) {
	fmt.Fprintf(b, "\nWhat each change buys, the best first\n  %8s %8s  %-18s  %s\n", "ports", "held", "a day",
		"change")
	for i := range p.Changes {
		c := &p.Changes[i]
		mark := "   "
		if c.Enough {
			mark = "ok "
		}
		fold(b, fmt.Sprintf("  %8d %8s  %-18s  %s", c.Answer.Ports, ports(c.Answer.Load), probability(&c.Answer), mark),
			c.Name+": "+c.Why)
		for _, command := range c.Commands {
			fmt.Fprintf(b, "  %8s %8s  %-18s     %s\n", "", "", "", command)
		}
	}
	if len(p.Nothing) > 0 {
		fmt.Fprintf(b, "\nWhat does nothing here, or harm\n")
	}
	for i := range p.Nothing {
		c := &p.Nothing[i]
		fold(b, fmt.Sprintf("  %8d %8s  %-18s  ", c.Answer.Ports, ports(c.Answer.Load), probability(&c.Answer)),
			c.Name+": "+c.Why)
	}
}

func (d *Demand) text() string {
	to := d.Destination
	if to == "" {
		to = "the busiest destination"
	}
	text := fmt.Sprintf("%.3g (%.3g–%.3g) opens/s of each node to %s, lifetimes half ≤ %s, 99 %% ≤ %s", d.Rate, d.Low,
		d.High, to, span(d.Lifetimes.Quantile(0.5)), span(d.Lifetimes.Quantile(0.99)))
	if d.LifetimesWithin > 1 {
		text += fmt.Sprintf(" (each within a factor of %.2g)", d.LifetimesWithin)
	}
	return text + fmt.Sprintf("; peaks differ by %s from day to day", Percent(d.Spread))
}

func effective(a *Answer) string {
	if a.Effective == a.Ports {
		return ""
	}
	return fmt.Sprintf(", %d of them before 1 %% of first packets are lost", a.Effective)
}

// probability prints the probability of a day, with its range where there is one to see.
func probability(a *Answer) string {
	mid, low, high := Percent(a.Probability), Percent(a.Low), Percent(a.High)
	if low == high {
		return mid
	}
	return fmt.Sprintf("%s (%s–%s)", mid, strings.TrimSuffix(low, " %"), strings.TrimSuffix(high, " %"))
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}
