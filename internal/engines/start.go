package engines

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// Prometheus starts one and returns its address and its folder of data below the lab's.
func (l *Lab) Prometheus(name, program, config string, args ...string) (url string, p *Program) {
	l.tb.Helper()
	address := l.Free()
	file := l.Put(name+"/prometheus.yml", config)
	p = l.Start(name, program, "http://"+address+"/-/ready", append([]string{
		"--config.file=" + file, "--storage.tsdb.path=" + l.Path(name, "data"), "--web.listen-address=" + address,
	}, args...)...)
	return "http://" + address, p
}

// VictoriaMetrics starts a single one, which takes samples of two scrapers that are less than dedup apart for one.
func (l *Lab) VictoriaMetrics(dedup string) (url string, p *Program) {
	l.tb.Helper()
	address := l.Free()
	p = l.Start("victoria-metrics", "victoria-metrics", "http://"+address+"/health", "-httpListenAddr="+address,
		"-storageDataPath="+l.Path("victoria", "data"), "-search.latencyOffset=0s", "-retentionPeriod=100d",
		"-memory.allowedBytes=256MB", "-dedup.minScrapeInterval="+dedup)
	return "http://" + address, p
}

// VictoriaCluster starts the cluster of VictoriaMetrics, with two storages and each series on one of them, which takes
// samples of two scrapers that are less than dedup apart for one. It returns the addresses of Prometheus' API and of
// remote write.
func (l *Lab) VictoriaCluster(dedup string) (url, write string, all []*Program) {
	l.tb.Helper()
	var inserts, selects []string
	for n := range 2 {
		name, http, insert, ask := fmt.Sprintf("vmstorage-%d", n), l.Free(), l.Free(), l.Free()
		all = append(all, l.Start(name, "vmstorage", "http://"+http+"/health", "-httpListenAddr="+http,
			"-storageDataPath="+l.Path(name), "-vminsertAddr="+insert, "-vmselectAddr="+ask, "-retentionPeriod=100d",
			"-memory.allowedBytes=256MB", "-dedup.minScrapeInterval="+dedup))
		inserts, selects = append(inserts, insert), append(selects, ask)
	}
	into, from := l.Free(), l.Free()
	all = append(all, l.Start("vminsert", "vminsert", "http://"+into+"/health", "-httpListenAddr="+into,
		"-storageNode="+strings.Join(inserts, ",")))
	all = append(all, l.Start("vmselect", "vmselect", "http://"+from+"/health", "-httpListenAddr="+from,
		"-storageNode="+strings.Join(selects, ","), "-search.latencyOffset=0s", "-cacheDataPath="+l.Path("vmselect"),
		"-memory.allowedBytes=256MB", "-dedup.minScrapeInterval="+dedup))
	return "http://" + from + "/select/0/prometheus", "http://" + into + "/insert/0/prometheus/api/v1/write", all
}

// Sidecar starts Thanos' sidecar beside a Prometheus whose folder is below the lab's, and returns its address for a
// querier.
func (l *Lab) Sidecar(name, prometheus string) (grpc string) {
	l.tb.Helper()
	http, grpc := l.Free(), l.Free()
	l.Start(name+"-sidecar", "thanos", "http://"+http+"/-/ready", "sidecar", "--prometheus.url="+prometheus,
		"--tsdb.path="+l.Path(name, "data"), "--http-address="+http, "--grpc-address="+grpc)
	return grpc
}

// Querier starts Thanos' querier over addresses that answer it, and takes what differs in replicas alone for one.
func (l *Lab) Querier(replicas []string, stores ...string) (url string, p *Program) {
	l.tb.Helper()
	http, grpc := l.Free(), l.Free()
	args := []string{"query", "--http-address=" + http, "--grpc-address=" + grpc}
	for _, r := range replicas {
		args = append(args, "--query.replica-label="+r)
	}
	for _, s := range stores {
		args = append(args, "--endpoint="+s)
	}
	p = l.Start("querier", "thanos", "http://"+http+"/-/ready", args...)
	return "http://" + http, p
}

// Cortex starts one as a single program that keeps one tenant, evaluates the rule files of a folder every interval and
// sends alerts. It returns the addresses of Prometheus' API and of remote write.
func (l *Lab) Cortex(ruleFolder, interval, alertmanager string) (url, write string, p *Program) {
	l.tb.Helper()
	http, grpc := l.Free(), l.Free()
	host, port, _ := net.SplitHostPort(http)
	_, grpcPort, _ := net.SplitHostPort(grpc)
	config := strings.NewReplacer("DIR", l.Path("cortex"), "HTTP", port, "GRPC", grpcPort, "HOST", host,
		"RULES", ruleFolder,
		"EVERY", interval, "ALERTS", alertmanager).Replace(cortexConfig)
	if err := os.MkdirAll(l.Path("cortex", "alertmanagers"), 0o700); err != nil {
		l.tb.Fatal(err)
	}
	p = l.Start("cortex", "cortex", "http://"+http+"/ready", "-config.file="+l.Put("cortex.yml", config))
	return fmt.Sprintf("http://%s/prometheus", http), fmt.Sprintf("http://%s/api/v1/push", http), p
}

const cortexConfig = `target: all
auth_enabled: false
server: {http_listen_address: HOST, http_listen_port: HTTP, grpc_listen_address: HOST, grpc_listen_port: GRPC, log_level: warn}
distributor: {shard_by_all_labels: true, ring: {instance_addr: HOST, kvstore: {store: inmemory}}}
ingester:
  lifecycler:
    address: HOST
    join_after: 0s
    min_ready_duration: 0s
    final_sleep: 0s
    num_tokens: 16
    ring: {kvstore: {store: inmemory}, replication_factor: 1}
blocks_storage:
  backend: filesystem
  filesystem: {dir: DIR/blocks}
  tsdb: {dir: DIR/tsdb}
  bucket_store: {sync_dir: DIR/sync}
compactor: {data_dir: DIR/compactor, sharding_ring: {instance_addr: HOST, kvstore: {store: inmemory}}}
store_gateway: {sharding_ring: {instance_addr: HOST, kvstore: {store: inmemory}}}
frontend_worker: {match_max_concurrent: true}
ruler:
  evaluation_interval: EVERY
  poll_interval: EVERY
  rule_path: DIR/rules
  alertmanager_url: ALERTS
  ring: {instance_addr: HOST, kvstore: {store: inmemory}}
ruler_storage: {backend: local, local: {directory: RULES}}
alertmanager: {external_url: "http://HOST:HTTP/alertmanager", data_dir: DIR/alertmanager, cluster: {listen_address: ""}}
alertmanager_storage: {backend: local, local: {path: DIR/alertmanagers}}
`
