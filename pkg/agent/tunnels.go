package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

var (
	handshakeDesc = prometheus.NewDesc("fairwayd_tunnel_handshake_timestamp_seconds",
		"When the last handshake with a host of an encrypted network was, 0 for never: there is none without traffic.", []string{"network", "node"}, nil)
	receivedDesc = prometheus.NewDesc("fairwayd_tunnel_received_bytes_total", "Received from a host of an encrypted network.", []string{"network", "node"}, nil)
	sentDesc     = prometheus.NewDesc("fairwayd_tunnel_sent_bytes_total", "Sent to a host of an encrypted network.", []string{"network", "node"}, nil)
	downDesc     = prometheus.NewDesc("fairwayd_tunnel_down", "1 where a host of an encrypted network does not answer what is sent to it.", []string{"network", "node"}, nil)
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
	now := time.Now()
	for _, t := range m.agent.tunnelPeers() {
		handshake, isDown := 0.0, 0.0
		if !t.LastHandshakeTime.IsZero() {
			handshake = float64(t.LastHandshakeTime.UnixMilli()) / 1000
		}
		if m.agent.reachOf(t, now) == down {
			isDown = 1
		}
		all <- prometheus.MustNewConstMetric(handshakeDesc, prometheus.GaugeValue, handshake, t.network, t.node)
		all <- prometheus.MustNewConstMetric(downDesc, prometheus.GaugeValue, isDown, t.network, t.node)
		all <- prometheus.MustNewConstMetric(receivedDesc, prometheus.CounterValue, float64(t.ReceiveBytes), t.network, t.node)
		all <- prometheus.MustNewConstMetric(sentDesc, prometheus.CounterValue, float64(t.TransmitBytes), t.network, t.node)
	}
}

// tunnelPeer is a host of an encrypted network as the first device has it.
type tunnelPeer struct {
	network, node string
	wgtypes.Peer
}

// tunnelPeers are those of all networks.
func (a *Agent) tunnelPeers() (list []tunnelPeer) {
	for name, snap := range a.cache.remembered() {
		if !snap.definition.Encrypted || !snap.member() {
			continue
		}
		device, err := a.devices.Device(snap.network().Device())
		if err != nil {
			continue // it is being made, or health says why it is not
		}
		nodes := make(map[wgtypes.Key]string, len(snap.hosts.Peers))
		for _, p := range snap.hosts.Peers {
			nodes[wgtypes.Key(p.Key)] = p.Node
		}
		for _, p := range device.Peers {
			if node, known := nodes[p.PublicKey]; known { // else it is about to go
				list = append(list, tunnelPeer{name, node, p})
			}
		}
	}
	return list
}
