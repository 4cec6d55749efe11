package flowlog

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

func gateway(t testing.TB) *budget.Budget {
	t.Helper()
	b, err := budget.Resolve(budget.Params{Name: "t", Model: "aws-nat-gateway"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// summary is a row as the tests compare it: seconds after 1600000000, tuple, state.
func summary(r *Row) string {
	s := func(ns int64) string {
		if ns == 0 {
			return "0"
		}
		return fmt.Sprintf("%.3g", float64(ns)/1e9-1600000000)
	}
	return fmt.Sprintf("%s-%s %v %v:%d > %s %d %v", s(r.Start), s(r.End), r.Tuple.Protocol, r.Tuple.Source, r.Tuple.SourcePort, r.Tuple.DestinationEndpoint(), r.State, r.Reason)
}

const awsHeader = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status tcp-flags pkt-srcaddr pkt-dstaddr flow-direction\n"

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		format     string
		want       []string
		skipped    map[string]int
		bad        int
	}{
		{
			name: "AWS version 2, without names", format: "AWS VPC flow log",
			text: "2 123456789010 eni-1 10.0.0.5 203.0.113.7 40000 443 6 20 4249 1600000000 1600000060 ACCEPT OK\n" +
				"2 123456789010 eni-1 203.0.113.7 10.0.0.5 443 40000 6 20 4249 1600000000 1600000060 ACCEPT OK\n" +
				"2 123456789010 eni-1 10.0.0.5 203.0.113.7 40001 22 6 1 40 1600000000 1600000060 REJECT OK\n" +
				"2 123456789010 eni-1 - - - - - - - 1600000000 1600000060 - NODATA\n" +
				"2 123456789010 eni-1 10.0.0.5 10.0.0.9 40001 22 6 1 40 1600000000 1600000060 ACCEPT OK\n" +
				"2 123456789010 eni-1 10.0.0.5 203.0.113.7 0 0 1 1 40 1600000000 1600000060 ACCEPT OK\n" +
				"2 123456789010 eni-1 10.0.0.5 here 1 2 6 1 40 1600000000 1600000060 ACCEPT OK\n" +
				"2 short\n",
			want:    []string{"0-60 tcp 10.0.0.5:40000 > 203.0.113.7:443 0 unknown"},
			skipped: map[string]int{string(skipInbound): 1, string(skipDenied): 1, string(skipEmpty): 1, string(skipPrivate): 1, string(skipProtocol): 1},
			bad:     2,
		},
		{
			name: "AWS version 5 behind a NAT gateway's interface: the packet's own addresses count", format: "AWS VPC flow log",
			text: awsHeader +
				"5 1 eni-1 10.0.1.9 203.0.113.7 40000 443 6 9 900 1600000000 1600000055 ACCEPT OK 2 10.0.0.5 203.0.113.7 egress\n" +
				"5 1 eni-1 10.0.1.9 203.0.113.7 40000 443 6 9 900 1600000060 1600000070 ACCEPT OK 1 10.0.0.5 203.0.113.7 egress\n" +
				"5 1 eni-1 10.0.1.9 203.0.113.7 40001 443 6 9 900 1600000060 1600000070 ACCEPT OK 4 10.0.0.6 203.0.113.7 egress\n" +
				"5 1 eni-1 203.0.113.7 10.0.1.9 443 40000 6 9 900 1600000060 1600000070 ACCEPT OK 19 203.0.113.7 10.0.0.5 ingress\n",
			want: []string{
				"0-55 tcp 10.0.0.5:40000 > 203.0.113.7:443 0 unknown",
				"60-70 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin",
				"60-70 tcp 10.0.0.6:40001 > 203.0.113.7:443 1 rst",
			},
			skipped: map[string]int{string(skipInbound): 1},
		},
		{
			name: "AWS version 3 in an order of the user's, with fields of no use", format: "AWS VPC flow log",
			text: "end log-status tcp-flags dstport pkt-dstaddr subnet-id start protocol srcport action vpc-id pkt-srcaddr dstaddr srcaddr type\n" +
				"1600000055 OK 3 443 203.0.113.7 subnet-1 1600000001 6 40000 ACCEPT vpc-1 10.0.0.5 203.0.113.7 10.0.1.9 IPv4\n" +
				"1600000055 OK 0 53 2001:db8::7 subnet-1 1600000002 17 40000 ACCEPT vpc-1 fd00::5 2001:db8::7 fd00::5 IPv6\n" +
				"1600000055 OK 18 40000 10.0.0.5 subnet-1 1600000001 6 443 ACCEPT vpc-1 203.0.113.7 10.0.1.9 203.0.113.7 IPv4\n" +
				"1600000055 OK 18 40000 198.51.100.9 subnet-1 1600000001 6 8443 ACCEPT vpc-1 10.0.0.5 198.51.100.9 10.0.1.9 IPv4\n" +
				"1600000055 NODATA - - - subnet-1 1600000001 - - - vpc-1 - - - -\n" +
				"1600000055 SKIPDATA - - - subnet-1 1600000001 - - - vpc-1 - - - -\n" +
				"1600000055 OK 2 443 203.0.113.7 subnet-1 1600000060 6 40000 ACCEPT vpc-1 10.0.0.5 203.0.113.7 10.0.1.9 IPv4\n",
			want: []string{
				"1-55 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin",
				"2-55 udp fd00::5:40000 > [2001:db8::7]:53 0 unknown",
			},
			skipped: map[string]int{string(skipInbound): 2, string(skipEmpty): 2}, bad: 1,
		},
		{
			name: "Azure virtual network flow log", format: "Azure flow log",
			text: `{"records":[{"time":"2020-09-13T12:27:00Z","flowLogVersion":4,"flowRecords":{"flows":[{"aclID":"x","flowGroups":[{"rule":"r","flowTuples":[` +
				`"1600000001500,10.0.0.5,203.0.113.7,40000,443,6,O,B,NX,0,0,0,0","1600000031500,10.0.0.5,203.0.113.7,40000,443,6,O,E,NX,9,900,9,900",` +
				`"1600000001500,10.0.0.5,2001:db8::7,40000,53,17,O,B,NX,0,0,0,0","1600000001500,198.51.100.9,10.0.0.5,40000,443,6,I,B,NX,0,0,0,0",` +
				`"1600000001500,10.0.0.5,203.0.113.7,40000,25,6,O,D,NX,0,0,0,0"]}]}]}}]}`,
			want: []string{
				"1.5-1.5 tcp 10.0.0.5:40000 > 203.0.113.7:443 0 unknown",
				"31.5-31.5 tcp 10.0.0.5:40000 > 203.0.113.7:443 2 fin",
				"1.5-1.5 udp 10.0.0.5:40000 > [2001:db8::7]:53 0 unknown",
			},
			skipped: map[string]int{string(skipInbound): 1, string(skipDenied): 1},
		},
		{
			name: "Azure security group flow log", format: "Azure flow log",
			text:    `{"records":[{"properties":{"Version":2,"flows":[{"flows":[{"flowTuples":["1600000001,10.0.0.5,203.0.113.7,40000,443,T,O,A,B,,,,","1600000001,10.0.0.5,203.0.113.7,40000,25,T,O,D,B,,,,"]}]}]}}]}`,
			want:    []string{"1-1 tcp 10.0.0.5:40000 > 203.0.113.7:443 0 unknown"},
			skipped: map[string]int{string(skipDenied): 1},
		},
		{
			name: "Google Cloud NAT", format: "Google Cloud log",
			text: `{"jsonPayload":{"allocation_status":"OK","connection":{"src_ip":"10.0.0.5","src_port":40000,"nat_ip":"198.51.100.1","nat_port":1024,"dest_ip":"203.0.113.7","dest_port":443,"protocol":6}},"timestamp":"2020-09-13T12:26:41.5Z"}` + "\n" +
				`{"jsonPayload":{"allocation_status":"DROPPED","connection":{"src_ip":"10.0.0.5","src_port":40001,"dest_ip":"203.0.113.7","dest_port":443,"protocol":6}},"timestamp":"2020-09-13T12:26:42Z"}` + "\n" +
				`{"jsonPayload":{"connection":{"src_ip":"10.0.0.5","src_port":40002,"dest_ip":"203.0.113.7","dest_port":443,"protocol":6},"start_time":"2020-09-13T12:26:43Z","end_time":"2020-09-13T12:26:48Z","reporter":"SRC"}}` + "\n" +
				`{"jsonPayload":{}}` + "\n",
			want: []string{
				"1.5-1.5 tcp 10.0.0.5:40000 > 203.0.113.7:443 4 unknown",
				"3-8 tcp 10.0.0.5:40002 > 203.0.113.7:443 0 unknown",
			},
			skipped: map[string]int{string(skipDropped): 1}, bad: 1,
		},
		{
			name: "nfdump with ts and te, which are whole seconds", format: "nfdump CSV",
			text: "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n" +
				"2020-09-13 12:26:41,2020-09-13 12:26:46,4.500,10.0.0.5,203.0.113.7,40000,443,TCP,...AP.SF,0,0,9,900,0,0\n" +
				"2020-09-13 12:26:41,2020-09-13 12:26:46,5.000,10.0.0.5,203.0.113.7,40001,443,TCP,...AP.S.,0,0,9,900,0,0\n" +
				"2020-09-13 12:26:41,2020-09-13 12:26:46,5.000,203.0.113.7,10.0.0.5,443,40000,TCP,...AP.SF,0,0,9,900,0,0\n" +
				"Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n3,2700,27,4320,5,100\n",
			want: []string{
				"1.67-6.17 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin", // from 1.5 on, or it had not ended in second 6
				"1.57-6.57 tcp 10.0.0.5:40001 > 203.0.113.7:443 0 unknown",
			},
			skipped: map[string]int{string(skipInbound): 1, string(skipEmpty): 3},
		},
		{
			name: "nfdump with firstSeen", format: "nfdump CSV",
			text: "firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,bps,bpp,flows\n" +
				"2020-09-13 12:26:41.250,5.000,UDP,10.0.0.5,40000,203.0.113.7,53,9,900,1,1,1\n",
			want: []string{"1.25-6.25 udp 10.0.0.5:40000 > 203.0.113.7:53 0 unknown"},
		},
		{
			name: "conntrack -E -o timestamp", format: "conntrack",
			text: "[1600000001.500000]\t    [NEW] tcp      6 120 SYN_SENT src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=443 [UNREPLIED] src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1024\n" +
				"[1600000001.600000]\t [UPDATE] tcp      6 432000 ESTABLISHED src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1024 [ASSURED]\n" +
				"[1600000009.600000]\t [UPDATE] tcp      6 120 TIME_WAIT src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1024 [ASSURED]\n" +
				"[1600000129.600000]\t[DESTROY] tcp      6 src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1024 [ASSURED]\n" +
				"[1600000130.000000]\t    [NEW] icmp     1 30 src=10.0.0.5 dst=203.0.113.7 type=8 code=0 id=1 [UNREPLIED] src=203.0.113.7 dst=198.51.100.1 type=0 code=0 id=1\n",
			want: []string{
				"1.5-1.5 tcp 10.0.0.5:40000 > 203.0.113.7:443 0 unknown",
				"1.6-1.6 tcp 10.0.0.5:40000 > 203.0.113.7:443 0 unknown",
				"9.6-9.6 tcp 10.0.0.5:40000 > 203.0.113.7:443 2 fin",
				"130-130 tcp 10.0.0.5:40000 > 203.0.113.7:443 2 unknown",
			},
			skipped: map[string]int{string(skipProtocol): 1},
		},
		{
			name: "conntrack -L", format: "conntrack",
			text: "tcp      6 431999 ESTABLISHED src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1024 [ASSURED] mark=0 use=1\n" +
				"ipv4     2 udp      17 29 src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=53 [UNREPLIED] src=203.0.113.7 dst=198.51.100.1 sport=53 dport=1024 mark=0 use=1\n",
			want: []string{
				"0-0 tcp 10.0.0.5:40000 > 203.0.113.7:443 5 unknown",
				"0-0 udp 10.0.0.5:40000 > 203.0.113.7:53 5 unknown",
			},
		},
		{
			name: "CSV of the backtest, with relative times", format: "CSV",
			text: "start,duration,destination,source,protocol,reason\n1.5,4,203.0.113.7:443,10.0.0.5,tcp,rst\n" +
				"2,1,[2001:db8::7]:53,b,udp,idle\n3,1,store:443,b,tcp,fin\n4,1,203.0.113.7:443,b,icmp,\n",
			want: []string{
				"9.99e+07-9.99e+07 tcp 10.0.0.5:0 > 203.0.113.7:443 1 rst",
				"9.99e+07-9.99e+07 udp 0.0.0.0:0 > [2001:db8::7]:53 1 idle",
			},
			skipped: map[string]int{string(skipProtocol): 1}, bad: 1,
		},
		{
			name: "what snatwatch record writes", format: "snatwatch record",
			text: "# snatwatch record 1\n# Columns that end in _s are seconds since 1970 UTC.\n# flows=all addresses=real\n" +
				"start_s,end_s,destination,port,source,protocol,reason,vip,vip_port,source_port,opened_from_s\n" +
				"1600000001.500,1600000004,203.0.113.7,443,10.0.0.5,tcp,fin,198.51.100.1,1024,40000,1600000001.000\n# overrun: 1\n" +
				"1600000002.000,1600000009,2001:db8::7,53,fd00::5,udp,live,,,40001,\n",
			want: []string{
				"1.5-4 tcp 10.0.0.5:0 > 203.0.113.7:443 1 fin",
				"2-9 udp fd00::5:0 > [2001:db8::7]:53 1 unknown",
			},
		},
		{
			name: "CSV with other names", format: "CSV",
			text: "Src_IP;Dst_IP;DstPort;ts;end_time\n10.0.0.5;203.0.113.7;443;1600000001.5;2020-09-13T12:26:43Z\n",
			want: []string{"1.5-3 tcp 10.0.0.5:0 > 203.0.113.7:443 1 unknown"},
		},
		{
			name: "Zeek", format: "Zeek conn.log",
			text: "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\tconn_state\n" +
				"1600000001.5\tC1\t10.0.0.5\t40000\t203.0.113.7\t443\ttcp\tssl\t1.25\tSF\n" +
				"1600000002.0\tC2\t10.0.0.5\t40001\t203.0.113.7\t443\ttcp\t-\t-\tS0\n" +
				"1600000002.0\tC2\t10.0.0.5\t40002\t203.0.113.7\t443\ttcp\t-\t0.1\tREJ\n#close\tx\n",
			want: []string{
				"1.5-2.75 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin",
				"2-2 tcp 10.0.0.5:40001 > 203.0.113.7:443 3 timeout",
				"2-2.1 tcp 10.0.0.5:40002 > 203.0.113.7:443 1 rst",
			},
		},
		{
			name: "Zeek that knows its networks: inbound rows and those that stay inside hold no port", format: "Zeek conn.log",
			text: "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\tconn_state\tlocal_orig\tlocal_resp\n" +
				"1600000001.0\tC1\t10.0.0.5\t40000\t203.0.113.7\t443\ttcp\tssl\t1\tSF\tT\tF\n" +
				"1600000001.0\tC2\t198.51.100.9\t40001\t10.0.0.5\t443\ttcp\tssl\t1\tSF\tF\tT\n" +
				"1600000001.0\tC3\t198.51.100.9\t40001\t203.0.113.7\t443\ttcp\tssl\t1\tSF\tF\tF\n" +
				"1600000001.0\tC4\t203.0.113.200\t40002\t203.0.113.201\t443\ttcp\tssl\t1\tSF\tT\tT\n" +
				"1600000001.0\tC5\t10.0.0.5\t40003\t10.9.0.7\t443\ttcp\tssl\t1\tSF\tT\tF\n" +
				"1600000001.0\tC6\t10.0.0.5\t40004\t203.0.113.7\t443\ttcp\tssl\t1\tSF\t-\t-\n" +
				"1600000001.0\tC7\t198.51.100.9\t40005\t10.0.0.5\t443\ttcp\tssl\t1\tSF\t-\t-\n" +
				"1600000001.0\tC8\t10.0.0.5\t40006\t10.0.0.9\t443\ttcp\tssl\t1\tSF\t-\t-\n" +
				"1600000001.0\tC9\t10.0.0.5\t80\t203.0.113.7\t8080\ttcp\tssl\t1\tSF\t-\t-\n",
			want: []string{
				"1-2 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin",
				"1-2 tcp 10.0.0.5:40003 > 10.9.0.7:443 1 fin",
				"1-2 tcp 10.0.0.5:40004 > 203.0.113.7:443 1 fin",
				"1-2 tcp 10.0.0.5:80 > 203.0.113.7:8080 1 fin",
			},
			skipped: map[string]int{string(skipInbound): 3, string(skipPrivate): 2},
		},
		{
			name: "Zeek in JSON that knows its networks", format: "Zeek conn.log in JSON",
			text: `{"ts":1600000001.0,"id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"203.0.113.7","id.resp_p":443,"proto":"tcp","duration":1,"conn_state":"SF","local_orig":true,"local_resp":false}` + "\n" +
				`{"ts":1600000001.0,"id.orig_h":"198.51.100.9","id.orig_p":40000,"id.resp_h":"10.0.0.5","id.resp_p":443,"proto":"tcp","duration":1,"conn_state":"SF","local_orig":false,"local_resp":true}` + "\n",
			want:    []string{"1-2 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin"},
			skipped: map[string]int{string(skipInbound): 1},
		},
		{
			name: "Zeek in JSON: seconds, milliseconds, RFC 3339; a flow without an answer has no duration", format: "Zeek conn.log in JSON",
			text: `{"ts":1600000001.5,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":40000,"id.resp_h":"203.0.113.7","id.resp_p":443,"proto":"tcp","service":"ssl","duration":1.25,"conn_state":"SF","tunnel_parents":["C0"]}` + "\n" +
				`{"ts":1600000002000.0,"uid":"C2","id.orig_h":"10.0.0.5","id.orig_p":40001,"id.resp_h":"203.0.113.7","id.resp_p":443,"proto":"tcp","conn_state":"S0"}` + "\n" +
				`{"ts":"2020-09-13T12:26:42.000000Z","uid":"C2","id.orig_h":"10.0.0.5","id.orig_p":40002,"id.resp_h":"203.0.113.7","id.resp_p":443,"proto":"tcp","duration":0.1,"conn_state":"REJ"}` + "\n" +
				`{"ts":1600000001.5,"id.orig_h":"10.0.0.5","id.orig_p":8,"id.resp_h":"203.0.113.7","id.resp_p":0,"proto":"icmp","conn_state":"OTH"}` + "\n" +
				`{"ts":1600000001.5,"id.orig_h":"10.0.0.5"` + "\n",
			want: []string{
				"1.5-2.75 tcp 10.0.0.5:40000 > 203.0.113.7:443 1 fin",
				"2-2 tcp 10.0.0.5:40001 > 203.0.113.7:443 3 timeout",
				"2-2.1 tcp 10.0.0.5:40002 > 203.0.113.7:443 1 rst",
			},
			skipped: map[string]int{string(skipProtocol): 1}, bad: 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.skipped == nil {
				tt.skipped = map[string]int{}
			}
			var zipped bytes.Buffer
			z := gzip.NewWriter(&zipped)
			_, _ = z.Write([]byte(tt.text))
			_ = z.Close()
			for _, text := range []string{tt.text, strings.ReplaceAll(tt.text, "\n", "\r\n"), "\ufeff" + tt.text, zipped.String()} {
				var got []string
				r, err := read(strings.NewReader(text), func(Format) {}, func(r *Row) { got = append(got, summary(r)) })
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("rows (-want +got):\n%s", d)
				}
				if d := cmp.Diff(tt.skipped, r.Skipped); d != "" || r.Bad != tt.bad || r.Format.Name != tt.format {
					t.Errorf("%s, %d bad %v, skipped (-want +got):\n%s", r.Format.Name, r.Bad, r.Faults, d)
				}
			}
		})
	}
}

