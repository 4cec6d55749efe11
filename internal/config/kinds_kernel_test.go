package config_test

import (
	"testing"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// What rules can do to each other, each in the fewest rules: the budgets that an expert would write down.
func TestKernelKindsOfRules(t *testing.T) {
	t.Parallel()
	const up = "#if eth0 192.0.2.10/24\n#if eth1 203.0.113.9/24\n"
	post := func(rules string) string {
		return up + "#@ nft\ntable ip n {\n chain post {\n type nat hook postrouting priority 100\n" + rules + "\n }\n}\n"
	}
	ipt := func(rules string) string { return up + "#@ ipt\n*nat\n" + rules + "\nCOMMIT\n" }
	tests := []struct{ name, rules, want string }{
		{
			"two rules of one address, protocols apart",
			ipt("-A POSTROUTING -p udp -j MASQUERADE --to-ports 40000-49999\n-A POSTROUTING -j MASQUERADE"),
			"any tcp 0 udp 10000 each\nany tcp 64512 udp 0 each",
		},
		{
			"a game console's port mapping",
			post("ip saddr 10.0.0.20 udp sport 3074 masquerade to :3074\n masquerade"),
			"any tcp 64512 udp 64512 each",
		},
		{
			"two uplinks",
			post(`oifname "eth0" masquerade` + "\n" + `oifname "eth1" masquerade`),
			"192.0.2.10,203.0.113.9 tcp 64512 udp 64512 each",
		},
		{
			"an uplink of two that is not there",
			post(`oifname "eth0" masquerade` + "\n" + `oifname "ppp0" masquerade`),
			"192.0.2.10 tcp 64512 udp 64512\nnote masquerade on ppp0, which has no address now",
		},
		{
			"of equal priority the chain made last runs first",
			up + "#@ nft\ntable ip a {\n chain c {\n type nat hook postrouting priority 100\n snat to 198.51.100.1\n }\n}\n" +
				"table ip b {\n chain c {\n type nat hook postrouting priority 100\n snat to 198.51.100.2\n }\n}\n",
			"198.51.100.2 tcp 64512 udp 64512",
		},
		{
			"the lower priority first, whichever was made first",
			up + "#@ nft\ntable ip a {\n chain c {\n type nat hook postrouting priority 110\n snat to 198.51.100.1\n }\n}\n" +
				"table ip b {\n chain c {\n type nat hook postrouting priority 90\n meta l4proto tcp snat to 198.51.100.2\n }\n}\n",
			"198.51.100.1 tcp 0 udp 64512\n198.51.100.2 tcp 64512 udp 0",
		},
		{
			"what one chain accepts, the next one translates",
			up + "#@ nft\ntable ip a {\n chain c {\n type nat hook postrouting priority 110\n masquerade\n }\n}\n" +
				"table ip b {\n chain c {\n type nat hook postrouting priority 90\n ip daddr 203.0.113.0/24 accept\n snat to 198.51.100.2\n }\n}\n",
			"198.51.100.2 tcp 64512 udp 64512\nany tcp 64512 udp 64512 each",
		},
		{
			"what returns is translated behind the jump",
			up + "#@ nft\ntable ip n {\n chain a {\n ip daddr 203.0.113.0/24 return\n snat to 198.51.100.1\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n jump a\n snat to 198.51.100.2\n }\n}\n",
			"198.51.100.1 tcp 64512 udp 64512\n198.51.100.2 tcp 64512 udp 64512",
		},
		{
			"what a chain takes whole does not come behind the jump",
			up + "#@ nft\ntable ip n {\n chain a {\n snat to 198.51.100.1\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n ip saddr 10.0.0.0/8 jump a\n ip saddr 10.0.0.0/8 snat to 198.51.100.2\n }\n}\n",
			"198.51.100.1 tcp 64512 udp 64512",
		},
		{
			"what goes to a chain does not come back",
			up + "#@ nft\ntable ip n {\n chain a {\n meta l4proto tcp snat to 198.51.100.1\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n goto a\n snat to 198.51.100.2\n }\n}\n",
			"198.51.100.1 tcp 64512 udp 0",
		},
		{
			"protocols by a verdict map",
			up + "#@ nft\ntable ip n {\n chain t {\n meta l4proto { tcp, udp } snat to 198.51.100.1:1024-2047\n }\n chain u {\n meta l4proto { tcp, udp } snat to 198.51.100.1:2048-4095\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n meta l4proto vmap { tcp : goto t, udp : goto u }\n }\n}\n",
			"198.51.100.1 tcp 1024 udp 0\n198.51.100.1 tcp 0 udp 2048",
		},
		{
			"interfaces by a verdict map",
			up + "#@ nft\ntable ip n {\n chain a {\n meta l4proto { tcp, udp } masquerade to :1024-2047\n }\n chain b {\n meta l4proto { tcp, udp } masquerade to :4096-8191\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n meta l4proto { tcp, udp } oifname vmap { \"eth0\" : jump a, \"eth1\" : jump b }\n }\n}\n",
			"192.0.2.10 tcp 1024 udp 1024\n203.0.113.9 tcp 4096 udp 4096",
		},
		{
			"an interface in a set of several fields",
			up + "#@ nft\ntable ip n {\n set s {\n type ipv4_addr . ifname\n elements = { 10.0.0.1 . \"eth1\", 10.0.0.2 . \"eth1\" }\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n ip saddr . oifname @s masquerade\n }\n}\n",
			"203.0.113.9 tcp 64512 udp 64512",
		},
		{
			"numgen over verdicts draws anew",
			up + "#@ nft\ntable ip n {\n chain a {\n snat to 198.51.100.1\n }\n chain b {\n snat to 198.51.100.2\n }\n" +
				" chain post {\n type nat hook postrouting priority 100\n numgen random mod 2 vmap { 0 : goto a, 1 : goto b }\n masquerade\n }\n}\n",
			"198.51.100.1,198.51.100.2 tcp 129024 udp 129024",
		},
		{
			"numgen over VIPs with ranges of their own",
			post("meta l4proto tcp snat ip to numgen inc mod 2 map { 0 : 198.51.100.1 . 1024-2047, 1 : 198.51.100.2 . 2048-4095 }"),
			"198.51.100.1,198.51.100.2 tcp 3072 udp 0",
		},
		{
			"several port ranges of one address, drawn by random",
			ipt("-A POSTROUTING -o eth0 -p tcp -m statistic --mode random --probability 0.5 -j MASQUERADE --to-ports 1024-2047\n" +
				"-A POSTROUTING -o eth0 -p tcp -j MASQUERADE --to-ports 4096-5119"),
			"192.0.2.10 tcp 2048 udp 0",
		},
		{
			"draws among VIPs of one interface, and a rule for the rest of all",
			ipt("-A POSTROUTING -o eth0 -m statistic --mode random --probability 0.5 -j SNAT --to-source 198.51.100.1\n" +
				"-A POSTROUTING -j SNAT --to-source 198.51.100.2\n-A POSTROUTING -j MASQUERADE"),
			"198.51.100.1,198.51.100.2 tcp 129024 udp 129024",
		},
		{
			"marks drawn for each new flow, before it leaves",
			ipt("-A PREROUTING -m statistic --mode nth --every 2 --packet 0 -j MARK --set-mark 1\n" +
				"-A PREROUTING -m statistic --mode nth --every 2 --packet 1 -j MARK --set-mark 2\n" +
				"-A POSTROUTING -p tcp -m mark --mark 1 -j SNAT --to-source 198.51.100.1:1024-1039\n" +
				"-A POSTROUTING -p tcp -m mark --mark 2 -j SNAT --to-source 198.51.100.1:5120-5135"),
			"198.51.100.1 tcp 32 udp 0",
		},
		{
			"marks drawn in another table, as flows leave",
			up + "#@ ipt\n*mangle\n:DRAW - [0:0]\n-A POSTROUTING -j DRAW\n-A DRAW -j MARK --set-mark 1\n" +
				"-A DRAW -m statistic --mode random --probability 0.5 -j MARK --set-mark 2\nCOMMIT\n*nat\n" +
				"-A POSTROUTING -p udp -m mark --mark 1 -j SNAT --to-source 198.51.100.1:1024-1039\n" +
				"-A POSTROUTING -p udp -m mark --mark 2 -j SNAT --to-source 198.51.100.1:5120-5135\nCOMMIT\n",
			"198.51.100.1 tcp 0 udp 32",
		},
		{
			"protocols of both families in one table",
			up + "#if eth2 2001:db8:1::10/64\n#@ nft\ntable inet n {\n chain post {\n type nat hook postrouting priority 100\n" +
				" meta nfproto ipv6 ip6 nexthdr tcp snat ip6 to [2001:db8::1]:1024-2047\n" +
				" meta nfproto ipv4 ip protocol udp snat ip to 198.51.100.1:1024-2047\n }\n}\n",
			"198.51.100.1 tcp 0 udp 1024\n2001:db8::1 tcp 1024 udp 0",
		},
		{
			"marks set by policy",
			ipt("-A PREROUTING -s 10.1.0.0/16 -j MARK --set-mark 1\n" +
				"-A POSTROUTING -m mark --mark 1 -j SNAT --to-source 198.51.100.1\n" +
				"-A POSTROUTING -m mark --mark 2 -j SNAT --to-source 198.51.100.2"),
			"198.51.100.1 tcp 64512 udp 64512\n198.51.100.2 tcp 64512 udp 64512",
		},
		{
			"a map by a mark that is drawn in the rule before",
			post("meta mark set numgen inc mod 2\nmeta l4proto tcp snat ip to meta mark map { 0 : 198.51.100.1 . 1024-1039, 1 : 198.51.100.1 . 5120-5135 }"),
			"198.51.100.1 tcp 32 udp 0",
		},
		{
			"a hash of the source keeps its VIP",
			post("snat to jhash ip saddr mod 2 map { 0 : 198.51.100.1, 1 : 198.51.100.2 }"),
			"198.51.100.1,198.51.100.2 tcp 64512 udp 64512 each",
		},
		{
			"an empty map",
			up + "#@ nft\ntable ip n {\n map m {\n type ipv4_addr : ipv4_addr\n }\n chain post {\n type nat hook postrouting priority 100\n snat to ip saddr map @m\n }\n}\n",
			"local\nnote an empty map: it translates nothing until it has elements",
		},
		{
			"source translation on the way in",
			up + "#@ nft\ntable ip n {\n chain in {\n type nat hook input priority 100\n snat to 198.51.100.1\n }\n}\n",
			"local\nnote no NAT rule on this machine and",
		},
		{
			"fixed ports alone",
			ipt("-A POSTROUTING -p udp --sport 5060 -j SNAT --to-source 198.51.100.1:5060"),
			"local\nnote fixed ports alone",
		},
		{
			"masquerade beside SNAT to the same address is one port space",
			ipt("-A POSTROUTING -s 10.1.0.0/16 -j SNAT --to-source 192.0.2.10\n-A POSTROUTING -o eth0 -j MASQUERADE"),
			"192.0.2.10 tcp 64512 udp 64512",
		},
		{
			"a prefix written as addresses",
			post("ip saddr 10.0.0.0/8 snat to 198.51.100.8/30"),
			"198.51.100.8,198.51.100.9,198.51.100.10,198.51.100.11 tcp 64512 udp 64512 each",
		},
		{
			"more VIPs than are listed",
			post("snat to 198.18.0.0-198.19.255.255"),
			"local\nnote unless one of model linux names its vips and port_range",
		},
		{
			"iptables-legacy beside nftables",
			up + "#@ legacy\n*nat\n-A POSTROUTING -o eth1 -p tcp -j MASQUERADE --to-ports 1024-2047\nCOMMIT\n" +
				"#@ nft\ntable ip n {\n chain post {\n type nat hook postrouting priority 100\n oifname \"eth0\" masquerade\n }\n}\n",
			"192.0.2.10 tcp 64512 udp 64512\n203.0.113.9 tcp 1024 udp 0",
		},
		{
			"an address written without conntrack",
			up + "#@ nft\ntable ip n {\n chain post {\n type filter hook postrouting priority 0\n ip saddr 10.0.0.1 ip saddr set 198.51.100.1\n }\n}\n",
			"local\nnote without conntrack, one for one",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			load(t, ns, tt.rules)
			checkAnswer(t, tt.want, budgetsOf(t, ns))
		})
	}
}
