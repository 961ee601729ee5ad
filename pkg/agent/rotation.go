package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
)

const (
	// turnEvery is between two looks at the devices while a host replaces its key.
	turnEvery = 500 * time.Millisecond
	// quietFor is how long nothing has to come by a device that is about to end. A host that has moved its routes sends nothing there
	// but one keepalive, ten seconds after what it received last (WireGuard's KeepaliveTimeout).
	quietFor = 3 * time.Second
)

// rotation is how far hosts are that replace their keys (see overlay.Lane), this one among them.
type rotation struct {
	turn trigger
	mu   sync.Mutex
	// heard is what came from a peer by a device, and since when no more.
	heard map[heardFrom]heard
	// waiting are the hosts that keep this one from going on.
	waiting []string
}

type heardFrom struct {
	device string
	peer   wgtypes.Key
}

type heard struct {
	bytes int64
	since time.Time
}

func newRotation() rotation { return rotation{turn: newTrigger(), heard: make(map[heardFrom]heard)} }

// quiet says whether nothing has come from a peer by a device for a while, nor gone to it, which follows says of now.
func (r *rotation) quiet(device string, p wgtypes.Peer, follows bool, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := heardFrom{device, p.PublicKey}
	was, there := r.heard[from]
	if !there || was.bytes != p.ReceiveBytes || !follows {
		r.heard[from] = heard{p.ReceiveBytes, now}
		return false
	}
	return now.Sub(was.since) >= quietFor
}

// rotate follows hosts that replace their keys, and replaces this host's.
func (a *Agent) rotate(ctx context.Context) error {
	a.rotation.turn.set()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.rotation.turn:
		case <-again:
		}
		again = nil
		if a.takeTurn() {
			again = time.After(turnEvery)
		}
	}
}

// takeTurn looks at the devices once, and says whether any host replaces its key.
func (a *Agent) takeTurn() (rotating bool) {
	for name, snap := range a.cache.remembered() {
		if snap.replaces() {
			a.cache.mark(&a.cache.local, name) // routes follow handshakes
			rotating = true
		}
	}
	if s, ok := a.cache.state(); ok {
		for _, h := range s.Hosts {
			rotating = rotating || !h.NextKey.IsZero()
		}
	}
	own := a.keys.replaced()
	if own.ongoing() {
		a.replaceKey(own, time.Now())
	}
	if rotating {
		a.wake.set()
	}
	return rotating || own.ongoing()
}

// replaceKey goes a step on with this host's key when every other host has followed the last, or has had time enough.
func (a *Agent) replaceKey(r replaced, now time.Time) {
	s, ok := a.cache.state()
	if !ok {
		return
	}
	if h := s.Hosts[a.node()]; h.PublicKey != r.key.Public() || h.NextKey != r.next.Public() {
		a.askRemote() // nobody can follow yet
		return
	}
	waiting := a.behind(r, now)
	a.rotation.mu.Lock()
	a.rotation.waiting = waiting
	a.rotation.mu.Unlock()
	if len(waiting) > 0 && now.Sub(r.since) < a.config.RotateWithin {
		return
	}
	if len(waiting) > 0 {
		a.problems.happened("the key of this host is replaced without waiting any longer for %v: they reach it again when they have its new key", waiting)
	}
	if err := a.keys.step(r); err != nil {
		slog.Error("the key of this host is not replaced yet", "error", err)
		return
	}
	a.rotation.mu.Lock()
	clear(a.rotation.heard)
	a.rotation.mu.Unlock()
	a.keysChanged()
}

// keysChanged has the others told of this host's keys, and its devices configured.
func (a *Agent) keysChanged() {
	a.askRemote()
	a.cache.mark(&a.cache.local)
	a.wake.set()
	a.rotation.turn.set()
}

