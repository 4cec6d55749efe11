package record

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// A flow log of a cloud is a record like another: rows of one flow are put together, answers and what was denied are left out.
func TestReadFlowLog(t *testing.T) {
	t.Parallel()
	const start = 1600000000
	r := Reader{Now: now}
	got := r.read("vpc.log", strings.NewReader("version interface-id srcaddr dstaddr srcport dstport protocol start end action log-status tcp-flags\n"+
		"5 eni-1 10.0.0.5 203.0.113.7 40000 443 6 1600000000 1600000055 ACCEPT OK 2\n"+
		"5 eni-1 203.0.113.7 10.0.0.5 443 40000 6 1600000000 1600000055 ACCEPT OK 18\n"+
		"5 eni-1 10.0.0.5 203.0.113.7 40000 443 6 1600000060 1600000070 ACCEPT OK 1\n"+
		"5 eni-1 10.0.0.6 203.0.113.7 40000 22 6 1600000060 1600000070 REJECT OK 2\n"+
		"5 eni-1 10.0.0.6 here 40000 22 6 1600000060 1600000070 ACCEPT OK 2\n"), nil)
	want := &Record{
		Name: "vpc.log", Unix: true,
		Flows:        []Flow{{Start: Seconds(start), End: Seconds(start + 70), Protocol: collector.TCP, Reason: collector.FIN}},
		Destinations: []string{"203.0.113.7:443"}, Protocols: []collector.Protocol{collector.TCP}, Sources: []string{"10.0.0.5"},
		Read: 5, Bad: 1, Left: map[string]int{"inbound, or the answers of another row": 1, "denied, so never translated": 1}, Faults: []Fault{{File: "vpc.log", Text: `line 6: destination address "here"`}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	var told strings.Builder
	got.Tell(&told)
	if text := told.String(); !strings.Contains(text, "vpc.log: 1 rows hold no port: denied, so never translated\n") {
		t.Errorf("it tells %q, and not why rows hold no port", text)
	}
	list := r.read("list", strings.NewReader("tcp 6 431999 ESTABLISHED src=10.0.0.5 dst=203.0.113.7 sport=1 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1\n"), nil)
	if len(list.Flows) != 0 || !list.Broken {
		t.Errorf("a list of one moment: %+v", list)
	}
}
