package agent

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	handshakeDesc = prometheus.NewDesc("fairwayd_tunnel_handshake_timestamp_seconds",
		"When the last handshake with a host of an encrypted network was, 0 for never: there is none without traffic.", []string{"network", "node"}, nil)
	receivedDesc = prometheus.NewDesc("fairwayd_tunnel_received_bytes_total", "Received from a host of an encrypted network.", []string{"network", "node"}, nil)
	sentDesc     = prometheus.NewDesc("fairwayd_tunnel_sent_bytes_total", "Sent to a host of an encrypted network.", []string{"network", "node"}, nil)
	inKernelDesc = prometheus.NewDesc("fairwayd_tunnel_in_kernel", "1 where the kernel encrypts, 0 where fairwayd does.", nil, nil)
)

// collectTunnels tells of the peers of encrypted networks.
func (m *metrics) collectTunnels(all chan<- prometheus.Metric) {
	switch m.agent.devices.used() {
	case byKernel:
		all <- prometheus.MustNewConstMetric(inKernelDesc, prometheus.GaugeValue, 1)
	case byItself:
		all <- prometheus.MustNewConstMetric(inKernelDesc, prometheus.GaugeValue, 0)
	}
	for name, snap := range m.agent.cache.remembered() {
		if !snap.definition.Encrypted || !snap.member() {
			continue
		}
		device, err := m.agent.devices.Device(snap.network().Device())
		if err != nil {
			continue // it is being made, or health says why it is not
		}
		nodes := make(map[[32]byte]string, len(snap.hosts.Peers))
		for _, p := range snap.hosts.Peers {
			nodes[p.Key] = p.Node
		}
		for _, p := range device.Peers {
			node, known := nodes[p.PublicKey]
			if !known {
				continue // it is about to go
			}
			handshake := 0.0
			if !p.LastHandshakeTime.IsZero() {
				handshake = float64(p.LastHandshakeTime.UnixMilli()) / 1000
			}
			all <- prometheus.MustNewConstMetric(handshakeDesc, prometheus.GaugeValue, handshake, name, node)
			all <- prometheus.MustNewConstMetric(receivedDesc, prometheus.CounterValue, float64(p.ReceiveBytes), name, node)
			all <- prometheus.MustNewConstMetric(sentDesc, prometheus.CounterValue, float64(p.TransmitBytes), name, node)
		}
	}
}
