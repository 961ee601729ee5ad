package vtep

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/state/wireguard"
)

// keys are a host's, or what is published of them: one stands for the private and the public key.
type keys struct{ first, next overlay.Key }

func (k keys) returning() bool { return k.first == k.next }

// device is one end of a tunnel between two hosts.
type device struct {
	there     bool
	key, peer overlay.Key
	// session says that it has the keys of the last handshake, and met that the agent has seen it.
	session, met bool
}

// host is one of two in a rotation: what it has, what it has told, and what it has done so far.
type host struct {
	keys, told, heard keys
	devices           [2]device // the first, and the spare one
	spare             bool      // its route leads through the spare device
	// programmed are the keys that devices and routes are in line with.
	programmed, programmedPeer keys
	// half says that the devices are in line, and the routes not yet, nor is what is left taken away.
	half         bool
	way, without bool
	begun        bool
}

type world [2]host

func (w world) peer(i int, k keys, bySpare bool) overlay.Peer {
	return overlay.Peer{
		VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Key: k.first, NextKey: k.next, Spare: bySpare,
		Blocks: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 42, byte(i), 0}), 26)},
	}
}

// mutual says whether both ends of a device know each other.
func (w world) mutual(d int) bool {
	a, b := w[0].devices[d], w[1].devices[d]
	return a.there && b.there && a.key == b.peer && b.key == a.peer
}

// arrives says whether what a host sends now is accepted by the other: by the keys of a session that both have, or of one that it begins.
func (w world) arrives(i int) bool {
	d := 0
	if w[i].spare {
		d = 1
	}
	return w.mutual(d) && (!w[i].devices[d].session || w[1-i].devices[d].session)
}

func configured(was device, key, peer overlay.Key) device {
	if was.there && was.key == key && was.peer == peer {
		return was
	}
	return device{there: true, key: key, peer: peer}
}

// program is the first half of a pass of the agent: the devices, of what is declared.
func (w world) program(i int) world {
	h := &w[i]
	own, other := w.peer(i, h.keys, false), w.peer(1-i, h.heard, false)
	met := func(d device, key, peer overlay.Key) bool { return d.there && d.key == key && d.peer == peer && d.met }
	other.Spare = overlay.BySpare(own, other, met(h.devices[0], own.Key, other.Key), met(h.devices[1], own.LastKey(), other.LastKey()))
	n := overlay.Network{Name: "secret", VNI: 43, Encrypted: true, WireguardPort: overlay.DefaultWireguardPort, Subnets: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")}}
	Tunnel(Declare(n, overlay.Hosts{Peers: []overlay.Peer{own, other}}, own, 1500), func(t *wireguard.Tunnel) {
		h.devices[0] = configured(h.devices[0], own.Key, overlay.Key(t.Peers[0].Key))
		h.way, h.without = t.Peers[0].Idle, t.Spare == nil
		if t.Spare != nil {
			h.devices[1] = configured(h.devices[1], own.LastKey(), overlay.Key(t.Spare.Peers[0].Key))
		}
	})
	h.half, h.programmed, h.programmedPeer = true, h.keys, h.heard
	return w
}

// route is the second half.
func (w world) route(i int) world {
	h := &w[i]
	h.spare, h.half = h.way, false
	if h.without {
		h.devices[1] = device{}
	}
	h.way, h.without = false, false
	return w
}

// mayStep says whether a host goes on with its key: the other has followed, of which it is sure when nothing comes by the device that ends.
func (w world) mayStep(i int) bool {
	h, other := w[i], w[1-i]
	if h.keys.next.IsZero() || h.told != h.keys || h.programmed != h.keys || h.half {
		return false
	}
	begins := 1
	if h.keys.returning() {
		begins = 0
	}
	ends := begins == 0
	return h.spare == (begins == 1) && h.devices[begins].met && other.spare != ends
}

func (w world) step(i int) world {
	h := &w[i]
	if h.keys.returning() {
		h.keys.next = overlay.Key{}
	} else {
		h.keys.first = h.keys.next
	}
	return w
}

// moves are all that may happen next.
func (w world) moves() map[string]world {
	all := make(map[string]world)
	for i := range w {
		add := func(what string, change func(h *host)) {
			next := w
			change(&next[i])
			all[fmt.Sprintf("%d %s", i, what)] = next
		}
		h := w[i]
		if !h.begun && h.heard.next.IsZero() {
			add("begins", func(h *host) { h.begun, h.keys.next = true, overlay.Key{byte(i + 1), 2} })
		}
		if h.told != h.keys {
			add("tells", func(h *host) { h.told = h.keys })
		}
		if h.heard != w[1-i].told {
			add("hears", func(h *host) { h.heard = w[1-i].told })
		}
		if h.half {
			all[fmt.Sprintf("%d routes", i)] = w.route(i)
			add("is killed between devices and routes", func(h *host) { h.half, h.way, h.without, h.programmed = false, false, false, keys{} })
		} else {
			all[fmt.Sprintf("%d programs", i)] = w.program(i)
		}
		if w.mayStep(i) {
			all[fmt.Sprintf("%d steps", i)] = w.step(i)
		}
		for d := range h.devices {
			if h.devices[d].session && !h.devices[d].met {
				add(fmt.Sprint("sees a handshake by ", d), func(h *host) { h.devices[d].met = true })
			}
		}
	}
	for d := range 2 {
		if w.mutual(d) {
			next := w
			next[0].devices[d].session, next[1].devices[d].session = true, true
			all[fmt.Sprint("handshake by ", d)] = next
		}
	}
	return all
}

func (w world) over() bool {
	for i, h := range w {
		if !h.begun || !h.keys.next.IsZero() || h.spare || h.half || h.devices[1].there || w[1-i].heard != h.keys {
			return false
		}
	}
	return true
}

// TestRotationInEveryOrder: one host or both replace their keys, and whatever comes first of what they do, hear and see, an agent killed between
// devices and routes among it: at each moment either has a way to the other that both ends accept. It can always be brought to an end.
func TestRotationInEveryOrder(t *testing.T) {
	var start world
	for i := range start {
		k := keys{first: overlay.Key{byte(i + 1), 1}}
		start[i].keys, start[i].told, start[1-i].heard = k, k, k
	}
	for i := range start {
		start = start.program(i).route(i)
	}
	type edge struct {
		from world
		what string
	}
	came := map[world]edge{start: {}}
	back := make(map[world][]world)
	path := func(w world) (text string) {
		for ; w != start; w = came[w].from {
			text = came[w].what + "\n" + text
		}
		return text
	}
	var ends []world
	for queue := []world{start}; len(queue) > 0; queue = queue[1:] {
		w := queue[0]
		if w.over() {
			ends = append(ends, w)
		}
		for i := range w {
			if !w.arrives(i) {
				t.Fatalf("what host %d sends is lost after\n%s%+v", i, path(w), w)
			}
		}
		for what, next := range w.moves() {
			back[next] = append(back[next], w)
			if _, known := came[next]; !known {
				came[next] = edge{w, what}
				queue = append(queue, next)
			}
		}
	}
	ending := make(map[world]bool)
	for queue := ends; len(queue) > 0; queue = queue[1:] {
		if w := queue[0]; !ending[w] {
			ending[w] = true
			queue = append(queue, back[w]...)
		}
	}
	for w := range came {
		if !ending[w] {
			t.Fatalf("there is no end after\n%s%+v", path(w), w)
		}
	}
	t.Logf("%d states", len(came))
}
