package forecast

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/snatwatch/snatwatch/collector"
)

// codec writes a state or reads one, with one list of fields for both.
type codec struct {
	b       []byte
	reading bool
	err     error
}

func (c *codec) u64(x *uint64) {
	if !c.reading {
		c.b = binary.LittleEndian.AppendUint64(c.b, *x)
		return
	}
	if len(c.b) < 8 {
		c.fail("it is cut off")
		*x = 0
		return
	}
	*x = binary.LittleEndian.Uint64(c.b)
	c.b = c.b[8:]
}

func (c *codec) fail(why string) {
	c.b = nil
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrState, why)
	}
}

func (c *codec) time(t *collector.Time) {
	x := uint64(*t)
	c.u64(&x)
	*t = collector.Time(x)
}

// length is the length of a list of most entries at most.
func (c *codec) length(n *int, most int) {
	x := uint64(*n)
	c.u64(&x)
	if x > uint64(most) {
		c.fail("a length is out of bounds")
		x = 0
	}
	*n = int(x)
}

func (c *codec) text(s *string) {
	n := len(*s)
	c.length(&n, 1<<10)
	if !c.reading {
		c.b = append(c.b, *s...)
		return
	}
	if len(c.b) < n {
		c.fail("it is cut off")
		return
	}
	*s = string(c.b[:n])
	c.b = c.b[n:]
}

// f32 and f64 take finite numbers below most.
func (c *codec) f32(xs ...*float32) {
	for _, x := range xs {
		if !c.reading {
			c.b = binary.LittleEndian.AppendUint32(c.b, math.Float32bits(*x))
			continue
		}
		if len(c.b) < 4 {
			c.fail("it is cut off")
			return
		}
		*x = math.Float32frombits(binary.LittleEndian.Uint32(c.b))
		c.b = c.b[4:]
		if !(*x > -most && *x < most) {
			c.fail("a number is out of bounds")
			return
		}
	}
}

func (c *codec) f64(xs ...*float64) {
	for _, x := range xs {
		y := math.Float64bits(*x)
		c.u64(&y)
		*x = math.Float64frombits(y)
		if !(*x > -most && *x < most) {
			c.fail("a number is out of bounds")
			*x = 0
			return
		}
	}
}

// most is beyond every sum and count of a state.
const most = 1e15

// within takes numbers that are never below low nor above high. One that was read and lies beyond becomes the bound:
// the checksum of a state says that its bytes are as they were written, not that the forecast wrote them.
func (c *codec) within(low, high float32, xs ...*float32) {
	c.f32(xs...)
	for _, x := range xs {
		if c.reading {
			*x = min(max(*x, low), high)
		}
	}
}

func (c *codec) occurrence(o *occurrence) {
	for k := range o.ended {
		c.within(0, most, &o.ended[k], &o.lived[k])
	}
}

// ErrState says that the bytes are no state, are damaged, or come from another version.
var ErrState = errors.New("not a readable state")
