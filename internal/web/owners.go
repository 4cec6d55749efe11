package web

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// apiOwnerHeld is what one owner holds of a port space. Kind is pod, container, unit, process, client, unknown, or
// other for the sum of the rest.
type apiOwnerHeld struct {
	Kind         string `json:"kind"`
	Name         string `json:"name"`
	Container    string `json:"container,omitempty"` // of a pod
	Workload     string `json:"workload,omitempty"`
	WorkloadKind string `json:"workload_kind,omitempty"`
	Held         int    `json:"held"`
	// Share is Held of the ports that are held in the port space, 0 to 1.
	Share float64 `json:"share"`
}

// apiOwner is an owner's flows in all port spaces of a budget and protocol.
type apiOwner struct {
	Kind         string   `json:"kind"`
	Name         string   `json:"name"`
	Workload     string   `json:"workload,omitempty"`
	WorkloadKind string   `json:"workload_kind,omitempty"`
	Opened       uint64   `json:"opened"`
	MeanLifetime *float64 `json:"mean_lifetime_seconds"`
}

func newAPIOwnersHeld(s *detector.SpaceSnapshot) (out []apiOwnerHeld) {
	for _, o := range s.Owners {
		a := apiOwnerHeld{
			Kind: string(o.Kind), Name: o.Name, Container: o.Container, Workload: o.Workload, WorkloadKind: o.WorkloadKind,
			Held: o.Held,
		}
		if s.Held > 0 {
			a.Share = float64(o.Held) / float64(s.Held)
		}
		out = append(out, a)
	}
	return out
}

func newAPIOwners(p *detector.AccountSnapshot) (out []apiOwner) {
	for i := range p.Owners {
		o := &p.Owners[i]
		a := apiOwner{
			Kind: string(o.Kind), Name: o.Name, Workload: o.Workload, WorkloadKind: o.WorkloadKind,
			Opened: o.Opened,
		}
		if o.MeanLifetime > 0 {
			a.MeanLifetime = finite(o.MeanLifetime.Seconds())
		}
		out = append(out, a)
	}
	return out
}

// pageOwners is how many owners the page names of one port space.
const pageOwners = 3

// pageOwner is one of them.
type pageOwner struct {
	Name, Kind string
	Held       int
	Share      string
}

// pageOwnersOf returns the largest owners of a port space, and how many ports all others hold. A name is cut in the
// middle: a pod's begins with its namespace and ends with what tells it from its siblings.
func pageOwnersOf(s *detector.SpaceSnapshot) (out []pageOwner, rest int) {
	if s.Held == 0 {
		return nil, 0
	}
	for _, o := range s.Owners {
		switch {
		case o.Held == 0:
		case len(out) == pageOwners, o.Kind == collector.KindOther:
			rest += o.Held
		default:
			kind := string(o.Kind)
			switch {
			case o.Kind == collector.KindUnknown:
				kind = ""
			case o.Container != "":
				kind = "container " + shorten(o.Container, 30)
			}
			out = append(out, pageOwner{
				shorten(o.Name, 60), kind, o.Held,
				fmt.Sprintf("%.0f %%", 100*float64(o.Held)/float64(s.Held)),
			})
		}
	}
	return out, rest
}

// shorten cuts s to at most so many characters, in the middle.
func shorten(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	half := (most - 1) / 2
	var b strings.Builder
	b.WriteString(string(r[:half]))
	b.WriteString("…")
	b.WriteString(string(r[len(r)-half:]))
	return b.String()
}
