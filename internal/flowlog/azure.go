package flowlog

import (
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
)

// Azure flow logs: JSON whose flows are strings of values separated by commas, in any depth of it. Virtual network
// flow logs: time in ms, source, destination, ports, protocol number, direction, state B, C, E or D, encryption,
// counts. Network security group flow logs, version 2: time in s, source, destination, ports, T or U, direction, A
// or D, state, counts.

type azure struct{ columns }

// azureTuple reports whether a string of the JSON is a flow.
func azureTuple(b []byte) bool {
	if len(b) < 30 || b[0] < '1' || b[0] > '9' {
		return false
	}
	commas := 0
	for _, c := range b {
		if c == ',' {
			commas++
		}
	}
	return commas >= 7
}

func (p *azure) parse(text []byte, r *Row) (err error) {
	if p.cut(text, ',', 9); p.n < 8 {
		return errFields
	}
	state := p.column(7)
	group := string(p.column(5)) == "T" || string(p.column(5)) == "U"
	at, ok := integer(p.column(0))
	if !ok {
		return fmt.Errorf("time %.20q", p.column(0))
	}
	switch {
	case at > 1e12 && at < 9e12:
		r.Start = at * 1e6
	case at > 1e9 && at < 9e9:
		r.Start = at * 1e9
	default:
		return fmt.Errorf("time %.20q", p.column(0))
	}
	r.End = r.Start
	if r.Tuple.Protocol, err = protocol(p.column(5)); err != nil {
		return err
	}
	if group {
		if string(state) == "D" {
			return skipDenied
		}
		state = []byte("B") // version 1 has no states
		if p.n > 8 && len(p.column(8)) > 0 {
			state = p.column(8)
		}
	}
	if string(p.column(6)) != "O" {
		return skipInbound
	}
	if err := r.Tuple.ends(p.column(1), p.column(2), p.column(3), p.column(4)); err != nil {
		return err
	}
	if r.Tuple.Destination.private() {
		return skipPrivate
	}
	r.State, r.Reason = Seen, 0
	switch string(state) {
	case "B", "C":
	case "E":
		r.State, r.Reason = Closed, collector.FIN
	case "D":
		return skipDenied
	default:
		return fmt.Errorf("state %.20q", state)
	}
	return nil
}
