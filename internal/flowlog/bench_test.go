package flowlog_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/flowlog"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// header is of version 5.
const header = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status " +
	"tcp-flags pkt-srcaddr pkt-dstaddr flow-direction\n"

// made is a flow log of version 5: so many rows, a thousand to a second, of so many tuples in turn, to 50 destinations.
type made struct {
	rows, row, tuples int
	line              []byte
}

func (m *made) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(m.line) == 0 {
			if m.row > m.rows {
				return n, io.EOF
			}
			m.next()
		}
		k := copy(p[n:], m.line)
		m.line = m.line[k:]
		n += k
	}
	return n, nil
}

func (m *made) next() {
	if m.row == 0 {
		m.line = append(m.line[:0:0], header...)
		m.row++
		return
	}
	i := m.row
	m.row++
	tuple, start := i%m.tuples, 1600000000+i/1000
	m.line = fmt.Appendf(m.line[:0:0], "5 1 eni-1 10.0.%d.%d 203.0.113.%d %d 443 6 9 900 %d %d ACCEPT OK 3 10.0.%d.%d 203.0.113.%d egress\n",
		tuple%7, tuple%11, tuple%50, 1024+tuple%60000, start, start+20, tuple/60000, tuple%5, tuple%50)
}

func gateway(t testing.TB) *budget.Budget {
	t.Helper()
	b, err := budget.Resolve(budget.Params{Name: "t", Model: "aws-nat-gateway"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A million rows and more a second on one core, and three times as many as the reader of the backtest's CSV, which keeps them
// all: reading beside reading, and with ports counted beside the same count of what that reader read. Go's own CSV reader, one
// string for each field, stands there as well. All take their turns in one run; what each takes stands in ns of the processor a
// row, as the median. -cpu 1 keeps it to one core.
func BenchmarkRead(b *testing.B) {
	const rows = 1_000_000
	var text bytes.Buffer
	if _, err := io.Copy(&text, &made{rows: rows, tuples: 100_000}); err != nil {
		b.Fatal(err)
	}
	asFlows := asCSV(text.String())
	path := filepath.Join(b.TempDir(), "flows.csv")
	if err := os.WriteFile(path, []byte(asFlows), 0o600); err != nil {
		b.Fatal(err)
	}
	var kept []*record.Record
	ways := []struct {
		name string
		read func() error
		took []float64
	}{
		{name: "read", read: func() error {
			_, err := flowlog.Rows(bytes.NewReader(text.Bytes()), func(flowlog.Format) {}, func(*flowlog.Row) {})
			return err
		}},
		{name: "counted", read: func() error {
			c := flowlog.NewCounter(gateway(b))
			_, err := c.Read(bytes.NewReader(text.Bytes()))
			c.Close()
			return err
		}},
		{name: "same-counted", read: func() error { // the very file that the other readers get
			c := flowlog.NewCounter(gateway(b))
			_, err := c.ReadFile(path)
			c.Close()
			return err
		}},
		{name: "csv-read", read: func() (err error) {
			kept, err = (&record.Reader{}).ReadFiles([]string{path})
			return err
		}},
		{name: "csv-count", read: func() error { // of what was read just before
			return countRecord(flowlog.NewCounter(gateway(b)), kept[0])
		}},
		{name: "go-csv-counted", read: func() error {
			return countCSV(flowlog.NewCounter(gateway(b)), asFlows)
		}},
	}
	for b.Loop() {
		for i := range ways {
			began := float64(kerneltest.CPUTime(b, unix.RUSAGE_SELF))
			if err := ways[i].read(); err != nil {
				b.Fatalf("%s: %v", ways[i].name, err)
			}
			ways[i].took = append(ways[i].took, (float64(kerneltest.CPUTime(b, unix.RUSAGE_SELF))-began)/rows)
		}
	}
	took := map[string]float64{}
	for _, w := range ways {
		slices.Sort(w.took)
		took[w.name] = w.took[len(w.took)/2]
		b.ReportMetric(took[w.name], w.name+"-ns/row")
	}
	b.ReportMetric(took["csv-read"]/took["read"], "read-ratio")
	b.ReportMetric((took["csv-read"]+took["csv-count"])/took["counted"], "counted-ratio")
	b.ReportMetric((took["csv-read"]+took["csv-count"])/took["same-counted"], "same-counted-ratio")
}

// countRecord counts the flows of a record.
func countRecord(c *flowlog.Counter, r *record.Record) error {
	address := func(text string) (flowlog.Addr, error) {
		a, err := netip.ParseAddr(text)
		return flowlog.Addr(a.As16()), err
	}
	sources, destinations := make([]flowlog.Addr, len(r.Sources)), make([]flowlog.Addr, len(r.Destinations))
	for i, text := range r.Sources {
		var err error
		if sources[i], err = address(text); err != nil {
			return err
		}
	}
	for i, text := range r.Destinations {
		host, _, err := net.SplitHostPort(text)
		if err != nil {
			return err
		}
		if destinations[i], err = address(host); err != nil {
			return err
		}
	}
	for i := range r.Flows {
		f := &r.Flows[i]
		c.Take(&flowlog.Row{
			Start: int64(f.Start), End: int64(f.End), State: flowlog.Ended, Reason: f.Reason,
			Tuple: flowlog.Tuple{Source: sources[f.Source], Destination: destinations[f.Destination], DestinationPort: 443, Protocol: f.Protocol},
		})
	}
	c.Close()
	return nil
}

// countCSV counts flows of a CSV as Go's own reader reads it.
func countCSV(c *flowlog.Counter, text string) error {
	in := csv.NewReader(strings.NewReader(text))
	in.ReuseRecord = true
	if _, err := in.Read(); err != nil {
		return err
	}
	for {
		f, err := in.Read()
		if errors.Is(err, io.EOF) {
			c.Close()
			return nil
		}
		if err != nil {
			return err
		}
		start, err := strconv.ParseInt(f[0], 10, 64)
		end, err2 := strconv.ParseInt(f[1], 10, 64)
		source, err3 := netip.ParseAddr(f[2])
		destination, err4 := netip.ParseAddr(f[3])
		port, err5 := strconv.ParseUint(f[4], 10, 16)
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			return err
		}
		c.Take(&flowlog.Row{Start: start * 1e9, End: end * 1e9, State: flowlog.Ended, Tuple: flowlog.Tuple{
			Source: source.As16(), Destination: destination.As16(), DestinationPort: uint16(port), Protocol: collector.TCP,
		}})
	}
}

// A million rows and more a second on one core, counted, in every format: less than 1000 ns of the processor a row.
func BenchmarkFormats(b *testing.B) {
	const rows = 200_000
	at := func(i int) time.Time { return time.Unix(int64(1600000000+i/1000), 0).UTC() }
	for _, f := range []struct {
		name, head string
		row        func(i, source, destination int) string
		tail       string
	}{
		{"AWS", header, func(i, s, d int) string {
			t := at(i).Unix()
			return fmt.Sprintf("5 1 eni-1 10.0.1.9 203.0.113.%d %d 443 6 9 900 %d %d ACCEPT OK 3 10.0.0.5 203.0.113.%d egress\n", d, s, t, t+20, d)
		}, ""},
		{"Azure", `{"records":[{"flowRecords":{"flows":[{"flowGroups":[{"flowTuples":["`, func(i, s, d int) string {
			return fmt.Sprintf(`%d,10.0.0.5,203.0.113.%d,%d,443,6,O,B,NX,0,0,0,0","`, at(i).UnixMilli(), d, s)
		}, `1600000000000,10.0.0.5,203.0.113.1,1,443,6,O,B,NX,0,0,0,0"]}]}]}}]}`},
		{"Google", "", func(i, s, d int) string {
			return fmt.Sprintf(`{"insertId":"1x","jsonPayload":{"allocation_status":"OK","connection":{"dest_ip":"203.0.113.%d","dest_port":443,`+
				`"nat_ip":"198.51.100.1","nat_port":1024,"protocol":6,"src_ip":"10.0.0.5","src_port":%d},"endpoint":{"vm_name":"web-1"}},`+
				`"timestamp":"%s"}`+"\n", d, s, at(i).Format(time.RFC3339Nano))
		}, ""},
		{"Zeek", "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\tconn_state\tlocal_orig\n", func(i, s, d int) string {
			return fmt.Sprintf("%d.5\tC1\t10.0.0.5\t%d\t203.0.113.%d\t443\ttcp\tssl\t20.25\tSF\tT\n", at(i).Unix(), s, d)
		}, ""},
		{"Zeek in JSON", "", func(i, s, d int) string {
			return fmt.Sprintf(`{"ts":%d.5,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":%d,"id.resp_h":"203.0.113.%d","id.resp_p":443,"proto":"tcp",`+
				`"service":"ssl","duration":20.25,"conn_state":"SF"}`+"\n", at(i).Unix(), s, d)
		}, ""},
		{"nfdump", "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n", func(i, s, d int) string {
			t := at(i).Format(time.DateTime)
			return fmt.Sprintf("%s,%s,20.250,10.0.0.5,203.0.113.%d,%d,443,TCP,...AP.SF,0,0,9,900,0,0\n", t, t, d, s)
		}, ""},
		{"conntrack", "", func(i, s, d int) string {
			return fmt.Sprintf("[%d.500000]\t [UPDATE] tcp      6 120 SYN_SENT src=10.0.0.5 dst=203.0.113.%d sport=%d dport=443 [UNREPLIED] "+
				"src=203.0.113.%d dst=198.51.100.1 sport=443 dport=%d\n", at(i).Unix(), d, s, d, s)
		}, ""},
	} {
		var text strings.Builder
		text.WriteString(f.head)
		for i := range rows {
			text.WriteString(f.row(i, 1024+i%60000, i%50))
		}
		text.WriteString(f.tail)
		b.Run(f.name, func(b *testing.B) {
			began := float64(kerneltest.CPUTime(b, unix.RUSAGE_SELF))
			for b.Loop() {
				c := flowlog.NewCounter(gateway(b))
				r, err := c.Read(strings.NewReader(text.String()))
				if c.Close(); err != nil || r.Used < rows {
					b.Fatalf("%+v, %v", r, err)
				}
			}
			b.ReportMetric((float64(kerneltest.CPUTime(b, unix.RUSAGE_SELF))-began)/float64(b.N)/rows, "cpu-ns/row")
		})
	}
}

// asCSV is the same log with the columns that the backtest reads.
func asCSV(text string) string {
	var b strings.Builder
	b.WriteString("start,end,source,destination,port,protocol\n")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if f[0] == "5" {
			fmt.Fprintf(&b, "%s,%s,%s,%s,%s,%s\n", f[10], f[11], f[15], f[16], f[6], f[7])
		}
	}
	return b.String()
}

// Memory follows the flows that are open or ended within the time that rows may be late, not the size of the log: twice
// the rows take as much once a log is longer than that.
func TestMemoryIsFlat(t *testing.T) {
	taken := func(rows int) uint64 {
		c := flowlog.NewCounter(gateway(t))
		if _, err := c.Read(&made{rows: rows, tuples: 5_000_000}); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.Close()
		return m.HeapAlloc
	}
	small, large := taken(2_500_000), taken(5_000_000)
	t.Logf("%d MB after 2.5 M rows, %d MB after 5 M", small>>20, large>>20)
	if large > small+small/2+(8<<20) {
		t.Errorf("%d bytes after 2.5 M rows, %d after twice as many", small, large)
	}
}