// A log of which nothing can be used is an error that says why.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "the file is empty"},
		{"blanks", "\n\n", "the file is empty"},
		{"names alone", awsHeader, "the log has no rows"},
		{"names that lack one", "srcaddr dstaddr srcport\n", "has no field dstport"},
		{"another text", "hello world\n", "no flow log of a known format"},
		{"an array of objects", "[\n  {\n    \"jsonPayload\": {}\n  }\n]\n", "jq -c .[]"},
		{"events without a time", "    [NEW] tcp      6 120 SYN_SENT src=10.0.0.5 dst=203.0.113.7 sport=1 dport=2\n", "needs -o timestamp"},
		{
			"all dropped", `{"jsonPayload":{"allocation_status":"DROPPED","connection":{"src_ip":"10.0.0.5"}}}`,
			"no row of 1 holds a port: 1 dropped by Cloud NAT, which had no port",
		},
		{
			"an interval of nfdump without flows",
			"ts,te,td,sa,da,sp,dp,pr,flg,fwd\nNo matching flows\nSummary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n0,0,0,0,0,0\n",
			"no row of 4 holds a port: 4 without data",
		},
		{"the same without header and summary", "No matching flows\n", `no flow log of a known format: it begins "No matching flows"`},
		{"all denied", "2 1 eni-1 10.0.0.5 203.0.113.7 40001 22 6 1 40 1600000000 1600000060 REJECT OK\n", "no row of 1 holds a port: 1 denied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if r, err := NewCounter(gateway(t)).Read(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, error %v; want %q", r, err, tt.want)
			}
		})
	}
}

