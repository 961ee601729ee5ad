package agent

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// check holds the invariants that hold at any moment.
func (w *world) check() {
	w.t.Helper()
	w.attachAnew(false)
	holders := make(map[string]string)
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range addrs {
				key := fmt.Sprint(network, " ", vni, " ", addr)
				if other, twice := holders[key]; twice {
					w.fail("%s: containers on %s and %s", key, other, h.node)
				}
				holders[key] = h.node
			}
		}
	}
	w.checkBlocks()
	w.checkTraffic()
	w.checkNames()
	for network := range w.networks {
		for _, h := range w.hosts {
			if _, ok := h.offered[network]; !ok && !h.visitor {
				w.fail("%s: network %s is not offered any more", h.node, network)
			}
		}
	}
}

// attachAnew removes containers of blocks that were given to others because nobody could know of them. Only members know who has which
// block of a network (docs/design.md, Membership): when no agent that knows runs after the store has lost a block, it is free when the
// store has settled, and health of the host that had it asks for its containers to be attached anew.
func (w *world) attachAnew(settled bool) (some bool) {
	blocks, vnis := w.etcd.Keys("/fairway/v1/net/"), w.vnis()
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range addrs {
				if vni != vnis[network] {
					continue
				}
				block, _ := addr.Prefix(29)
				key := "/fairway/v1/net/" + network + "/blocks/" + block.String()
				owner := blocks[key]
				switch {
				case owner == h.node:
					delete(w.forgotten, h.node+key)
				case !slices.ContainsFunc(w.hosts, func(by *simHost) bool { return by.knows(network, block, h) }):
					w.forgotten[h.node+key] = true
				}
				_, pinned := blocks["/fairway/v1/net/"+network+"/pins/"+addr.String()]
				if (owner != "" || settled && !pinned) && owner != h.node && w.forgotten[h.node+key] {
					w.say("%s: %s of %s was forgotten by all", h.node, addr, network)
					h.del(network, addr)
					some = true
				}
			}
		}
	}
	return some
}

// checkBlocks: no block with a living container is another's. What a backup says of owners is not believed before they say so again.
func (w *world) checkBlocks() {
	w.t.Helper()
	blocks, vnis := w.etcd.Keys("/fairway/v1/net/"), w.vnis()
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range addrs {
				block, _ := addr.Prefix(29)
				if now := vnis[network]; now != 0 && vni != now {
					continue // a former network of the name
				}
				key := "/fairway/v1/net/" + network + "/blocks/" + block.String()
				if owner, ok := blocks[key]; ok && owner != h.node && !w.etcd.Restored(key) {
					w.fail("%s: container %s of %s lies in %s, which is %s's", h.node, addr, network, block, owner)
				}
			}
		}
	}
}

// checkTraffic: who once reached a container reaches it, whatever happens to etcd.
func (w *world) checkTraffic() {
	w.t.Helper()
	seen := make(map[[2]string]bool)
	for _, from := range w.hosts {
		for _, to := range w.hosts {
			if from == to || time.Since(w.moved[to.node]) < time.Hour || time.Since(w.moved[from.node]) < time.Hour {
				continue
			}
			for network, addrs := range to.containers {
				for addr, vni := range addrs {
					if !slices.Contains(slices.Collect(maps.Values(from.containers[network])), vni) {
						continue
					}
					pair := [2]string{fmt.Sprint(from.serial, "#", from.boot), fmt.Sprint(to.serial, " ", network, " ", vni, " ", addr)}
					seen[pair] = true
					routes := slices.Contains(from.programmed[network].hosts.Pins, overlay.Pin{Address: addr, VTEP: to.vtep}) || slices.ContainsFunc(from.programmed[network].hosts.Peers, func(p overlay.Peer) bool {
						return p.VTEP == to.vtep && slices.ContainsFunc(p.Blocks, func(b netip.Prefix) bool { return b.Contains(addr) })
					})
					if w.routed[pair] && !routes {
						w.fail("%s reached container %s of %s on %s, and does not any more: %+v", from.node, addr, network, to.node, from.programmed[network].hosts)
					}
					w.routed[pair] = routes
				}
			}
		}
	}
	maps.DeleteFunc(w.routed, func(pair [2]string, _ bool) bool { return !seen[pair] })
}

