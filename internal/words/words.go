// Package words holds what the sentences of several packages share: things that are counted, and the name that is meant
// by one that is not there.
package words

import "fmt"

// Counted prints a number of things: one is the word for one of them, many for any other number.
func Counted[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
