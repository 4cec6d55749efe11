package config

import (
	"fmt"
	"slices"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// Resolve makes the budgets that the configuration leads to on a machine. The notes
// say what was found and what is missing. Mistakes come back as Errors.
func (c *Config) Resolve(m Machine) (budgets []*budget.Budget, notes []string, err error) {
	r := resolution{c: c, m: m, notes: slices.Clone(m.Notes), pools: map[string]Pool{}}
	if m.CloudUnread != nil {
		r.note("cloud metadata: %v", m.CloudUnread)
	}
	// What is configured comes before what is found.
	for i := range c.Budgets {
		if c.Budgets[i].Model != ModelAuto {
			path := fmt.Sprintf("budgets[%d]", i)
			r.add(path, r.params(path, &c.Budgets[i]))
			r.contradicted(&c.Budgets[i])
		}
	}
	for i := range c.Budgets {
		if c.Budgets[i].Model == ModelAuto {
			r.auto(fmt.Sprintf("budgets[%d]", i), &c.Budgets[i])
		}
	}
	if len(r.errs) > 0 {
		return nil, nil, r.errs
	}
	return r.budgets, r.notes, nil
}
