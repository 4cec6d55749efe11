#!/usr/bin/env bash
# kingpin takes a mistyped command for an argument of the default command, and runs that.
#
# Guess: a program with commands refuses a word that is none of them, and says so.
# Seen: that holds only without a default command: "expected command but got". With one, the word goes to the default
# command: if that takes arguments, it runs with the word as one and nothing is said; if it takes none, the error is
# "unexpected tpo", which does not tell that a command was looked for. A program with a default command has to compare
# the first word with the names of its commands itself, and a default command should take no arguments.
# Seen with github.com/alecthomas/kingpin/v2 v2.4.0. Source: parse in parser.go.
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module mistyped

go 1.24

require github.com/alecthomas/kingpin/v2 v2.4.0
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"
)

// parse returns what a program with the commands run and top makes of the words.
func parse(byDefault, arguments bool, words ...string) (command string, files []string, err error) {
	app := kingpin.New("mistyped", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
	run := app.Command("run", "")
	if byDefault {
		run.Default()
	}
	if arguments {
		run.Arg("file", "").StringsVar(&files)
	}
	app.Command("top", "")
	command, err = app.Parse(words)
	return command, files, err
}

func main() {
	changed := false
	for _, x := range []struct {
		byDefault, arguments bool
		command, said        string
	}{
		{false, false, "", `expected command but got "tpo"`},
		{true, false, "", "unexpected tpo"},
		{true, true, "run", ""},
	} {
		command, files, err := parse(x.byDefault, x.arguments, "tpo")
		said := ""
		if err != nil {
			said = err.Error()
		}
		fmt.Printf("tpo, default command %v, which takes arguments %v: runs %q with %q, error %q\n", x.byDefault,
			x.arguments, command, files, said)
		changed = changed || command != x.command || said != x.said
	}
	if changed {
		fmt.Println("changed")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go list -m github.com/alecthomas/kingpin/v2
go run .
