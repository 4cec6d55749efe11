package record

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// at is so many seconds after the beginning of a record.
func at(s float64) collector.Time { return Epoch + Seconds(s) }

// now is when the records of these tests are read.
var now = collector.Time(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

const zeekTSV = `#separator \x09
#set_separator	,
#empty_field	(empty)
#unset_field	-
#path	conn
#fields	ts	uid	id.orig_h	id.orig_p	id.resp_h	id.resp_p	proto	service	duration	conn_state
#types	time	string	addr	port	addr	port	enum	string	interval	string
1600000000.5	C1	10.0.0.5	40000	203.0.113.7	443	tcp	ssl	1.25	SF
1600000001.0	C2	10.0.0.5	40001	203.0.113.7	443	tcp	-	-	S0
1600000002.0	C3	10.0.0.6	40002	192.0.2.1	53	udp	dns	0.01	SF
1600000003.0	C4	10.0.0.6	3	192.0.2.1	1	icmp	-	0.5	OTH
#close	2020-09-13-12-30-00
`

const zeekJSON = `{"ts":1600000000.5,"uid":"C1","id.orig_h":"10.0.0.5","id.resp_h":"203.0.113.7","id.resp_p":443,"proto":"tcp","duration":1.25,"conn_state":"RSTO"}
{"ts":"2020-09-13T12:26:41Z","id.orig_h":"10.0.0.5","id.resp_h":"2001:db8::7","id.resp_p":443,"proto":"tcp","conn_state":"S0"}
`

func TestRead(t *testing.T) {
	t.Parallel()
	const zeekStart = 1600000000
	tests := []struct {
		name  string
		file  string
		text  string
		names map[string]string
		want  Record
	}{
		{
			name: "our own columns",
			file: "a.csv",
			text: "start,duration,destination,source,protocol,reason\n" +
				"2,0.5,203.0.113.7:443,a,udp,idle\n1,4,203.0.113.7:443,b,tcp,rst\n",
			want: Record{
				Flows: []Flow{
					{Start: at(1), End: at(5), Destination: 1, Source: 1, Protocol: collector.TCP, Reason: collector.RST},
					{Start: at(2), End: at(2.5), Destination: 0, Source: 0, Protocol: collector.UDP, Reason: collector.Idle},
				},
				Destinations: []string{"203.0.113.7:443", "203.0.113.7:443"},
				Protocols:    []collector.Protocol{collector.UDP, collector.TCP},
				Sources:      []string{"a", "b"},
				Read:         2,
			},
		},
		{
			name: "other names, semicolons, milliseconds, an end",
			file: "a.csv",
			text: "\ufeffDst_IP;DstPort;start_ms;end_ms\n192.0.2.1;53;1500;1750\n",
			want: Record{
				Flows:        []Flow{{Start: at(1.5), End: at(1.75), Protocol: collector.TCP}},
				Destinations: []string{"192.0.2.1:53"},
				Protocols:    []collector.Protocol{collector.TCP},
				Sources:      []string{""},
				Read:         1,
			},
		},
		{
			name:  "numbered destinations, no duration, gzip",
			file:  "a.csv.gz",
			text:  zipped("start_s,duration_s,dst,proto,src\n0.0,,1,tcp,0\n"),
			names: map[string]string{"1": "store:443"},
			want: Record{
				Flows:        []Flow{{Start: at(0), End: at(0), Protocol: collector.TCP}},
				Destinations: []string{"store:443"},
				Protocols:    []collector.Protocol{collector.TCP},
				Sources:      []string{"0"},
				Read:         1,
				Unended:      1,
			},
		},
		{
			name: "zeek",
			file: "conn.log",
			text: zeekTSV,
			want: Record{
				Unix: true,
				Flows: []Flow{
					{Start: Seconds(zeekStart + 0.5), End: Seconds(zeekStart+0.5) + Seconds(1.25), Protocol: collector.TCP, Reason: collector.FIN},
					{Start: Seconds(zeekStart + 1), End: Seconds(zeekStart + 1 + synSent), Protocol: collector.TCP, Reason: collector.Timeout},
					{Start: Seconds(zeekStart + 2), End: Seconds(zeekStart+2) + Seconds(0.01), Destination: 1, Source: 1, Protocol: collector.UDP, Reason: collector.FIN},
				},
				Destinations: []string{"203.0.113.7:443", "192.0.2.1:53"},
				Protocols:    []collector.Protocol{collector.TCP, collector.UDP},
				Sources:      []string{"10.0.0.5", "10.0.0.6"},
				Read:         4, Other: 1, Unended: 1,
			},
		},
		{
			name: "zeek that knows its networks: what comes from outside or stays inside holds no port",
			file: "conn.log",
			text: "#separator \\x09\n#fields\tts\tid.resp_h\tid.resp_p\tproto\tduration\tlocal_orig\tlocal_resp\n" +
				"1600000000\t192.0.2.1\t53\ttcp\t1\tT\tF\n1600000000\t10.0.0.5\t443\ttcp\t1\tF\tT\n" +
				"1600000000\t10.0.0.6\t443\ttcp\t1\tT\tT\n1600000000\t192.0.2.1\t53\ttcp\t1\t-\t-\n",
			want: Record{
				Unix: true,
				Flows: []Flow{
					{Start: Seconds(zeekStart), End: Seconds(zeekStart + 1), Protocol: collector.TCP},
					{Start: Seconds(zeekStart), End: Seconds(zeekStart + 1), Protocol: collector.TCP},
				},
				Destinations: []string{"192.0.2.1:53"}, Protocols: []collector.Protocol{collector.TCP}, Sources: []string{""},
				Read: 4, Untranslated: 2,
			},
		},
		{
			name: "zeek in JSON under a byte order mark",
			file: "conn.log",
			text: "\ufeff" + `{"ts":1600000000,"id.resp_h":"192.0.2.1","id.resp_p":53,"proto":null,"duration":1}` + "\n",
			want: Record{
				Unix:         true,
				Flows:        []Flow{{Start: Seconds(zeekStart), End: Seconds(zeekStart + 1), Protocol: collector.TCP}},
				Destinations: []string{"192.0.2.1:53"},
				Protocols:    []collector.Protocol{collector.TCP},
				Sources:      []string{""},
				Read:         1,
			},
		},
		{
			name: "a port in two columns, quoted",
			file: "a.csv",
			text: "start;duration;dst;dport\n\"1\";\"2\";\"[2001:db8::7]:443\";443\n1;2;[2001:db8::7];443\n1;2;2001:db8::7;443\n",
			want: Record{
				Flows:        slices.Repeat([]Flow{{Start: at(1), End: at(3), Protocol: collector.TCP}}, 3),
				Destinations: []string{"[2001:db8::7]:443"},
				Protocols:    []collector.Protocol{collector.TCP},
				Sources:      []string{""},
				Read:         3,
			},
		},
		{
			name: "zeek in JSON",
			file: "conn.log",
			text: zeekJSON,
			want: Record{
				Unix: true,
				Flows: []Flow{
					{Start: Seconds(zeekStart + 0.5), End: Seconds(zeekStart+0.5) + Seconds(1.25), Protocol: collector.TCP, Reason: collector.RST},
					{Start: Seconds(zeekStart + 1), End: Seconds(zeekStart + 1 + synSent), Destination: 1, Protocol: collector.TCP, Reason: collector.Timeout},
				},
				Destinations: []string{"203.0.113.7:443", "[2001:db8::7]:443"},
				Protocols:    []collector.Protocol{collector.TCP, collector.TCP},
				Sources:      []string{"10.0.0.5"},
				Read:         2, Unended: 1,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := Reader{Now: now}
			got := r.read(tt.file, strings.NewReader(tt.text), tt.names)
			tt.want.Name = tt.file
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Blank lines and spaces before the first line change nothing, but for the numbers of lines.
func TestReadAfterBlanks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ file, text string }{
		{"conn.log", zeekTSV},
		{"conn.log", zeekJSON},
		{"a.csv", "start;duration;dst\n1;2;x\n2;-1;x\n"},
		{"a.csv", "start\tduration\tdst\n1\t2\tx\n2\t-1\tx\n"},
	} {
		r := Reader{Now: now}
		want := r.read(tt.file, strings.NewReader(tt.text), nil)
		for i := range want.Faults {
			want.Faults[i].Line += 2
		}
		for _, blanks := range []string{"\n\n", "  \n\r\n", "\ufeff\n \n "} {
			if diff := cmp.Diff(want, r.read(tt.file, strings.NewReader(blanks+tt.text), nil)); diff != "" {
				t.Errorf("%q after %q (-want +got)\n%s", tt.text[:20], blanks, diff)
			}
		}
	}
}

// Of several names of a column the first counts that has a value, every time the same.
func TestJSONWithSeveralNames(t *testing.T) {
	t.Parallel()
	const line = `{"ts":1,"Start":null,"dst":"","id.resp_h":"192.0.2.1","remote":"192.0.2.2","DPORT":"-","id.resp_p":443,"dur":1,"lifetime_ms":5000}`
	want := &Record{
		Name: "a.json", Flows: []Flow{{Start: at(1), End: at(2), Protocol: collector.TCP}},
		Destinations: []string{"192.0.2.1:443"}, Protocols: []collector.Protocol{collector.TCP}, Sources: []string{""}, Read: 1,
	}
	for range 50 {
		r := Reader{Now: now}
		if diff := cmp.Diff(want, r.read("a.json", strings.NewReader(line+"\n"), nil)); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	}
}

func TestReadFaults(t *testing.T) {
	t.Parallel()
	const header = "start,duration,destination,protocol\n"
	const good = "1,1,a:1,tcp\n"
	cut := zipped(header + strings.Repeat(good, 1000) + strings.Repeat("2,2,b:2,udp\n3,1,c,tcp\n", 2000))
	tests := []struct {
		name, file, text string
		flows            int
		want             []string
		broken           bool
	}{
		{"negative duration", "a.csv", header + good + "2,-1,a:1,tcp\n", 1, []string{"a.csv line 3 column duration: the duration is negative"}, false},
		{"end before start", "a.csv", "start,end,dst\n5,4,x\n", 0, []string{"a.csv line 2 column end: the duration is negative"}, false},
		{"future", "a.csv", header + "1800000000,1,a:1,tcp\n", 0, []string{"a.csv line 2 column start: lies in the future"}, false},
		{"far future of a relative record", "a.csv", header + good + "1800000000,1,a:1,tcp\n", 1, []string{"a.csv line 3 column start: lies in the future"}, false},
		{"two clocks", "a.csv", header + good + "1600000000,1,a:1,tcp\n", 1, []string{"a.csv line 3 column start: 1600000000 is on another clock than the other records"}, false},
		{
			"a first row on another clock", "a.csv", header + "0,1,a:1,tcp\n" + strings.Repeat("1600000000,1,a:1,tcp\n", 2) + "1600000001,1,a:1\n", 2,
			[]string{"a.csv line 2 column start: 0 is on another clock than the other records", "a.csv line 5 column protocol: is missing"},
			false,
		},
		{
			"a row on another clock, later", "a.csv", header + strings.Repeat(good, 2*clockRows) + "1600000000,1,a:1,tcp\n-1,1,a:1,tcp\n0,-1,a:1,tcp\n", 2 * clockRows,
			[]string{"a.csv line 202 column start: 1600000000 is on another clock than the other records", "a.csv line 203 column start: is negative", "a.csv line 204 column duration: the duration is negative"},
			false,
		},
		{"NaN", "a.csv", header + "1,NaN,a:1,tcp\nInf,1,a:1,tcp\n", 0, []string{`a.csv line 2 column duration: "NaN" is not a number`, `a.csv line 3 column start: "Inf" is not a number`}, false},
		{"text", "a.csv", header + "yesterday,1,a:1,tcp\n", 0, []string{`a.csv line 2 column start: "yesterday" is not a number`}, false},
		{"unknown protocol", "a.csv", header + "1,1,a:1,tcpp\n", 0, []string{`a.csv line 2 column protocol: "tcpp" is no protocol`}, false},
		{"short line", "a.csv", header + "1,1\n" + good, 1, []string{"a.csv line 2 column destination: is missing"}, false},
		{"long line", "a.csv", header + "1,1,5,a:1,tcp\n" + good + "1,1,a:1,tcp,\n1,1,a:1,tcp,, \n", 3, []string{"a.csv line 2: it has 5 fields, the header 4"}, false},
		{"long line in zeek", "c.log", "#fields\tts\tduration\tid.resp_h\n1\t2\ta\tb\n", 0, []string{"c.log line 2: it has 4 fields, the header 3"}, false},
		{"no destination", "a.csv", header + "1,1,,tcp\n", 0, []string{"a.csv line 2 column destination: is empty"}, false},
		{"missing column", "a.csv", "start,dst\n1,a\n", 0, []string{"a.csv column duration: is missing"}, false},
		{"missing column in zeek", "c.log", "#fields\tts\tduration\n1\t2\n", 0, []string{"c.log line 1 column destination: is missing"}, false},
		{"zeek without fields", "c.log", "#separator \\x09\n1\t2\n", 0, []string{"c.log line 2 column #fields: is missing"}, false},
		{"no JSON", "c.log", `{"ts":1,"duration":1,"dst":"a"}` + "\n{\"ts\":\n", 1, []string{"c.log line 2: is no JSON object: unexpected end of JSON input"}, false},
		{"JSON without a start", "c.log", `{"duration":1,"dst":"a"}` + "\n", 0, []string{"c.log line 1 column start: is missing"}, false},
		{"a quote that is never closed", "a.csv", header + good + "1,\"1,a:1,tcp\n" + good + "\"1,1,a:1,tcp\n" + good, 3, []string{"a.csv line 3 column destination: is missing", "a.csv line 5 column duration: is missing"}, false},
		{"no gzip", "a.csv.gz", header + good, 0, []string{"a.csv.gz: the file is broken from here on: gzip: invalid header"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := Reader{Now: now}
			got := r.read(tt.file, strings.NewReader(tt.text), nil)
			var faults []string
			for _, f := range got.Faults {
				faults = append(faults, f.String())
			}
			if diff := cmp.Diff(tt.want, faults); diff != "" {
				t.Errorf("faults (-want +got)\n%s", diff)
			}
			if len(got.Flows) != tt.flows || got.Bad != len(tt.want) || got.Broken != tt.broken || !got.Unusable() {
				t.Errorf("%d flows, %d bad, broken %v, unusable %v; want %d, %d, %v, true",
					len(got.Flows), got.Bad, got.Broken, got.Unusable(), tt.flows, len(tt.want), tt.broken)
			}
		})
	}
	t.Run("cut gzip", func(t *testing.T) {
		t.Parallel()
		r := Reader{Now: now}
		got := r.read("a.csv.gz", strings.NewReader(cut[:len(cut)-12]), nil)
		if len(got.Flows) == 0 || !got.Broken || got.Bad != 1 || !strings.HasSuffix(got.Faults[0].String(), "the file is broken from here on: unexpected EOF") {
			t.Errorf("%d flows, broken %v, faults %v", len(got.Flows), got.Broken, got.Faults)
		}
	})
}

// One bad record of a hundred is lived with, one of ninety-nine is not.
func TestUnusable(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]bool{100: false, 99: true} {
		r := Record{Read: n, Bad: 1}
		if got := r.Unusable(); got != want {
			t.Errorf("1 of %d: %v, want %v", n, got, want)
		}
	}
}

func TestReadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	relative := write("r.csv", "start,duration,dst\n1,2,0\n")
	write("r.dst.txt", "0\tstore:443\t1\n")
	first := write("conn.1.log", zeekTSV)
	second := write("conn.2.log", strings.ReplaceAll(zeekTSV, "16000000", "16000010"))
	empty := write("empty.csv", "")
	header := write("header.csv", "start,duration,dst\n")

	r := Reader{Now: now}
	records, err := r.ReadFiles([]string{relative, empty, second, header, first})
	if !errors.Is(err, ErrEmpty) || !strings.Contains(err.Error(), empty) || !strings.Contains(err.Error(), header) {
		t.Errorf("error %v, want one that names the two empty files", err)
	}
	if len(records) != 2 || records[0].Destinations[0] != "store:443" {
		t.Fatalf("records %+v", records)
	}
	joined := records[1]
	if joined.Name != "2 files" || len(joined.Flows) != 6 || joined.Read != 8 || len(joined.Destinations) != 2 ||
		joined.Flows[0].Start != Seconds(1600000000.5) {
		t.Errorf("joined %+v", joined)
	}
}

// Whatever comes in, what comes out can be replayed.
func FuzzRead(f *testing.F) {
	f.Add("a.csv", "start,duration,dst\n1,2,x\n-1,NaN,\n")
	f.Add("conn.log", zeekTSV)
	f.Add("conn.log", zeekJSON)
	f.Add("a.csv.gz", zipped("start,duration,dst\n1,2,x\n"))
	f.Fuzz(func(t *testing.T, name, text string) {
		r := Reader{Now: now}
		got := r.read(name, strings.NewReader(text), nil)
		if got.Bad > got.Read || len(got.Flows)+got.Bad+got.Other != got.Read || len(got.Faults) > maxFaults {
			t.Errorf("read %d, bad %d, other %d, flows %d, faults %d", got.Read, got.Bad, got.Other, len(got.Flows), len(got.Faults))
		}
		last := collector.Time(0)
		for _, fl := range got.Flows {
			if fl.Start < last || fl.End < fl.Start || fl.Start > max(now, at(unixFrom)) || int(fl.Destination) >= len(got.Destinations) ||
				int(fl.Source) >= len(got.Sources) {
				t.Fatalf("flow %+v after %d", fl, last)
			}
			last = fl.Start
		}
	})
}
