// Package words puts numbers into the sentences that page, plan and notices share.
package words

import "fmt"

// Counted prints a number of things: one is the word for one of them, many for any other number.
func Counted[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
