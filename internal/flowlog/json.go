package flowlog

import (
	"bytes"
	"errors"
)

// Logs of an object a line are read without a decoder: it would take as long as ten rows do here.

// object is one JSON object that is walked through. take gets each value that is neither an object nor an array,
// with its name and the name of the object that holds it, empty for the outermost. Strings come without quotes and as
// they were escaped, null as nil.
type object struct {
	text []byte
	at   int
	take func(parent, name, value []byte)
}

var errJSON = errors.New("no JSON object")

// depthMost is how deep an object is read.
const depthMost = 32

// walk goes through the whole object.
func (o *object) walk(text []byte) error {
	o.text, o.at = text, 0
	if o.next() != '{' || !o.members(nil, nil, '}', 0) || o.next() != 0 || o.at < len(text) {
		return errJSON
	}
	return nil
}

// next skips blanks and returns the byte there, 0 at the end.
func (o *object) next() byte {
	for ; o.at < len(o.text); o.at++ {
		if c := o.text[o.at]; c > ' ' {
			return c
		}
	}
	return 0
}

// members reads what stands between the opening bracket, where it begins, and the closing one: of an object,
// or of the array that the object called parent has as name.
func (o *object) members(parent, name []byte, closing byte, depth int) bool {
	o.at++
	if o.next() == closing {
		o.at++
		return true
	}
	for {
		if closing == '}' {
			var ok bool
			if name, ok = o.quoted(); !ok || o.next() != ':' {
				return false
			}
			o.at++
		}
		if !o.value(parent, name, depth) {
			return false
		}
		switch o.next() {
		case closing:
			o.at++
			return true
		case ',':
			o.at++
		default:
			return false
		}
	}
}

// value reads one value.
func (o *object) value(parent, name []byte, depth int) bool {
	switch c := o.next(); c {
	case '"':
		text, ok := o.quoted()
		if ok {
			o.take(parent, name, text)
		}
		return ok
	case '{':
		return depth < depthMost && o.members(name, nil, '}', depth+1)
	case '[':
		return depth < depthMost && o.members(parent, name, ']', depth+1)
	}
	from := o.at
	for o.at < len(o.text) && bare(o.text[o.at]) {
		o.at++
	}
	text := o.text[from:o.at]
	if string(text) == "null" {
		text = nil
	}
	o.take(parent, name, text)
	return o.at > from
}

// bare reports whether a byte can be of a number, true, false or null.
func bare(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '.' || c == '-' || c == '+' || c == 'E'
}

// quoted reads a string.
func (o *object) quoted() (text []byte, ok bool) {
	if o.next() != '"' {
		return nil, false
	}
	o.at++
	for from, to := o.at, o.at; ; to++ {
		i := bytes.IndexByte(o.text[to:], '"')
		if i < 0 {
			return nil, false
		}
		to += i
		escapes := to
		for escapes > from && o.text[escapes-1] == '\\' {
			escapes--
		}
		if (to-escapes)%2 == 0 {
			o.at = to + 1
			return o.text[from:to], true
		}
	}
}
