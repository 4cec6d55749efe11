#!/usr/bin/env bash
# A stat, a table and a heat map with the defaults of Grafana's foundation SDK for Go are not what the SDK's own types allow.
#
# Guess: a panel that is built without touching an option has Grafana's default there, so its JSON is valid.
# Seen: the stat's orientation is "", which is none of auto, vertical and horizontal: Grafana then gives each of several
# values the whole panel, and all but the first are cut off. The heat map's tooltip mode is "", none of single, multi
# and none: the tooltip is empty. The table's footer.reducer is null, which strict decoding by the same SDK refuses.
# Each has to be set: Orientation(auto), Tooltip(mode single), Footer(reducer []).
# Seen with github.com/grafana/grafana-foundation-sdk/go v0.0.22, and with v0.0.18 before.
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module defaults

go 1.24

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
MOD
cat >main.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
)

type options struct {
	Orientation *string
	Tooltip     struct{ Mode *string }
	Footer      map[string]any
}

// read builds a panel and returns its options and the panel as JSON.
func read(b cog.Builder[dashboard.Panel]) (options, []byte) {
	p, err := b.Build()
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	var out struct{ Options options }
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out.Options, text
}

func main() {
	plugins.RegisterDefaultPlugins()
	s, _ := read(stat.NewPanelBuilder())
	h, _ := read(heatmap.NewPanelBuilder())
	t, text := read(table.NewPanelBuilder())
	var strict dashboard.Panel
	err := strict.UnmarshalJSONStrict(text)
	reducer, there := t.Footer["reducer"]
	fmt.Printf("stat: orientation %q\nheat map: tooltip mode %q\ntable: footer.reducer %v\nstrict decoding of the table: %v\n",
		*s.Orientation, *h.Tooltip.Mode, reducer, err)
	if *s.Orientation != "" || *h.Tooltip.Mode != "" || !there || reducer != nil || err == nil || err.Error() == "" {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go list -m github.com/grafana/grafana-foundation-sdk/go
go run .
