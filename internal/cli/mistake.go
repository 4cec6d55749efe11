// Package cli says of a command line's mistakes what kingpin leaves out: which flag, and what would be right.
package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
)

// Joined returns args with each negative number joined to the flag before it, as in --opens=-5: kingpin takes it for a
// flag, and nobody would learn what is wrong with the number.
func Joined(args []string) []string {
	var out []string
	for _, a := range args {
		last := len(out) - 1
		if len(a) > 1 && a[0] == '-' && a[1] >= '0' && a[1] <= '9' && last >= 0 && strings.HasPrefix(out[last], "--") &&
			len(out[last]) > 2 && !strings.Contains(out[last], "=") {
			out[last] += "=" + a
			continue
		}
		out = append(out, a)
	}
	return out
}

// Mistake is what ended the parse of args with err. Kingpin does not say which flag has a value that is refused, nor
// what would be right.
func Mistake(app *kingpin.Application, args []string, err error) string {
	parsed, failed := app.ParseContext(args)
	if failed != nil {
		return err.Error()
	}
	for _, given := range parsed.Elements {
		flag, ok := given.Clause.(*kingpin.FlagClause)
		if !ok || given.Value == nil {
			continue
		}
		m := flag.Model()
		if m.Value.Set(*given.Value) == nil {
			continue
		}
		if want := wanted(m.Value); want != "" {
			return fmt.Sprintf("--%s: %s: want %s", m.Name, *given.Value, want)
		}
		return fmt.Sprintf("--%s: %v", m.Name, err)
	}
	return err.Error()
}

// wanted says what a flag takes; empty where its own error says so.
func wanted(v kingpin.Value) string {
	g, ok := v.(kingpin.Getter)
	if !ok {
		return ""
	}
	switch g.Get().(type) {
	case time.Duration:
		return "a duration such as 10s or 4m"
	case int:
		return "a whole number"
	case float64:
		return "a number"
	case units.Base2Bytes:
		return "a number of bytes such as 256MiB"
	}
	return ""
}
