package limits

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// What a parser wants, for its error; Read adds file and value.
var (
	errRange    = errors.New("want two ports, the first not above the last")
	errReserved = errors.New("want ports and ranges of ports, such as 8080,9000-9010")
	errCount    = errors.New("want a number that is not negative")
	errSwitch   = errors.New("want 0 or 1")
	errEvents   = errors.New("want 0, 1 or 2")
	errSeconds  = errors.New("want seconds, at most 4294967295")
)

// parsePortRange parses "32768\t60999".
func parsePortRange(s string) (collector.PortRange, error) {
	f := strings.Fields(s)
	if len(f) != 2 {
		return collector.PortRange{}, errRange
	}
	return portRange(f[0], f[1], errRange)
}

// parseReserved parses "8080,9148-9150"; empty where nothing is reserved.
func parseReserved(s string) ([]collector.PortRange, error) {
	if s == "" {
		return nil, nil
	}
	var ranges []collector.PortRange
	for item := range strings.SplitSeq(s, ",") {
		first, last, ok := strings.Cut(item, "-")
		if !ok {
			last = first
		}
		r, err := portRange(first, last, errReserved)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

func portRange(first, last string, bad error) (collector.PortRange, error) {
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errA != nil || errB != nil || a > b {
		return collector.PortRange{}, bad
	}
	return collector.PortRange{First: uint16(a), Last: uint16(b)}, nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errCount
	}
	return int(n), nil
}

func parseSwitch(s string) (bool, error) {
	switch s {
	case "0":
		return false, nil
	case "1":
		return true, nil
	}
	return false, errSwitch
}

// parseEvents parses nf_conntrack_events: 0 off, 1 on, 2 as soon as somebody listens.
func parseEvents(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n > 2 {
		return 0, errEvents
	}
	return int(n), nil
}

func parseSeconds(s string) (time.Duration, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > math.MaxUint32 {
		return 0, errSeconds
	}
	return time.Duration(n) * time.Second, nil
}
