#!/usr/bin/env bash
# kingpin does not say which flag has a value that it refuses.
#
# Guess: of several flags of one type, the error for a value that is none names the flag, as Go's package flag does:
# 'invalid value "5" for flag -wait'. Kingpin's own errors do name it, such as "required flag(s) '--wait' not provided".
# Seen: the error is the parser's alone: 'time: missing unit in duration "5"' and 'strconv.ParseFloat: parsing "x":
# invalid syntax'. Where several flags take such values it may be any of them. What works is to parse the arguments
# again by ParseContext and to set the value of each flag, until one fails.
# Seen with github.com/alecthomas/kingpin/v2 v2.4.0. Source: Application.setValues in app.go, which returns the error of
# Value.Set as it is.
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module which

go 1.24

require github.com/alecthomas/kingpin/v2 v2.4.0
MOD
cat >main.go <<'GO'
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

func main() {
	changed := false
	for _, wrong := range []string{"--wait=5", "--share=x"} {
		app := kingpin.New("which", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
		app.Flag("pause", "").Default("1s").Duration()
		app.Flag("wait", "").Default("1s").Duration()
		app.Flag("share", "").Default("1").Float64()
		_, err := app.Parse([]string{"--pause=2s", wrong})
		set := flag.NewFlagSet("which", flag.ContinueOnError)
		set.SetOutput(io.Discard)
		set.Duration("pause", 0, "")
		set.Duration("wait", 0, "")
		set.Float64("share", 0, "")
		stdErr := set.Parse([]string{"--pause=2s", wrong})
		name := strings.Trim(strings.Split(wrong, "=")[0], "-")
		fmt.Printf("%s: kingpin: %v; flag: %v\n", wrong, err, stdErr)
		changed = changed || err == nil || strings.Contains(err.Error(), name) || stdErr == nil || !strings.Contains(stdErr.Error(), "-"+name)
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
