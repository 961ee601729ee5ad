package agent

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the agent's, for Prometheus.
type metrics struct {
	registry *prometheus.Registry
	passes   prometheus.Histogram
	repairs  prometheus.Counter
	agent    *Agent
}

var (
	connectedDesc = prometheus.NewDesc("fairwayd_etcd_connected", "1 while etcd's changes are followed.", nil, nil)
	revisionDesc  = prometheus.NewDesc("fairwayd_etcd_revision", "The last revision of etcd that was seen.", nil, nil)
	problemsDesc  = prometheus.NewDesc("fairwayd_problems", "Problems that /v1/health tells.", nil, nil)
	peersDesc     = prometheus.NewDesc("fairwayd_peers", "Other hosts of a network.", []string{"network"}, nil)
	blocksDesc    = prometheus.NewDesc("fairwayd_blocks", "Blocks of a network that this host owns.", []string{"network"}, nil)
	confirmedDesc = prometheus.NewDesc("fairwayd_heartbeat_age_seconds", "Since this host's heartbeat was renewed.", nil, nil)
	memberDesc    = prometheus.NewDesc("fairwayd_member", "1 while this host is a member of a network.", []string{"network"}, nil)
	addressesDesc = prometheus.NewDesc("fairwayd_addresses", "Addresses of a network that containers of this host have.", []string{"network"}, nil)
)

func newMetrics(a *Agent) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), agent: a,
		passes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "fairwayd_reconcile_seconds", Help: "How long comparing files and kernel with what is known took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		repairs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fairwayd_changes_total", Help: "How often the kernel had to be brought in line for a network.",
		}),
	}
	m.registry.MustRegister(m.passes, m.repairs, m, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if carried := a.config.Carried; carried != nil {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fairwayd_fast_path_packets_total", Help: "Packets of containers that passed by the fast path.",
		}, func() float64 { return float64(carried()) }))
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectedDesc, revisionDesc, problemsDesc, peersDesc, blocksDesc, addressesDesc, confirmedDesc, memberDesc,
		handshakeDesc, receivedDesc, sentDesc, inKernelDesc} {
		all <- d
	}
}

// Collect implements prometheus.Collector: the values are read when they are asked for.
func (m *metrics) Collect(all chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		all <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	health, connected := m.agent.health(""), 0
	if health.Etcd.Connected {
		connected = 1
	}
	gauge(connectedDesc, connected)
	gauge(revisionDesc, int(health.Etcd.Revision))
	gauge(problemsDesc, len(health.Problems))
	if !health.Confirmed.IsZero() {
		gauge(confirmedDesc, int(time.Since(health.Confirmed).Seconds()))
	}
	m.collectTunnels(all)
	for name, snap := range m.agent.cache.remembered() {
		gauge(peersDesc, max(0, len(snap.hosts.Peers)-1), name)
		gauge(blocksDesc, len(snap.own().Blocks), name)
		member := 0
		if snap.member() {
			member = 1
		}
		gauge(memberDesc, member, name)
		gauge(addressesDesc, len(m.agent.cache.reservedIn(name)), name)
	}
}
