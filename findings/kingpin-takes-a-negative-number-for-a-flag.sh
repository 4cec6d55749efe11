#!/usr/bin/env bash
# kingpin takes the negative number after a flag for another flag.
#
# Guess: a flag of type float64 takes its value from the next argument, as in "--offset 5", and "--offset -5" gives -5,
# as it does with Go's package flag and with pflag.
# Seen: "--offset -5" ends with "expected argument for flag '--offset'": an argument that begins with "-" is lexed as
# flags before anybody asks what the flag before it takes. "--offset=-5" gives -5. Whoever passes arguments on has to
# join them, and a program that wants to say what is wrong with the number has to join them before it parses.
# Seen with github.com/alecthomas/kingpin/v2 v2.4.0 and github.com/spf13/pflag v1.0.10. Source: ParseContext.Next in
# parser.go, which looks at the first characters only.
#
# Needs Go. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'MOD'
module negative

go 1.24

require (
	github.com/alecthomas/kingpin/v2 v2.4.0
	github.com/spf13/pflag v1.0.10
)
MOD
cat >main.go <<'GO'
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"
	"github.com/spf13/pflag"
)

func kingpins(args ...string) (float64, error) {
	app := kingpin.New("negative", "").Terminate(nil).UsageWriter(io.Discard).ErrorWriter(io.Discard)
	v := app.Flag("offset", "").Float64()
	_, err := app.Parse(args)
	return *v, err
}

func main() {
	apart, err := kingpins("--offset", "-5")
	joined, joinedErr := kingpins("--offset=-5")
	fmt.Printf("kingpin: --offset -5 gives %v, error %q; --offset=-5 gives %v, error %v\n", apart, fmt.Sprint(err), joined, joinedErr)
	set := flag.NewFlagSet("negative", flag.ContinueOnError)
	std := set.Float64("offset", 0, "")
	stdErr := set.Parse([]string{"--offset", "-5"})
	posix := pflag.NewFlagSet("negative", pflag.ContinueOnError)
	p := posix.Float64("offset", 0, "")
	posixErr := posix.Parse([]string{"--offset", "-5"})
	fmt.Printf("flag: --offset -5 gives %v, error %v\n", *std, stdErr)
	fmt.Printf("pflag: --offset -5 gives %v, error %v\n", *p, posixErr)
	if err == nil || joined != -5 || joinedErr != nil || *std != -5 || stdErr != nil || *p != -5 || posixErr != nil {
		fmt.Println("changed")
		os.Exit(1)
	}
}
GO
go mod tidy >/dev/null 2>&1
go list -m github.com/alecthomas/kingpin/v2 github.com/spf13/pflag
go run .
