package web

import (
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// apiChain is the budgets of one way out.
type apiChain struct {
	Stages []apiStage `json:"stages"` // in the order in which a flow passes them
	// Tightest is the budget with the fewest ports.
	Tightest string `json:"tightest"`
}

type apiStage struct {
	Stage   string   `json:"stage"` // socket, node, beyond
	Budgets []string `json:"budgets"`
}

func newAPIChains(snap *detector.Snapshot) []apiChain {
	out := []apiChain{}
	for _, c := range chainsOf(snap) {
		chain := apiChain{Tightest: c.Tightest().Name}
		for s, list := range c {
			stage := apiStage{Stage: budget.Stage(s).String()}
			for _, b := range list {
				stage.Budgets = append(stage.Budgets, b.Name)
			}
			if len(list) > 0 {
				chain.Stages = append(chain.Stages, stage)
			}
		}
		out = append(out, chain)
	}
	return out
}

func chainsOf(snap *detector.Snapshot) []budget.Chain {
	budgets := make([]*budget.Budget, len(snap.Budgets))
	for i := range snap.Budgets {
		budgets[i] = snap.Budgets[i].Budget
	}
	return budget.Chains(budgets)
}

// pageChain is one way out as the page shows it.
type pageChain struct {
	Stages   []pageStage
	Tightest string
}

type pageStage struct {
	Place   string
	Budgets []pageStaged
	More    int
}

// pageStaged is the fullest port space of a budget, of the protocol that has less left.
type pageStaged struct {
	Name           string
	Busiest, Ports int
	Level          level
}

// The page shows pageChains chains, and pageStagedMax budgets of each stage.
const (
	pageChains    = 4
	pageStagedMax = 4
)

func newPageChains(snap *detector.Snapshot) (out []pageChain) {
	fill := map[string]pageStaged{}
	for i := range snap.Budgets {
		b := &snap.Budgets[i]
		x, most := pageStaged{Name: b.Budget.Name, Level: levelOK}, -1.0
		for j := range b.Protocols {
			p := &b.Protocols[j]
			held, terms, _ := fullest(p)
			if r := ratio(held, terms.Effective); r > most {
				x.Busiest, x.Ports, most = held, terms.Ports, r
				x.Level = spaceLevel(&detector.SpaceSnapshot{Held: held}, &terms)
			}
		}
		fill[x.Name] = x
	}
	for i, c := range chainsOf(snap) {
		if i == pageChains {
			break
		}
		chain := pageChain{Tightest: c.Tightest().Name}
		for s, list := range c {
			stage := pageStage{Place: budget.Stage(s).Place()}
			for k, b := range list {
				if k == pageStagedMax {
					stage.More = len(list) - k
					break
				}
				stage.Budgets = append(stage.Budgets, fill[b.Name])
			}
			if len(list) > 0 {
				chain.Stages = append(chain.Stages, stage)
			}
		}
		out = append(out, chain)
	}
	return out
}
