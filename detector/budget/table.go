package budget

// tier is one row of Azure's default allocation: pools of at most Nodes get
// Ports per node and VIP.
type tier struct{ nodes, ports int }

// azureTable is the default allocation of Azure Load Balancer, ordered by nodes.
func azureTable() []tier {
	return []tier{{50, 1024}, {100, 512}, {200, 256}, {400, 128}, {800, 64}, {1000, 32}}
}

// maxTableNodes is where the table ends; nothing is documented beyond.
const maxTableNodes = 1000

// tableShare returns what a node of the pool gets, and the table's edge: how many
// nodes can be added before that shrinks, and what it shrinks to (0 where the
// table ends first). limit caps the share over all VIPs, 0 is no cap.
func tableShare(nodes, vips, limit int) (ports, toNext, next int) {
	for _, t := range azureTable() {
		share := t.ports * vips
		if limit > 0 {
			share = min(share, limit)
		}
		switch {
		case nodes > t.nodes:
		case ports == 0:
			ports, toNext = share, t.nodes-nodes
		case share == ports: // the cap hides this edge
			toNext = t.nodes - nodes
		default:
			return ports, toNext, share
		}
	}
	return ports, toNext, 0
}

func tablePorts(limit int) func(*Params) (int, *KeyError) {
	return func(p *Params) (int, *KeyError) {
		if p.Nodes < 1 || p.Nodes > maxTableNodes {
			return 0, badKey("nodes", p.Nodes, "1 to %d: the provider documents no allocation for other pool sizes",
				maxTableNodes)
		}
		ports, _, _ := tableShare(p.Nodes, p.vips(), limit)
		return ports, nil
	}
}