// checkSettled holds what is true when nothing has been wrong for a while.
func (w *world) checkSettled() {
	w.t.Helper()
	keys := w.etcd.Keys("/fairway/v1/")
	w.checkOffers(keys)
	for _, h := range w.hosts {
		if h.former != nil {
			continue
		}
		health := h.agent.health("")
		if !health.Healthy {
			s, ok := h.agent.cache.state()
			w.fail("%s is not healthy: %q\nstate %v of %v, joined %v, lost %v, unsettled %v, had %v, %+v", h.node, health.Problems, ok, s.Cluster.Epoch,
				h.agent.cache.joined, h.agent.cache.lost, h.agent.cache.unsettled, h.agent.cache.blocks, describeNetworks(s))
		}
		for network, addrs := range h.containers {
			for addr := range addrs {
				block, _ := addr.Prefix(29)
				pin := keys["/fairway/v1/net/"+network+"/pins/"+addr.String()]
				if owner := keys["/fairway/v1/net/"+network+"/blocks/"+block.String()]; owner != h.node && !strings.Contains(pin, `"`+h.node+`"`) {
					w.fail("%s is healthy, and block %s of its container in %s is owned by %q", h.node, block, network, owner)
				}
			}
			if len(addrs) > 0 {
				w.checkPeers(h, network, keys)
				w.checkNamesSettled(h, network)
			}
		}
	}
}

// checkNames: a name is answered with its container's address or not at all, whatever else is published.
func (w *world) checkNames() {
	w.t.Helper()
	for _, of := range w.hosts {
		for _, r := range of.called {
			for _, h := range w.hosts {
				if h.agent == nil {
					continue
				}
				if got, _ := h.index.LookupIn(r.Owner.Network, r.Names[0]); len(got) > 0 && !slices.Equal(got, r.Addresses) {
					w.fail("%s: %s of %s is at %v, not %v", h.node, r.Names[0], r.Owner.Network, got, r.Addresses)
				}
			}
		}
	}
}

// checkNamesSettled: a member knows all containers of all hosts, and none that has gone.
func (w *world) checkNamesSettled(h *simHost, network string) {
	w.t.Helper()
	var want []netip.Addr
	for _, other := range w.hosts {
		for _, r := range other.called {
			if r.Owner.Network != network || other.former != nil { // which publishes none
				continue
			}
			want = append(want, r.Addresses...)
			if got, _ := h.index.LookupIn(network, r.Names[0]); !slices.Equal(got, r.Addresses) {
				w.fail("%s: %s of %s on %s is at %v, want %v", h.node, r.Names[0], network, other.node, got, r.Addresses)
			}
		}
	}
	got, _ := h.index.LookupIn(network, "all")
	slices.SortFunc(got, netip.Addr.Compare)
	slices.SortFunc(want, netip.Addr.Compare)
	if !slices.Equal(got, want) {
		w.fail("%s: containers of %s are at %v, want %v", h.node, network, got, want)
	}
}

func describeNetworks(s registry.State) (text string) {
	for name, n := range s.Networks {
		text += fmt.Sprintf("%s: %+v\n", name, *n)
	}
	return text
}

// checkPeers: a member has the way to all others.
func (w *world) checkPeers(h *simHost, network string, keys map[string]string) {
	w.t.Helper()
	want := make(map[netip.Prefix]netip.Addr)
	for _, other := range w.hosts {
		for key, owner := range keys {
			if text, ok := strings.CutPrefix(key, "/fairway/v1/net/"+network+"/blocks/"); ok && owner == other.node && other != h {
				want[netip.MustParsePrefix(text)] = other.vtep
			}
		}
	}
	got := make(map[netip.Prefix]netip.Addr)
	for _, p := range h.programmed[network].hosts.Peers {
		if p.Node != h.node {
			for _, b := range p.Blocks {
				owner := keys["/fairway/v1/net/"+network+"/blocks/"+b.String()]
				if slices.ContainsFunc(w.hosts, func(h *simHost) bool { return h.node == owner }) { // another name stays until it is reclaimed
					got[b] = p.VTEP
				}
			}
		}
	}
	if !maps.Equal(want, got) {
		w.fail("%s: network %s leads to %v, want %v", h.node, network, got, want)
	}
}