// behind are the hosts that have not followed the last step: packets to them or from them need what ends with the next.
func (a *Agent) behind(r replaced, now time.Time) (names []string) {
	for name, snap := range a.cache.remembered() {
		if !snap.definition.Encrypted || !snap.member() {
			continue
		}
		own := snap.own()
		if own.Key != r.key.Public() || own.NextKey != r.next.Public() {
			names = append(names, a.node()+" (this host, network "+name+")")
			continue
		}
		ends, begins := snap.network().Device(), overlay.SpareTunnelName(snap.definition.VNI)
		if r.returning() {
			ends, begins = begins, ends
		}
		ending, beginning := a.peersOf(ends, nil), a.peersOf(begins, nil)
		for _, p := range snap.hosts.Peers[1:] {
			if p.Key.IsZero() {
				continue
			}
			old, new := wgtypes.Key(p.Key), wgtypes.Key(p.LastKey())
			if r.returning() {
				old, new = new, old
			}
			follows := p.Spare == !r.returning() && !beginning[new].LastHandshakeTime.IsZero()
			e := ending[old]
			e.PublicKey = old // also of one that the device does not have
			if !a.rotation.quiet(ends, e, follows, now) {
				names = append(names, p.Node)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// peersOf are those of a device, none unless it has a key.
func (a *Agent) peersOf(device string, key *wgtypes.Key) map[wgtypes.Key]wgtypes.Peer {
	d, err := a.devices.Device(device)
	if err != nil || key != nil && d.PrivateKey != *key {
		return nil
	}
	peers := make(map[wgtypes.Key]wgtypes.Peer, len(d.Peers))
	for _, p := range d.Peers {
		peers[p.PublicKey] = p
	}
	return peers
}

// replaces says whether a host of the network replaces its key, as far as this one has to do with it.
func (s snapshot) replaces() bool {
	return s.definition.Encrypted && slices.ContainsFunc(s.hosts.Peers, func(p overlay.Peer) bool { return p.Replaces() || p.Spare })
}

// lanes says through which device this host sends to each of the others.
func (a *Agent) lanes(s snapshot) snapshot {
	if !s.replaces() {
		return s
	}
	s.hosts.Peers = slices.Clone(s.hosts.Peers)
	r := a.keys.replaced()
	first, last := wgtypes.Key(r.key), wgtypes.Key(r.last())
	ours := a.peersOf(s.network().Device(), &first)
	spare := a.peersOf(overlay.SpareTunnelName(s.definition.VNI), &last)
	met := func(peers map[wgtypes.Key]wgtypes.Peer, key overlay.Key) bool {
		return !peers[wgtypes.Key(key)].LastHandshakeTime.IsZero()
	}
	own := s.own()
	for i, p := range s.hosts.Peers {
		p.Spare = overlay.BySpare(own, p, met(ours, p.Key), met(spare, p.LastKey()))
		s.hosts.Peers[i] = p
	}
	return s
}

// putKey begins to replace the key of this host.
func (a *Agent) putKey(*http.Request) (any, error) {
	s, ok := a.cache.state()
	if !ok {
		return nil, fmt.Errorf("etcd: %w: the others could not be told of another key", agentapi.ErrUnavailable)
	}
	for node, h := range s.Hosts {
		if node != a.node() && !h.NextKey.IsZero() {
			return nil, fmt.Errorf("host %s replaces its key, and its peers' spare devices are %w: try again when it is done", node, agentapi.ErrInUse)
		}
	}
	next, err := a.keys.begin()
	if err != nil {
		return nil, err
	}
	a.keysChanged()
	return agentapi.Rotation{PublicKey: next.Public().String(), Since: time.Now()}, nil
}

// rotationHealth is how far the key of this host is. Nil: it is not being replaced.
func (a *Agent) rotationHealth() *agentapi.Rotation {
	r := a.keys.replaced()
	if !r.ongoing() {
		return nil
	}
	a.rotation.mu.Lock()
	defer a.rotation.mu.Unlock()
	return &agentapi.Rotation{PublicKey: r.next.Public().String(), Returning: r.returning(), Since: r.since, Waiting: slices.Clone(a.rotation.waiting)}
}
