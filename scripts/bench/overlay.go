package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/fairway-cni/fairway/pkg/overlay"
)

const (
	somePeers = 1_000
	manyPeers = 5_000
	mostPeers = 20_000
)

// ofOverlay is the second table.
func (b bench) ofOverlay() (list []measurement) {
	for _, p := range programmings() {
		list = append(list, measurement{p.Name, func(ctx context.Context) ([]Row, error) { return b.program(ctx, p) }})
	}
	for _, g := range overlayGrowths() {
		list = append(list, measurement{g.Over.Name, func(ctx context.Context) ([]Row, error) {
			alone, among := b.ours, b.ours
			alone.name, among.name = "alone", "among-peers"
			return b.measure(ctx, entrant{alone, g.Base}, entrant{among, g.Over})
		}})
	}
	return append(list, measurement{streamName, b.streams}, measurement{packetsName, b.packets},
		measurement{encryptedName, b.encryptedInProcess}, measurement{kernelName, b.encryptedByKernel})
}

// overlayGrowth is what an attachment costs on a host with many peers, held against one that has none.
type overlayGrowth struct{ Base, Over Case }

func overlayGrowths() []overlayGrowth {
	file := `"peersFile": "$PEERS"`
	agent := func(int) string { return file + agentKey }
	all := []overlayGrowth{
		grown("peers in a file", somePeers, func(int) string { return file }),
		grown("peers in the conflist", somePeers, func(peers int) string { return `"peers": ` + listed(overlayHosts(peers)) }),
		{
			Base: Case{Plugin: overlayPlugin(file + agentKey)},
			Over: Case{
				Name: "encrypted, with an agent", Plugin: fmt.Sprintf(`{"type": "overlay-vxlan", "encrypted": true, %s, "ipam": {"dataDir": "$DATA"}}`, file+agentKey),
				Encrypted: true, Add: atMost(1.1), Del: atMost(1.1),
			},
		},
	}
	for _, peers := range []int{somePeers, mostPeers} {
		g := grown("peers, with an agent", peers, agent)
		g.Base.Agent, g.Over.Agent, g.Over.Add = true, true, atMost(1.1)
		all = append(all, g)
	}
	return all
}

const agentKey = `, "agent": "/run/fairway/fairwayd.sock"`

// grown is the same network with and without peers, told by the keys that hosts gives for their number.
func grown(name string, most int, hosts func(peers int) string) overlayGrowth {
	of := func(peers int) Case {
		return Case{
			Name: fmt.Sprintf("%d %s", peers, name), Peers: peers, Plugin: overlayPlugin(hosts(peers)),
			Add: atMost(1.3), Del: atMost(1.3),
		}
	}
	return overlayGrowth{Base: of(0), Over: of(most)}
}

func overlayPlugin(hosts string) string {
	n := overlayNetwork()
	return fmt.Sprintf(`{"type": "overlay-vxlan", "vni": %d, "subnet": %q, %s, "ipam": {"dataDir": "$DATA"}}`, n.VNI, n.Subnets[0], hosts)
}

// listed is the hosts as a conflist has them.
func listed(h overlay.Hosts) string {
	var document struct{ Peers json.RawMessage }
	if err := json.Unmarshal(overlay.Document{Hosts: h}.Encode(), &document); err != nil {
		panic(err) // it has just been encoded
	}
	return string(document.Peers)
}
