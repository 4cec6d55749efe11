package record

import (
	"bufio"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// readZeek reads Zeek's conn.log as it is by default: tab-separated, with #fields.
func readZeek(b *builder, in *bufio.Reader) {
	separator := "\t"
	var l layout
	ready := false
	for n, text := range lines(b, in) {
		line := string(text)
		meta := strings.TrimLeft(line, " \t")
		if !strings.HasPrefix(meta, "#") {
			if !ready {
				b.bad(n, "#fields", "is missing")
				return
			}
			if r, ok := b.pick(&l, n, strings.Split(line, separator)); ok {
				b.add(n, &l, &r)
			}
			continue
		}
		if s, ok := strings.CutPrefix(meta, "#separator "); ok {
			if u, err := strconv.Unquote(`"` + s + `"`); err == nil && u != "" {
				separator = u
			}
		}
		if s, ok := strings.CutPrefix(meta, "#fields"+separator); ok {
			var missing string
			if l, missing = newLayout(strings.Split(s, separator)); missing != "" {
				b.bad(n, missing, "is missing")
				return
			}
			ready = true
		}
	}
}

// readJSON reads one JSON object per line, as Zeek writes conn.log with JSON logs on. Of several names of a
// column the first in alphabetical order counts that has a value.
func readJSON(b *builder, in *bufio.Reader) {
	known := aliases()
	for n, text := range lines(b, in) {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			b.bad(n, "", "is no JSON object: "+err.Error())
			continue
		}
		l := layout{name: columnNames}
		var r row
		for _, key := range slices.Sorted(maps.Keys(object)) {
			name := strings.ToLower(key)
			c, ok := known[name]
			if !ok || !unset(r[c]) {
				continue
			}
			var text string
			if json.Unmarshal(object[key], &text) != nil {
				text = string(object[key])
			}
			if r[c] == "" || !unset(text) {
				l.name[c], l.milli[c], r[c] = name, strings.HasSuffix(name, "_ms"), text
			}
		}
		if r[colStart] == "" {
			b.bad(n, l.name[colStart], "is missing")
			continue
		}
		b.add(n, &l, &r)
	}
}
