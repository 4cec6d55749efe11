package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/words"
)

// Help is the command line that shows the help for args: the help of their command, or of all.
func Help(app *kingpin.Application, args []string) string {
	if c := commandOf(app, args); c != nil {
		return app.Name + " " + c.FullCommand() + " --help"
	}
	return app.Name + " --help"
}

// commandOf returns the command that args name, nil where they name none.
func commandOf(app *kingpin.Application, args []string) *kingpin.CmdClause {
	for _, a := range args {
		if c := app.GetCommand(a); c != nil {
			return c
		}
	}
	return nil
}

// meant adds to the error of args which flag or which command is meant.
func meant(app *kingpin.Application, args []string, err error) error {
	m := app.Model()
	c := commandOf(app, args)
	flags := slices.Clone(m.Flags)
	var commands []string
	for _, x := range m.Commands {
		commands = append(commands, x.Name)
		if c != nil && x.Name == c.FullCommand() || c == nil && x.Default {
			flags = append(flags, x.Flags...)
		}
	}
	var names []string
	for _, f := range flags {
		names = append(names, f.Name)
	}
	for _, a := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if !strings.HasPrefix(a, "--") || name == "" || slices.Contains(names, strings.TrimPrefix(name, "no-")) {
			continue
		}
		if near := words.Nearest(name, names); near != "" {
			return fmt.Errorf("%w, perhaps --%s", err, near)
		}
		return err
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") || c != nil || len(commands) == 0 {
		return err
	}
	if near := words.Nearest(args[0], commands); near != "" {
		return fmt.Errorf("%w, perhaps %s", err, near)
	}
	return fmt.Errorf("%w: want a command: %s", err, oneOf(commands))
}
