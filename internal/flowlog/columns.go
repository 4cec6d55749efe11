package flowlog

import (
	"encoding/binary"
	"math/bits"
)

// columnsMost is how many columns of a line can be read; no format has as many.
const columnsMost = 64

// columns are where the columns of one line stand.
type columns struct {
	line []byte
	n    int
	// Column i is line[from[i] : from[i+1]-1].
	from [columnsMost + 1]int32
}

// column is the text of column i.
func (c *columns) column(i int) []byte { return c.line[c.from[i] : c.from[i+1]-1] }

// cut finds the first columns of a line, at most so many; the line must stay as it is while they are read.
// It looks at eight bytes at a time: most of reading a log is this.
func (c *columns) cut(line []byte, separator byte, most int) {
	const low, ones = 0x7f7f7f7f7f7f7f7f, 0x0101010101010101
	most = min(most, columnsMost)
	pattern := uint64(separator) * ones
	c.line, c.n = line, 0
	i := 0
	for ; i+8 <= len(line); i += 8 {
		x := binary.LittleEndian.Uint64(line[i:]) ^ pattern
		// The top bit of each byte that is the separator, and of no other.
		for found := ^((x&low + low) | x | low); found != 0; found &= found - 1 {
			c.n++
			c.from[c.n] = int32(i + bits.TrailingZeros64(found)/8 + 1)
			if c.n == most {
				return
			}
		}
	}
	for ; i < len(line); i++ {
		if line[i] == separator {
			c.n++
			c.from[c.n] = int32(i + 1)
			if c.n == most {
				return
			}
		}
	}
	c.n++
	c.from[c.n] = int32(len(line) + 1)
}

// words cuts a line at blanks, of which there may be several, and returns how many words there are, at most len(dst).
func words(line []byte, dst [][]byte) int {
	n := 0
	for i := 0; i < len(line) && n < len(dst); i++ {
		from := i
		for i < len(line) && line[i] != ' ' {
			i++
		}
		if i > from {
			dst[n] = line[from:i]
			n++
		}
	}
	return n
}