// What cannot be read at all is an error of its own, not an empty file.
func TestReadFileRefuses(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "broken.gz")
	if err := os.WriteFile(broken, []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, want string }{
		{t.TempDir(), "is a directory"},
		{broken, "corrupt input"},
	} {
		if r, err := NewCounter(gateway(t)).ReadFile(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v, error %v; want %q", r, err, tt.want)
		}
	}
}

// count reads a log under a budget of so many ports and a cool-down.
func count(t *testing.T, ports int, cool time.Duration, text string) *Counter {
	t.Helper()
	all := map[collector.Reason]time.Duration{}
	for r := range collector.NumReasons {
		all[r] = cool
	}
	p := budget.Params{Name: "t", Model: "static", Ports: ports}
	p.TCP.CoolDown, p.UDP.CoolDown = all, all
	b, err := budget.Resolve(p)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCounter(b)
	if _, err := c.Read(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	return c
}

// awsRows writes rows of version 5: port, start, end, flags.
func awsRows(rows ...[4]int) string {
	b := strings.Builder{}
	b.WriteString(awsHeader)
	for _, r := range rows {
		fmt.Fprintf(&b, "5 1 eni-1 10.0.0.5 203.0.113.7 %d 443 6 9 900 %d %d ACCEPT OK %d 10.0.0.5 203.0.113.7 egress\n", r[0], 1600000000+r[1], 1600000000+r[2], r[3])
	}
	return b.String()
}

func TestCounter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		ports     int
		cool      time.Duration
		text      string
		opened    uint64
		most      int
		at        int // seconds
		exhausted time.Duration
	}{
		{
			name: "rows of one tuple are one flow", ports: 10, opened: 1, most: 1, at: 0,
			text: awsRows([4]int{1, 0, 55, 2}, [4]int{1, 60, 110, 0}, [4]int{1, 120, 130, 1}),
		},
		{
			name: "the last packets after a FIN are no flow of their own", ports: 10, opened: 1, most: 1, at: 0,
			text: awsRows([4]int{1, 0, 55, 3}, [4]int{1, 56, 57, 0}),
		},
		{
			name: "a tuple that is used again is another flow", ports: 10, opened: 2, most: 1, at: 0,
			text: awsRows([4]int{1, 0, 50, 3}, [4]int{1, 600, 610, 3}),
		},
		{
			name: "flows beside each other", ports: 10, opened: 3, most: 2, at: 20,
			text: awsRows([4]int{1, 0, 30, 3}, [4]int{2, 20, 40, 3}, [4]int{3, 35, 50, 3}),
		},
		{
			name: "with a cool-down", ports: 2, cool: 10 * time.Second, opened: 3, most: 3, at: 35,
			// Two are held from 20 on; the third comes at 35, before the first is free at 40. All but one are free at 50.
			text: awsRows([4]int{1, 0, 30, 3}, [4]int{2, 20, 40, 3}, [4]int{3, 35, 50, 3}), exhausted: 30 * time.Second,
		},
		{
			name: "rows that come late", ports: 10, opened: 3, most: 3, at: 25,
			text: awsRows([4]int{2, 20, 40, 3}, [4]int{1, 25, 30, 3}, [4]int{3, 10, 50, 3}),
		},
		{
			name: "above the ceiling throughout", ports: 1, opened: 2, most: 2, at: 0, exhausted: 3600 * time.Second,
			text: awsRows([4]int{1, 0, 3600, 1}, [4]int{2, 0, 3600, 1}),
		},
		{
			name: "an open without an answer holds a port", ports: 10, opened: 2, most: 2, at: 100,
			text: "#separator \\x09\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\tconn_state\n" +
				"1600000000.0\t10.0.0.5\t1\t203.0.113.7\t443\ttcp\t-\tS0\n1600000100.0\t10.0.0.5\t2\t203.0.113.7\t443\ttcp\t-\tS0\n",
		},
		{
			name: "conntrack's events, hours apart", ports: 10, opened: 2, most: 2, at: 7200,
			text: "[1600000000.000000]\t [NEW] tcp 6 120 SYN_SENT src=10.0.0.5 dst=203.0.113.7 sport=1 dport=443 [UNREPLIED] src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1\n" +
				"[1600007200.000000]\t [NEW] tcp 6 120 SYN_SENT src=10.0.0.5 dst=203.0.113.7 sport=2 dport=443 [UNREPLIED] src=203.0.113.7 dst=198.51.100.1 sport=443 dport=2\n" +
				"[1600007300.000000]\t [UPDATE] tcp 6 10 CLOSE src=10.0.0.5 dst=203.0.113.7 sport=1 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1\n" +
				"[1600007310.000000]\t [DESTROY] tcp 6 src=10.0.0.5 dst=203.0.113.7 sport=1 dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=1\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := count(t, tt.ports, tt.cool, tt.text)
			s := c.Spaces(1)[0]
			opened := uint64(0)
			for _, n := range c.Ends() {
				opened += uint64(n)
			}
			if opened != tt.opened || s.Most != tt.most || s.MostAt.Unix() != int64(1600000000+tt.at) || s.Exhausted != tt.exhausted || s.held != 0 {
				t.Errorf("%d flows, %d held at %d, exhausted for %v, %d held at the end; want %d, %d at %d, %v, 0",
					opened, s.Most, s.MostAt.Unix()-1600000000, s.Exhausted, s.held, tt.opened, tt.most, tt.at, tt.exhausted)
			}
		})
	}
}

