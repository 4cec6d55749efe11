package record

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// pick reads a row from the fields of a line. ok is false if a column is missing, or if there are more fields than
// names, so that nobody knows which is which; that is said once. Empty ones at the end are none.
func (b *builder) pick(l *layout, line int, fields []string) (r row, ok bool) {
	for i := len(fields) - 1; i >= l.fields; i-- {
		if strings.TrimSpace(fields[i]) != "" {
			b.bad(line, "", fmt.Sprintf("it has %d fields, the header %d", i+1, l.fields))
			return r, false
		}
	}
	for c, i := range l.at {
		switch {
		case i >= len(fields):
			b.bad(line, l.name[c], "is missing")
			return r, false
		case i >= 0:
			r[c] = strings.TrimSpace(fields[i])
		}
	}
	return r, true
}

// future reports whether nothing can have started at start yet, in seconds.
func (b *builder) future(start float64) bool { return b.now > 0 && start > b.now.Seconds() }

// is reports whether text is one of words, in whatever case.
func is(text string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(text, w) })
}

// take takes one row, once the clock is known.
func (b *builder) take(line int, l *layout, r *row) {
	if is(r[colLocalSource], "f", "false") || is(r[colLocalDestination], "t", "true") {
		b.rec.Read++
		b.rec.Untranslated++
		return
	}
	start, err := b.start(l, r)
	if err != nil {
		b.bad(line, l.name[colStart], err.Error())
		return
	}
	life, from, err := lifetime(l, r, start)
	if err != nil {
		b.bad(line, l.name[from], err.Error())
		return
	}
	if unset(r[colDestination]) {
		b.bad(line, l.name[colDestination], "is empty")
		return
	}
	protocol, held, err := parseProtocol(r[colProtocol])
	if err != nil {
		b.bad(line, l.name[colProtocol], err.Error())
		return
	}
	if !held {
		b.rec.Read++
		b.rec.Other++
		return
	}
	number := b.destinations.number(endpoint{b.destination(r), protocol})
	if number >= MaxDestinations {
		b.bad(line, l.name[colDestination], "there are too many destinations")
		return
	}
	b.rec.Read++
	if from == numColumns {
		b.rec.Unended++
	}
	opened := b.rec.Zero() + Seconds(start)
	f := Flow{
		Start: opened, End: opened + Seconds(life), Destination: number, Protocol: protocol,
		Reason: parseReason(r[colReason]),
	}
	if f.Protocol == collector.TCP && unanswered(r[colReason]) {
		f.End += Seconds(synSent)
	}
	if !unset(r[colSource]) {
		f.Source = b.sources.number(endpoint{r[colSource], 0})
	} else {
		f.Source = b.sources.number(endpoint{})
	}
	if !unset(r[colVIP]) {
		f.VIP = b.vips.vip(r[colVIP])
	}
	b.rec.Flows = append(b.rec.Flows, f)
}

// start is when the flow of a row began, in seconds on the record's clock.
func (b *builder) start(l *layout, r *row) (float64, error) {
	start, err := parseTime(r[colStart], l.milli[colStart])
	switch {
	case err != nil:
		return 0, err
	case start < 0:
		return 0, errors.New("is negative")
	case b.future(start):
		return 0, errors.New("lies in the future")
	case start >= unixFrom != b.rec.Unix:
		return 0, fmt.Errorf("%s is on another clock than the other records", r[colStart])
	}
	return start, nil
}

// lifetime is how long the flow of a row lasted that began at start, in seconds, and the column that says so: 0 and
// numColumns where the row has neither duration nor end.
func lifetime(l *layout, r *row, start float64) (life float64, from column, err error) {
	const longest = 10 * 365 * 86400
	switch {
	case !unset(r[colDuration]):
		from = colDuration
		life, err = parseSeconds(r[colDuration], l.milli[colDuration])
	case !unset(r[colEnd]):
		from = colEnd
		if life, err = parseTime(r[colEnd], l.milli[colEnd]); err == nil {
			life -= start
		}
	default:
		return 0, numColumns, nil
	}
	switch {
	case err != nil:
		return 0, from, err
	case life < 0:
		return 0, from, errors.New("the duration is negative")
	case life > longest:
		return 0, from, errors.New("the duration is over ten years")
	}
	return life, from, nil
}

// synSent is how long, in seconds, conntrack keeps an open after its last SYN, and the agent counts its port as held:
// nf_conntrack_tcp_timeout_syn_sent.
const synSent = 120

// unanswered reports whether a conn_state of Zeek means an open without an answer; its duration ends with the last
// SYN.
func unanswered(state string) bool {
	return strings.EqualFold(state, "S0") || strings.EqualFold(state, "SH")
}

// destination is the name of a row's remote end.
func (b *builder) destination(r *row) string {
	d := r[colDestination]
	if name, ok := b.names[d]; ok {
		d = name
	}
	if unset(r[colPort]) {
		return d
	}
	if _, _, err := net.SplitHostPort(d); err == nil {
		return d // it has a port already
	}
	return net.JoinHostPort(strings.Trim(d, "[]"), r[colPort])
}

func unset(s string) bool { return s == "" || s == "-" || s == "(empty)" || s == "null" }

func parseSeconds(s string, milli bool) (float64, error) {
	x, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || math.IsNaN(x) || math.IsInf(x, 0):
		return 0, fmt.Errorf("%.40q is not a number", s)
	case milli:
		x /= 1000
	}
	return x, nil
}

// parseTime reads seconds since 1970 or since the record began, or RFC 3339.
func parseTime(s string, milli bool) (float64, error) {
	if unset(s) {
		return 0, fmt.Errorf("is empty")
	}
	x, err := parseSeconds(s, milli)
	if err == nil {
		// Beyond that, nanoseconds do not fit.
		if math.Abs(x) > 9e9 {
			return 0, fmt.Errorf("%.40q is no time in seconds", s)
		}
		return x, nil
	}
	for _, format := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999"} {
		if t, e := time.Parse(format, s); e == nil && t.Year() > 1972 && t.Year() < 2200 {
			return float64(t.UnixNano()) / 1e9, nil
		}
	}
	return 0, err
}

// parseProtocol reads a name or number; held is false for one that holds no ports.
func parseProtocol(s string) (p collector.Protocol, held bool, err error) {
	if unset(s) {
		return collector.TCP, true, nil
	}
	switch strings.ToLower(s) {
	case "tcp", "tcp6", "6", "http", "https", "tls", "ssl", "grpc":
		return collector.TCP, true, nil
	case "udp", "udp6", "17", "quic", "dns":
		return collector.UDP, true, nil
	case "icmp", "icmp6", "icmpv6", "ipv6-icmp", "sctp", "gre", "esp", "unknown_transport", "igmp", "arp":
		return 0, false, nil
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n > 0 {
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("%.40q is no protocol", s)
}

// parseReason reads our own words and Zeek's conn_state; anything else is unknown.
func parseReason(s string) collector.Reason {
	switch strings.ToLower(s) {
	case "fin", "sf", "s2", "s3", "shr", "normal", "closed":
		return collector.FIN
	case "rst", "rej", "rsto", "rstr", "rstos0", "rstrh", "reset":
		return collector.RST
	case "timeout", "s0", "sh":
		return collector.Timeout
	case "idle", "expired":
		return collector.Idle
	case "evicted":
		return collector.Evicted
	}
	return collector.ReasonUnknown
}
