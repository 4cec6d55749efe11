package natrules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// errCut tells of attributes that are not whole.
var errCut = errors.New("cut off in the middle of an attribute")

// each calls f with every attribute of b.
func each(b []byte, f func(typ uint16, value []byte) error) error {
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		if err := f(attrs.Type, attrs.Value); err != nil {
			return err
		}
	}
	if attrs.Left() > 0 {
		return errCut
	}
	return nil
}

// fields are the attributes of one nest by type; those above the last are of no use here.
type fields [24][]byte

func parseFields(b []byte) (f fields, err error) {
	err = each(b, func(typ uint16, value []byte) error {
		if int(typ) < len(f) {
			f[typ] = value
		}
		return nil
	})
	return f, err
}

// u32 reads a number in network byte order; 0 where there is none.
func (f *fields) u32(typ uint16) uint32 {
	if len(f[typ]) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(f[typ])
}

func (f *fields) u64(typ uint16) uint64 {
	if len(f[typ]) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(f[typ])
}

// text reads a string that ends at its first zero byte, if there is one.
func (f *fields) text(typ uint16) string { return cString(f[typ]) }

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// body takes struct nfgenmsg off a message: family (u8), version (u8), res_id (u16).
func body(b []byte) (family byte, attributes []byte, err error) {
	if len(b) < 4 {
		return 0, nil, fmt.Errorf("%d bytes, want struct nfgenmsg", len(b))
	}
	return b[0], b[4:], nil
}

// describe writes what an expression says, but for the registers named by the attributes in but.
func describe(name string, f *fields, but ...uint16) string {
	b := []byte(name)
	for typ, v := range f {
		if v != nil && !slices.Contains(but, uint16(typ)) {
			b = append(strconv.AppendInt(append(b, ' '), int64(typ), 10), '=')
			b = append(b, v...)
		}
	}
	return string(b)
}

// value copies NFTA_DATA_VALUE out of a nest.
func value(b []byte) ([]byte, error) {
	f, err := parseFields(b)
	return slices.Clone(f[unix.NFTA_DATA_VALUE]), err
}
