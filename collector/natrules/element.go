package natrules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// element is one of a set or map. An interval goes from key up to and including last, or where open is set up to
// before it.
type element struct {
	key, last []byte
	open      bool
	all       bool // whatever no other element has
	data      []byte
	verdict   int32
	chain     string
}

// elementsOf returns the elements of a set or map.
type elementsOf func(set string) ([]element, error)

// same reports whether two elements say the same.
func (e element) same(o element) bool {
	return slices.Equal(e.key, o.key) && slices.Equal(e.last, o.last) && slices.Equal(e.data, o.data) &&
		e.open == o.open && e.all == o.all && e.verdict == o.verdict && e.chain == o.chain
}

func (e *element) has(key []byte) bool {
	if e.all {
		return true
	}
	n := min(len(key), len(e.key), len(e.last))
	from, to := slices.Compare(e.key[:n], key[:n]), slices.Compare(key[:n], e.last[:n])
	return from <= 0 && (to < 0 || to == 0 && (!e.open || len(e.last) != len(key)))
}

// nextKey reports whether an element is one key and no interval of several.
func nextKey(e *element) bool {
	if !e.open {
		return slices.Equal(e.key, e.last)
	}
	next := slices.Clone(e.key)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			break
		}
	}
	return slices.Equal(next, e.last)
}

// keysText is the same for the same keys.
func keysText(es []element) string {
	keys := make([]string, len(es))
	for i, e := range es {
		keys[i] = fmt.Sprintf("%x-%x%v%v", e.key, e.last, e.open, e.all)
	}
	slices.Sort(keys)
	sum := sha256.Sum256([]byte(strings.Join(keys, " ")))
	return hex.EncodeToString(sum[:])
}

// parseElements reads NFTA_SET_ELEM_LIST_ELEMENTS. The end of an interval is an element that is open and
// has no key but last.
func parseElements(es []element, b []byte) ([]element, error) {
	err := each(b, func(_ uint16, v []byte) error {
		f, err := parseFields(v)
		if err != nil {
			return err
		}
		e := element{verdict: verdictContinue}
		if e.key, err = value(f[unix.NFTA_SET_ELEM_KEY]); err != nil {
			return err
		}
		e.last = e.key
		if f[nftaSetElemKeyEnd] != nil {
			if e.last, err = value(f[nftaSetElemKeyEnd]); err != nil {
				return err
			}
		}
		if d := f[unix.NFTA_SET_ELEM_DATA]; d != nil {
			df, err := parseFields(d)
			if err != nil {
				return err
			}
			e.data = slices.Clone(df[unix.NFTA_DATA_VALUE])
			if v := df[unix.NFTA_DATA_VERDICT]; v != nil {
				to, err := parseVerdict(v)
				if err != nil {
					return err
				}
				e.verdict, e.chain = to.verdict, to.chain
			}
		}
		flags := f.u32(unix.NFTA_SET_ELEM_FLAGS)
		e.all = flags&nftElemCatchall != 0
		if flags&nftElemIntervalEnd != 0 {
			e.key, e.open = nil, true
		}
		es = append(es, e)
		return nil
	})
	return es, err
}

func parseVerdict(b []byte) (branch, error) {
	f, err := parseFields(b)
	if err != nil {
		return branch{}, err
	}
	if len(f[unix.NFTA_VERDICT_CODE]) < 4 {
		return branch{}, errors.New("a verdict without a code")
	}
	return branch{verdict: int32(f.u32(unix.NFTA_VERDICT_CODE)), chain: f.text(unix.NFTA_VERDICT_CHAIN)}, nil
}

// intervals joins the starts of intervals with their ends, in the order of keys. Sets without any stay as they are.
func intervals(es []element) []element {
	if !slices.ContainsFunc(es, func(e element) bool { return e.open }) {
		return es
	}
	slices.SortStableFunc(es, func(a, b element) int {
		// An end comes before a start at the same place.
		return cmp.Or(slices.Compare(a.last, b.last), -compareBool(a.open, b.open))
	})
	var joined []element
	for i := range es {
		e := es[i]
		if e.open {
			continue
		}
		if !e.all && slices.Equal(e.key, e.last) {
			e.last, e.open = ceiling(len(e.key)), false
			if i+1 < len(es) {
				e.last, e.open = es[i+1].last, true
			}
		}
		joined = append(joined, e)
	}
	return joined
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// ceiling is the highest key of n bytes.
func ceiling(n int) []byte { return slices.Repeat([]byte{0xff}, n) }
