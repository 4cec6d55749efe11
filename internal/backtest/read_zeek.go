package backtest

import (
	"bufio"
	"encoding/json"
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
		if !strings.HasPrefix(line, "#") {
			if !ready {
				b.bad(n, "#fields", "is missing")
				return
			}
			if r, ok := b.pick(&l, n, strings.Split(line, separator)); ok {
				b.add(n, &l, &r)
			}
			continue
		}
		if s, ok := strings.CutPrefix(line, "#separator "); ok {
			if u, err := strconv.Unquote(`"` + s + `"`); err == nil && u != "" {
				separator = u
			}
		}
		if s, ok := strings.CutPrefix(line, "#fields"+separator); ok {
			var missing string
			if l, missing = newLayout(strings.Split(s, separator)); missing != "" {
				b.bad(n, missing, "is missing")
				return
			}
			ready = true
		}
	}
}

// readJSON reads one JSON object per line, as Zeek writes conn.log with JSON logs on.
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
		for key, raw := range object {
			key = strings.ToLower(key)
			c, ok := known[key]
			if !ok || r[c] != "" && key > l.name[c] {
				continue
			}
			l.name[c], l.milli[c] = key, strings.HasSuffix(key, "_ms")
			r[c] = string(raw)
			var s string
			if json.Unmarshal(raw, &s) == nil {
				r[c] = s
			}
		}
		if r[colStart] == "" {
			b.bad(n, l.name[colStart], "is missing")
			continue
		}
		b.add(n, &l, &r)
	}
}