// Thirty flows a second of eight seconds each hold 240 ports, though nfdump tells the second alone in which each
// began: those of nine seconds, 270, seemed open at a time.
func TestWholeSeconds(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt\n")
	at := func(ms int) string { return time.UnixMilli(1600000000_000 + int64(ms)).UTC().Format(time.DateTime) }
	for i := range 600 {
		from := i * 1000 / 30
		fmt.Fprintf(&text, "%s,%s,8.001,10.0.0.5,203.0.113.7,%d,443,TCP,...AP.SF,0,0,9,900,0,0\n", at(from), at(from+8001), 40000+i)
	}
	if s := count(t, 1024, 0, text.String()).Spaces(1)[0]; s.Most < 235 || s.Most > 255 {
		t.Errorf("%d held at most, want about 240", s.Most)
	}
}

// Flows whose end no row tells of are over with their last row, however many rows the log has: ten a second of ten
// seconds each hold a hundred ports. They were taken for open until 65,536 rows later.
func TestFlowsWithoutEnd(t *testing.T) {
	t.Parallel()
	rows := make([][4]int, 20_000)
	for i := range rows {
		rows[i] = [4]int{1 + i, i / 10, i/10 + 10, 2}
	}
	if s := count(t, 1024, 0, awsRows(rows...)).Spaces(1)[0]; s.Most != 100 || s.Exhausted != 0 {
		t.Errorf("%d held at most, exhausted for %v; want 100 and never", s.Most, s.Exhausted)
	}
}

