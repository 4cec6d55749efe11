package dashboards

import (
	"fmt"

	"github.com/snatwatch/snatwatch/rules"
)

// Files returns the boards as JSON by file name, with the thresholds and the cluster
// label of o.
func Files(o rules.Options) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, b := range boards(o) {
		body, err := b.json(o)
		if err != nil {
			return nil, fmt.Errorf("write board %s: %w", b.uid, err)
		}
		out[b.uid+".json"] = body
	}
	return out, nil
}

func boards(o rules.Options) []board {
	return []board{overview(o), node(o), fleet(o), agents(o)}
}
