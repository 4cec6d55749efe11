package record

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
)

// Version of the format. It changes when a column changes its meaning.
const version = 1

// reasonLive stands in place of a reason in the row of a flow that had not ended when the recording stopped.
const reasonLive = "live"

// columns of a row. Times are in seconds since 1970 UTC, on the agent's clock. A backtest knows those up to reason by
// their names.
func columns() []string {
	return []string{
		"start_s", "end_s", "destination", "port", "source", "protocol", "reason",
		"vip", "vip_port", "source_port", "opened_from_s", "opened_to_s", "ended_from_s", "ended_to_s",
		"translated", "refused", "stalled",
	}
}

// header is how each file begins: what the columns mean, the kernel's limits when the recording began, the names.
func header(l *collector.Limits, onlyTranslated, anonymised bool) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# snatwatch record %d\n", version)
	b.WriteString("# Columns that end in _s are seconds since 1970 UTC, by the clock as it stood when the program " +
		"started.\n" +
		"# A flow opened after opened_from_s and not after opened_to_s, ended likewise; an empty bound is unknown.\n" +
		"# start_s and end_s are the middle. vip is the address of the flow where it leaves this machine.\n" +
		"# reason is fin, rst, timeout, idle, evicted, unknown, or live: it had not ended at end_s, when the " +
		"recording stopped.\n" +
		"# translated, refused, stalled: 1 is yes. Stalled: unanswered for over a second, so its first SYN was sent again.\n")
	fmt.Fprintf(&b, "# flows=%s addresses=%s\n",
		choose(onlyTranslated, "translated", "all"), choose(anonymised, "anonymised", "real"))
	fmt.Fprintf(&b, "# limits: netns=%d local_ports=%d-%d conntrack_entries=%d conntrack_max=%d timestamps=%t", l.Netns,
		l.LocalPorts.First, l.LocalPorts.Last, l.Entries, max(0, l.EntriesMax), l.Timestamps)
	for _, name := range slices.Sorted(maps.Keys(l.Timeouts)) {
		fmt.Fprintf(&b, " %s_s=%g", name, l.Timeouts[name].Seconds())
	}
	b.WriteString("\n" + strings.Join(columns(), ",") + "\n")
	return []byte(b.String())
}

func choose(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// appendRow appends the row of e, addresses replaced if key is not nil.
func appendRow(b []byte, e *entry, reason string, key *anonymiser) []byte {
	start := middle(e.opened)
	b = appendTime(b, start)
	b = appendTime(append(b, ','), max(start, middle(e.ended)))
	destination, source, vip := e.destination.address(), e.source.address(), e.vip.address()
	b = appendAddress(append(b, ','), destination, key)
	b = appendPort(append(b, ','), destination)
	b = appendAddress(append(b, ','), source, key)
	b = append(append(b, ','), e.protocol.String()...)
	b = append(append(b, ','), reason...)
	b = appendAddress(append(b, ','), vip, key)
	b = appendPort(append(b, ','), vip)
	b = appendPort(append(b, ','), source)
	for _, t := range [...]collector.Time{e.opened.From, e.opened.To, e.ended.From, e.ended.To} {
		b = appendTime(append(b, ','), t)
	}
	for _, is := range [...]bool{e.translated, e.refused, e.stalled} {
		b = append(b, ',', '0')
		if is {
			b[len(b)-1] = '1'
		}
	}
	return append(b, '\n')
}

// middle is the best guess of a moment within i, 0 if nothing is known.
func middle(i collector.Interval) collector.Time {
	if i.From == 0 {
		return i.To
	}
	return i.From + (i.To-i.From)/2
}

// appendTime appends t in seconds, to the microsecond; nothing where it is unknown.
func appendTime(b []byte, t collector.Time) []byte {
	if t <= 0 {
		return b
	}
	b = strconv.AppendInt(b, int64(t)/1e9, 10)
	const digits = 1_000_000
	micro := int64(t) % 1e9 / 1000
	b = strconv.AppendInt(b, digits+micro, 10) // 1 and six digits
	b[len(b)-7] = '.'
	return b
}

func appendAddress(b []byte, a netip.AddrPort, key *anonymiser) []byte {
	if !a.IsValid() {
		return b
	}
	address := a.Addr()
	if key != nil {
		address = key.replace(address)
	}
	return address.AppendTo(b)
}

func appendPort(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return b
	}
	return strconv.AppendUint(b, uint64(a.Port()), 10)
}
