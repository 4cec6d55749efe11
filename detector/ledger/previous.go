package ledger

// previous is what was in place before a Reconfigure.
type previous struct {
	accounts []*account
	spaces   []portSpace
	owners   []ownerSet
	byKey    map[spaceKey]uint32
	// number has the number of the old account by the number of the new one of the same budget.
	number map[uint32]uint32
}

// inherit gives new port space number the history of the old one with the same key.
func (o *previous) inherit(ss *spaces, number uint32) {
	if o == nil {
		return
	}
	s := &ss.list[number]
	k := s.key
	was, ok := o.number[k.account]
	if !ok {
		return
	}
	k.account = was
	if n, ok := o.byKey[k]; ok {
		old := &o.spaces[n]
		ss.owners[number] = o.owners[n].places()
		s.opened, s.rate, s.holds = old.opened, old.rate, old.holds
		s.exportedUntil, s.exhaustedAt, s.failing, s.heldForecast = old.exportedUntil, old.exhaustedAt, old.failing,
			old.heldForecast
		if s.outlook = old.outlook; s.outlook != nil {
			ss.outlooks.count++
			if *ss.accounts[s.key.account].terms != *o.accounts[was].terms {
				s.outlook.NewTerms()
			}
		}
	}
}

func (o *previous) accountOf(f *flow) *account {
	if f.place.folded() {
		return o.accounts[f.place.account()]
	}
	return o.accounts[o.spaces[f.place].key.account]
}
