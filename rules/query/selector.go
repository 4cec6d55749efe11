package query

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
)

var matcher = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\.)*)"\s*(,|$)`)

// validSelector checks a comma-separated list of matchers.
func validSelector(s string) error {
	for rest := s; rest != ""; {
		m := matcher.FindStringSubmatch(rest)
		if m == nil {
			return fmt.Errorf("no matcher at %q", rest)
		}
		if m[1] == model.MetricNameLabel {
			return fmt.Errorf("matcher %s: each metric has its own name", m[1])
		}
		if ownLabel(m[1]) {
			return fmt.Errorf("matcher %s: only some metrics have that label, the rest would never match", m[1])
		}
		if reserved.MatchString(m[1]) {
			return fmt.Errorf("matcher %s: no target has that label, nothing would ever match", m[1])
		}
		value, err := strconv.Unquote(`"` + m[3] + `"`) // PromQL knows the escapes of Go
		if err != nil {
			return fmt.Errorf("matcher %s: no such escape in \"%s\": a backslash is written twice", m[1], m[3])
		}
		if m[2] == "=~" || m[2] == "!~" {
			re, err := regexp.Compile(value)
			if err != nil {
				return fmt.Errorf("matcher %s: %w", m[1], err)
			}
			for _, name := range re.SubexpNames() { // Prometheus knows (?<name>...) only since it is built with Go 1.22
				if name != "" && strings.Contains(value, "(?<"+name+">") {
					return fmt.Errorf("matcher %s: Prometheus 2.42 refuses the group (?<%s>...): write it without a name", m[1], name)
				}
			}
		}
		rest = rest[len(m[0]):]
		if rest == "" && m[4] == "," {
			return fmt.Errorf("ends in a comma")
		}
	}
	return nil
}