// A record is above its ceiling throughout if it is from its first row to the end of its last.
func TestLineSaysForHowLong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"throughout", awsRows([4]int{1, 0, 3600, 1}, [4]int{2, 0, 3600, 1}), "; at its ceiling throughout, for 1h0m0s"},
		{
			"at the start", awsRows([4]int{1, 0, 600, 3}, [4]int{2, 0, 600, 3}, [4]int{3, 600, 3600, 1}),
			"; exhausted for 10m0s",
		},
		{
			"for a moment", "start,end,destination\n1600000000,1600000060.25,203.0.113.7:443\n1600000060,1600000120,203.0.113.7:443\n",
			"; exhausted for 250ms",
		},
		{"once", awsRows([4]int{1, 0, 600, 3}, [4]int{2, 10, 20, 3}), "; exhausted for 10s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := count(t, 2, 0, tt.text)
			if line := c.Line(c.Spaces(1)[0]); !strings.HasSuffix(line, tt.want) {
				t.Errorf("%q, want %q", line, tt.want)
			}
		})
	}
}

// A list of one moment holds what is open, and what has ended for as long as the budget lets its port rest.
func TestList(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	n := 0
	for _, of := range []struct {
		state string
		many  int
	}{{"ESTABLISHED", 7}, {"SYN_SENT", 4}, {"CLOSE_WAIT", 3}, {"TIME_WAIT", 20}, {"CLOSE", 5}} {
		for range of.many {
			n++
			fmt.Fprintf(&text, "tcp      6 100 %s src=10.0.0.5 dst=203.0.113.7 sport=%d dport=443 src=203.0.113.7 dst=198.51.100.1 sport=443 dport=%d [ASSURED] mark=0 use=1\n",
				of.state, 1024+n, 1024+n)
		}
	}
	for _, tt := range []struct {
		name string
		cool time.Duration
		most int
	}{{"ports that rest", time.Minute, 39}, {"ports that are given away at once", 0, 14}} {
		c := count(t, 64, tt.cool, text.String())
		if s := c.Spaces(1)[0]; !c.Moment() || s.Most != tt.most {
			t.Errorf("%s: %d held, want %d", tt.name, s.Most, tt.most)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(awsHeader + "5 1 eni-1 10.0.1.9 203.0.113.7 40000 443 6 9 900 1600000000 1600000055 ACCEPT OK 2 10.0.0.5 203.0.113.7 egress\n")
	f.Add(`{"records":[{"flowTuples":["1600000001500,10.0.0.5,203.0.113.7,40000,443,6,O,B,NX,0,0,0,0"]}]}`)
	f.Add("ts,te,td,sa,da,sp,dp,pr,flg\n2020-09-13 12:26:41,2020-09-13 12:26:46,5.000,10.0.0.5,203.0.113.7,40000,443,TCP,...AP.SF\n")
	f.Add("[1600000001.5] [NEW] tcp 6 120 SYN_SENT src=10.0.0.5 dst=203.0.113.7 sport=40000 dport=443\n")
	f.Add("#separator \\x09\n#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tduration\tconn_state\n1\t10.0.0.5\t1\t203.0.113.7\t2\ttcp\t-\tS0\n")
	f.Add(`{"ts":1600000001.5,"id.orig_h":"10.0.0.5","id.orig_p":1,"id.resp_h":"203.0.113.7","id.resp_p":2,"proto":"tcp","duration":1.25,"conn_state":"SF"}`)
	f.Add(`{"jsonPayload":{"connection":{"src_ip":"10.0.0.5","src_port":1,"dest_ip":"203.0.113.7","dest_port":2,"protocol":6}},"timestamp":"2020-09-13T12:26:41.5Z"}`)
	b := gateway(f)
	f.Fuzz(func(t *testing.T, text string) {
		c := NewCounter(b)
		if _, err := c.Read(strings.NewReader(text)); err != nil {
			return
		}
		c.Close()
		for _, s := range c.Spaces(10) {
			if s.held != 0 && c.listed == 0 || s.Most < 0 {
				t.Errorf("%s holds %d at the end, %d at most", s.Name(), s.held, s.Most)
			}
		}
	})
}
