package plan

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// commands are what to type for a budget with its numbers filled in; names in capitals are the reader's. Flags are
// those of Azure CLI 2.7x, AWS CLI 2, Google Cloud CLI and nftables 1.0.
func commands(b *budget.Budget) []string {
	n := b.VIPCount
	switch b.Model {
	case "azure-lb", "azure-lb-2018":
		return []string{
			"az network public-ip create --resource-group GROUP --name VIP-NEW --sku Standard",
			"az network lb frontend-ip create --resource-group GROUP --lb-name LB --name FRONTEND-NEW " +
				"--public-ip-address VIP-NEW",
			fmt.Sprintf("az network lb outbound-rule update --resource-group GROUP --lb-name LB --name RULE "+
				"--frontend-ip-configs %s", list("FRONTEND", n)),
			fmt.Sprintf("on AKS: az aks update --resource-group GROUP --name CLUSTER "+
				"--load-balancer-managed-outbound-ip-count %d", n),
		}
	case "azure-lb-manual":
		return []string{
			fmt.Sprintf("az network lb outbound-rule update --resource-group GROUP --lb-name LB --name RULE "+
				"--outbound-ports %d --frontend-ip-configs %s", b.Params.Ports, list("FRONTEND", n)),
			fmt.Sprintf("on AKS: az aks update --resource-group GROUP --name CLUSTER "+
				"--load-balancer-outbound-ports %d --load-balancer-managed-outbound-ip-count %d", b.Params.Ports, n),
		}
	case "azure-nat-gateway":
		return []string{
			fmt.Sprintf("az network nat gateway create --resource-group GROUP --name NAT "+
				"--public-ip-addresses %s --idle-timeout 4", list("VIP", n)),
			"az network vnet subnet update --resource-group GROUP --vnet-name VNET --name SUBNET --nat-gateway NAT",
		}
	case "azure-firewall":
		return []string{fmt.Sprintf("az network firewall ip-config create --resource-group GROUP "+
			"--firewall-name FIREWALL --name CONFIG-NEW --public-ip-address VIP-NEW   # until it has %s", vips(n))}
	case "aws-nat-gateway", "aws-nat-gateway-regional":
		return []string{
			"aws ec2 allocate-address --domain vpc",
			fmt.Sprintf("aws ec2 associate-nat-gateway-address --nat-gateway-id nat-ID --allocation-ids "+
				"eipalloc-ID   # until it has %s", vips(n)),
		}
	case "gcp-nat-static":
		return []string{fmt.Sprintf("gcloud compute routers nats update NAT --router=ROUTER --region=REGION "+
			"--no-enable-dynamic-port-allocation --min-ports-per-vm=%d "+
			"--nat-external-ip-pool=%s", b.TCP.Ports, commaList("VIP", n))}
	case "gcp-nat-dynamic":
		return []string{fmt.Sprintf("gcloud compute routers nats update NAT --router=ROUTER --region=REGION "+
			"--enable-dynamic-port-allocation --max-ports-per-vm=%d "+
			"--nat-external-ip-pool=%s", b.TCP.Ports, commaList("VIP", n))}
	case "linux":
		return []string{fmt.Sprintf("nft add rule ip nat postrouting meta l4proto tcp counter snat to numgen "+
			"inc mod %d map %s   # each attempt takes the next VIP; snat to a range would not", n, vipMap(n))}
	}
	return nil
}

// list is "VIP1 VIP2 …", commaList the same with commas.
func list(name string, n int) string { return join(name, n, " ") }

func commaList(name string, n int) string { return join(name, n, ",") }

func join(name string, n int, between string) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(name, i+1)
	}
	return strings.Join(names, between)
}

// vipMap is an nftables map from a number to each VIP.
func vipMap(n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprintf("%d : VIP%d", i, i+1)
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}
