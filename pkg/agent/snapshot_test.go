package agent

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/vtep"
)

// drawSnapshot is a network with some of 30 hosts, this one first, each with some blocks that no other has, and some pins.
func drawSnapshot(random *rand.Rand) snapshot {
	s := snapshot{definition: agentapi.Network{Name: "blue", VNI: 7, Subnets: []agentapi.Subnet{{Prefix: netip.MustParsePrefix("10.42.0.0/16"), BlockLength: 24}}}}
	blocks := random.Perm(100)
	for i := range 30 {
		if i > 0 && random.IntN(4) == 0 {
			continue
		}
		p := overlay.Peer{Node: fmt.Sprint("host", i), VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + i + 100*random.IntN(2))})}
		if i == 0 {
			p.VTEP = netip.AddrFrom4([4]byte{192, 0, 2, 10})
		}
		for range random.IntN(3) {
			p.Blocks = append(p.Blocks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(blocks[0])}), 24))
			blocks = blocks[1:]
		}
		s.hosts.Peers = append(s.hosts.Peers, p)
	}
	s.hosts.Self = s.hosts.Peers[0].VTEP
	for i := range random.IntN(3) {
		at := s.hosts.Peers[random.IntN(len(s.hosts.Peers))].VTEP
		s.hosts.Pins = append(s.hosts.Pins, overlay.Pin{Address: netip.AddrFrom4([4]byte{10, 42, 200, byte(i)}), VTEP: at})
	}
	return s
}

// entriesOf is what the kernel is to have of a network, each as a text.
func entriesOf(s snapshot) map[string]bool {
	o, all := vtep.Declare(s.network(), s.hosts, s.own(), 1500), make(map[string]bool)
	for _, source := range o.Filter.Sources {
		all[fmt.Sprint("source ", source)] = true
	}
	for _, prefix := range o.Peers.Unreachable {
		all[fmt.Sprint("unreachable ", prefix)] = true
	}
	for _, p := range o.Peers.Peers {
		all[fmt.Sprint("forwarding ", p.MAC, " ", p.VTEP)] = true
		for _, prefix := range p.Prefixes {
			all[fmt.Sprint("route ", prefix, " ", p.MAC)] = true
		}
	}
	return all
}

func lessOf(a, b map[string]bool) map[string]bool {
	less := maps.Clone(a)
	maps.DeleteFunc(less, func(entry string, _ bool) bool { return b[entry] })
	return less
}

// What differs between two snapshots is the same by the peers that differ alone, which are few where few have changed.
func TestDiffering(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		before, after := drawSnapshot(random), drawSnapshot(random)
		if changed := random.IntN(3); changed < 2 { // one peer changed, or the pins
			after = before
			after.hosts.Peers = append([]overlay.Peer(nil), before.hosts.Peers...)
			i := 1 + random.IntN(len(after.hosts.Peers)-1)
			if changed == 0 {
				after.hosts.Peers[i].Blocks = nil
			} else {
				after.hosts.Peers[i].VTEP = netip.AddrFrom4([4]byte{192, 0, 2, 250})
				for j, pin := range after.hosts.Pins {
					if pin.VTEP == before.hosts.Peers[i].VTEP {
						after.hosts.Pins = append([]overlay.Pin(nil), after.hosts.Pins...)
						after.hosts.Pins[j].VTEP = after.hosts.Peers[i].VTEP
					}
				}
			}
			if was, now := before.differing(after); len(before.hosts.Pins) == 0 && len(was.hosts.Peers)+len(now.hosts.Peers) > 4 {
				t.Fatalf("seed %d: %d and %d peers differ", seed, len(was.hosts.Peers), len(now.hosts.Peers))
			}
		}
		was, now := before.differing(after)
		for _, pair := range [][2]map[string]bool{
			{lessOf(entriesOf(before), entriesOf(after)), lessOf(entriesOf(was), entriesOf(now))},
			{lessOf(entriesOf(after), entriesOf(before)), lessOf(entriesOf(now), entriesOf(was))},
		} {
			if !maps.Equal(pair[0], pair[1]) {
				t.Fatalf("seed %d: %v differs, and by the peers that differ %v", seed, pair[0], pair[1])
			}
		}
	}
}
