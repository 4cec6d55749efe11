// Package cli says of a command line's mistakes what kingpin leaves out: which flag, and what would be right.
package cli

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
)

// Parse parses args, and returns the command that they name. Its error says which flag has a value that is refused, and
// what would be right; of a flag or a command that is not there it says which one is meant. A flag of a whole number
// refuses a fraction, which kingpin cuts off.
func Parse(app *kingpin.Application, args []string) (command string, err error) {
	args = joined(args)
	command, err = app.Parse(args)
	parsed, failed := app.ParseContext(args)
	if failed != nil {
		return command, meant(app, args, err)
	}
	for _, given := range parsed.Elements {
		flag, ok := given.Clause.(*kingpin.FlagClause)
		if !ok || given.Value == nil {
			continue
		}
		m := flag.Model()
		refused := err != nil && m.Value.Set(*given.Value) != nil
		if !refused && !cut(m.Value, *given.Value) {
			continue
		}
		if want := cmp.Or(wanted(m.Value), options(err)); want != "" {
			return command, fmt.Errorf("--%s: %s: want %s", m.Name, *given.Value, want)
		}
		return command, fmt.Errorf("--%s: %w", m.Name, err)
	}
	return command, err
}

// joined returns args with each negative number joined to the flag before it, as in --opens=-5: kingpin takes it for a
// flag, and nobody would learn what is wrong with the number.
func joined(args []string) []string {
	var out []string
	for _, a := range args {
		last := len(out) - 1
		if negative(a) && last >= 0 && strings.HasPrefix(out[last], "--") && len(out[last]) > 2 &&
			!strings.Contains(out[last], "=") {
			out[last] += "=" + a
			continue
		}
		out = append(out, a)
	}
	return out
}

// negative reports whether a begins as a number below 0, or a duration.
func negative(a string) bool {
	digits := strings.TrimPrefix(strings.TrimPrefix(a, "-"), ".")
	return strings.HasPrefix(a, "-") && digits != "" && digits[0] >= '0' && digits[0] <= '9'
}

// options returns what kingpin's error says that a flag of few values takes, empty where it says something else.
func options(err error) string {
	if err == nil {
		return ""
	}
	list, found := strings.CutPrefix(err.Error(), "enum value must be one of ")
	list, _, _ = strings.Cut(list, ", got ")
	if !found {
		return ""
	}
	return oneOf(strings.Split(list, ","))
}

// oneOf lists names, the last after an or.
func oneOf(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// cut reports whether v takes a whole number and text is none, or too large: kingpin reads it as a fraction and keeps
// what fits.
func cut(v kingpin.Value, text string) bool {
	g, ok := v.(kingpin.Getter)
	if !ok {
		return false
	}
	if _, whole := g.Get().(int); !whole {
		return false
	}
	f, err := strconv.ParseFloat(text, 64)
	return err == nil && !(f == math.Trunc(f) && math.Abs(f) < 1<<53)
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
