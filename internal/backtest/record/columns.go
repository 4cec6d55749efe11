package record

import "strings"

// column of a row.
type column int

const (
	colStart column = iota
	colDuration
	colEnd
	colDestination
	colPort
	colSource
	colProtocol
	colReason
	colLocalSource
	colLocalDestination
	colVIP
	numColumns
)

var columnNames = [numColumns]string{
	"start", "duration", "end", "destination", "port", "source", "protocol", "reason", "local_orig", "local_resp",
	"vip",
}

// aliases are the names that a column may have, in lower case. Times are in seconds, or in
// milliseconds with _ms at the end; they may be RFC 3339 as well.
func aliases() map[string]column {
	m := map[string]column{}
	for c, names := range [numColumns]string{
		colStart:       "start start_s start_ms start_time ts timestamp time opened first_seen",
		colDuration:    "duration duration_s duration_ms dur lifetime lifetime_s lifetime_ms elapsed",
		colEnd:         "end end_s end_ms end_time closed last_seen",
		colDestination: "destination dst dest dst_ip dest_ip destination_ip dstaddr daddr remote remote_address id.resp_h",
		colPort:        "port dst_port dest_port destination_port dstport dport remote_port id.resp_p",
		colSource:      "source src src_ip source_ip srcaddr saddr local local_address id.orig_h",
		colProtocol:    "protocol proto",
		colReason:      "reason close_reason closereason conn_state state",

		colLocalSource:      "local_orig",
		colLocalDestination: "local_resp",
		colVIP:              "vip",
	} {
		for _, n := range strings.Fields(names) {
			m[n] = column(c)
		}
	}
	return m
}

// layout says where the columns of a file are.
type layout struct {
	at    [numColumns]int // -1 where absent
	name  [numColumns]string
	milli [numColumns]bool
	// fields is how many the header has.
	fields int
}

// newLayout finds columns by their header. missing names the first that a record cannot do without.
func newLayout(header []string) (l layout, missing string) {
	for c := range l.at {
		l.at[c], l.name[c] = -1, columnNames[c]
	}
	l.fields = len(header)
	known := aliases()
	for i, h := range header {
		h = strings.ToLower(strings.TrimSpace(h))
		if c, ok := known[h]; ok && l.at[c] < 0 {
			l.at[c], l.name[c], l.milli[c] = i, h, strings.HasSuffix(h, "_ms")
		}
	}
	switch {
	case l.at[colStart] < 0:
		return l, "start"
	case l.at[colDuration] < 0 && l.at[colEnd] < 0:
		return l, "duration"
	case l.at[colDestination] < 0:
		return l, "destination"
	}
	return l, ""
}

// row is one record as text, "" where a column is absent.
type row [numColumns]string
