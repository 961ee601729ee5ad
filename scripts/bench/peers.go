package main

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/fairway-cni/fairway/pkg/overlay"
)

// hostAddress is that of a bed's host on its uplink, by which its peers would reach it.
const hostAddress = "192.0.2.2"

// overlayNetwork is the network of the overlay's rows: wide enough for a block of each of 16383 peers.
func overlayNetwork() overlay.Network {
	return overlay.Network{
		Name: networkName, VNI: 4096, Port: overlay.DefaultPort, Subnets: []netip.Prefix{netip.MustParsePrefix("10.64.0.0/10")},
	}
}

// overlayHosts is a host and its peers, each with one block.
func overlayHosts(peers int) (h overlay.Hosts) {
	h.Peers = append(h.Peers, overlay.Peer{VTEP: netip.MustParseAddr(hostAddress), Blocks: []netip.Prefix{overlayBlock(0)}})
	for i := 1; i <= peers; i++ {
		vtep := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}) // RFC 2544: for benchmarks
		h.Peers = append(h.Peers, overlay.Peer{VTEP: vtep, Blocks: []netip.Prefix{overlayBlock(i)}})
	}
	return h
}

// overlayBlock is the block of the host with a number.
func overlayBlock(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 64 + byte(i>>9), byte(i >> 1), byte(i & 1 << 7)}), 25)
}

// peersFile is where a bed with a data directory has the hosts of its network.
func peersFile(data string) string { return filepath.Join(filepath.Dir(data), "peers.json") }

// writePeers writes the document that a node agent would keep.
func writePeers(data string, c Case) error {
	network := overlayNetwork()
	if c.Encrypted {
		network.Encrypted, network.WireguardPort = true, overlay.DefaultWireguardPort
	}
	path := peersFile(data)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	hosts := overlayHosts(c.Peers)
	hosts.Self = hosts.Peers[0].VTEP // an agent says which the host is
	document := overlay.Document{Network: &network, Hosts: hosts, Revision: 1}
	if c.Agent {
		full := path + ".full"
		if err := os.WriteFile(full, document.Encode(), 0o600); err != nil {
			return err
		}
		document.Hosts.Peers, document.Partial, document.Full = hosts.Peers[:1], true, full
	}
	return os.WriteFile(path, document.Encode(), 0o600)
}
