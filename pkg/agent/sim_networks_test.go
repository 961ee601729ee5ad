package agent

import (
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// Steps of the simulation that are about networks which are made again, and hosts that are copied or upgraded.

// vnis are those of the networks that the store has.
func (w *world) vnis() map[string]uint32 {
	all := make(map[string]uint32)
	for key, text := range w.etcd.Keys("/fairway/v1/networks/") {
		var n agentapi.Network
		if json.Unmarshal([]byte(text), &n) == nil {
			all[strings.TrimPrefix(key, "/fairway/v1/networks/")] = n.VNI
		}
	}
	return all
}

// subnets are those that a network is made with by turns.
func subnets(name string) []netip.Prefix {
	n := simNetwork(name).Subnets[0].Prefix
	addr := n.Addr().As4()
	addr[1] += 100
	return []netip.Prefix{n, netip.PrefixFrom(netip.AddrFrom4(addr), n.Bits())}
}

// unmake deletes a network, unless it is in use. Who hears of it takes it away.
func (w *world) unmake(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	delete(w.networks, name) // also when the answer is lost
	w.say("network %s deleted: %v", name, registry.New(w.etcd.Client(78)).Delete(ctx, name))
}

// makeAgain makes a network that was deleted, by turns with another subnet.
func (w *world) makeAgain(name string) {
	if w.vnis()[name] != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	n := simNetwork(name)
	n.Subnets[0].Prefix = subnets(name)[w.random.IntN(2)]
	_, err := registry.New(w.etcd.Client(79)).Create(ctx, n)
	w.say("network %s made again with %s: %v", name, n.Subnets[0].Prefix, err)
}

// removeLeftOver removes containers of networks that were deleted, or that others of their names have replaced, as health asks for.
func (w *world) removeLeftOver() {
	vnis, some := w.vnis(), w.attachAnew(true)
	for _, h := range w.hosts {
		for network, addrs := range h.containers {
			for addr, vni := range maps.Clone(addrs) {
				if vni != vnis[network] {
					w.say("%s: %s of a former network %s removed", h.node, addr, network)
					h.del(network, addr)
					some = true
				}
			}
		}
	}
	if some {
		time.Sleep(5 * time.Minute)
	}
}

// checkOffers: each host offers what the store has, when all is well.
func (w *world) checkOffers(keys map[string]string) {
	w.t.Helper()
	vnis := w.vnis()
	for _, h := range w.hosts {
		offers := make(map[string]uint32)
		for name, n := range h.offered {
			offers[name] = n.VNI
		}
		if !maps.Equal(offers, vnis) {
			w.fail("%s offers %v, and the store has %v", h.node, offers, vnis)
		}
	}
	for _, name := range simNetworks {
		w.networks[name] = vnis[name] != 0
	}
	maps.DeleteFunc(w.networks, func(_ string, is bool) bool { return !is })
	// What belongs to no network is of one that was deleted.
	for key := range keys {
		if rest, ok := strings.CutPrefix(key, "/fairway/v1/net/"); ok {
			if name, _, _ := strings.Cut(rest, "/"); vnis[name] == 0 {
				w.fail("%s is left of a network that is not there", key)
			}
		}
	}
}

var visitorVTEP = netip.AddrFrom4([4]byte{192, 0, 2, 60})

// visitOfClone is a copy of a host's disk on another machine, for a while, beside the host itself, which may have its agent stopped, but not
// have moved meanwhile: then a machine ID that was copied too does not tell it from a host that was started again.
func (w *world) visitOfClone(h *simHost) {
	alive := h.agent != nil && !h.cut && h.agent.cache.connected() && w.etcd.Keys("/fairway/v1/alive/")["/fairway/v1/alive/"+h.node] == h.bootID()
	record := w.etcd.Keys("/fairway/v1/nodes/")["/fairway/v1/nodes/"+h.node]
	owns := slices.Contains(slices.Collect(maps.Values(w.etcd.Keys("/fairway/v1/net/"))), h.node) // or its name is free after the hold
	if h.former != nil || h.without || !alive && (h.agent != nil || !owns || !strings.Contains(record, `"`+h.vtep.String()+`"`) || h.who.Address != h.vtep) {
		return
	}
	clone := w.newHost(h.node, 50+len(w.steps), w.random.Uint64())
	clone.vtep = visitorVTEP
	h.mu.Lock()
	clone.disk, clone.small, clone.who, clone.fence = maps.Clone(h.disk), maps.Clone(h.small), h.who, h.fence
	h.mu.Unlock()
	clone.hostname, clone.visitor = h.node, true
	switch w.random.IntN(3) {
	case 0:
		clone.machine = h.machine
	case 1:
		clone.hostname = "another"
	}
	w.say("%s: cloned to %s, machine ID %s", h.node, clone.hostname, clone.machine)
	w.mu.Lock()
	w.hosts = append(w.hosts, clone)
	w.mu.Unlock()
	clone.up()
	time.Sleep(time.Minute)
	for _, network := range simNetworks {
		addr, ok := clone.add(network)
		w.say("clone: add to %s: %v %v", network, addr, ok)
		if ok && clone.node == h.node {
			w.fail("a clone got an address under the name of the host that is alive")
		}
	}
	w.check()
	for network, addrs := range clone.containers {
		for addr := range maps.Clone(addrs) {
			clone.del(network, addr)
		}
	}
	clone.down()
	if clone.node != h.node { // as by fairway overlay forget
		for key, value := range w.etcd.Keys("/fairway/v1/") {
			if value == clone.node || strings.HasSuffix(key, "/"+clone.node) {
				w.etcd.Delete(key)
			}
		}
	}
	w.mu.Lock()
	w.hosts = slices.DeleteFunc(slices.Clone(w.hosts), func(h *simHost) bool { return h == clone })
	w.mu.Unlock()
	w.moved[h.node] = time.Now() // the clone may have been taken for it
}

// upgrade runs an agent of this release where one of the former ran.
func (h *simHost) upgrade() {
	if h.former == nil {
		return
	}
	h.world.say("%s: upgraded", h.node)
	h.down()
	h.former = nil
	h.up()
}
