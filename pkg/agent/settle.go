package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// recover ends the lapse of a host that was not seen for long, when it knows which blocks it still has: it may give out addresses again.
func (p *publisher) recover(s registry.State) {
	if !p.cache.isLapsed() || !p.cache.calm() {
		return
	}
	for _, name := range p.cache.joinedNetworks() {
		n := s.Networks[name]
		if n.Readable() && (!n.Followed || len(p.doubtful(n)) > 0) {
			return // it comes with the next state
		}
	}
	p.cache.endLapse()
	p.cache.mark(&p.cache.local)
	p.wake.set()
	p.fencing.Lock()
	defer p.fencing.Unlock()
	p.writeFence(p.clock().After(p.untilFence()))
}

// doubtful are the blocks that this host has had or the store gives to it, where the store has a record from before it went back.
func (p *publisher) doubtful(n *registry.Network) (list []netip.Prefix) {
	for _, block := range append(p.cache.missing(n.Name, nil), n.BlocksOf(p.node())...) {
		if n.Restored[block] != 0 && !slices.Contains(list, block) {
			list = append(list, block)
		}
	}
	return list
}

// confirm settles whose blocks are of which the store has a record from before it went back. What this host has had is its own, whatever
// the record says, and what it has not had, it has given up since. A host that others may have taken blocks from has what nobody else
// has claimed again by the time when all have.
func (p *publisher) confirm(ctx context.Context, n *registry.Network) error {
	var errs []error
	had, lapsed := p.cache.missing(n.Name, nil), p.cache.isLapsed()
	for _, block := range p.doubtful(n) {
		mine := n.Blocks[block] == p.node()
		switch {
		case lapsed && !p.cache.calm():
		case slices.Contains(had, block) && (mine || !lapsed):
			errs = append(errs, p.registry.Confirm(ctx, n, p.node(), p.bootID, block))
		case mine && !slices.ContainsFunc(p.cache.reservedIn(n.Name), block.Contains):
			errs = append(errs, p.registry.Release(ctx, n, p.node(), block))
		case !mine:
			p.lose(n.Name, block)
		}
	}
	return errors.Join(errs...)
}

// lose takes that a block is another host's.
func (p *publisher) lose(network string, block netip.Prefix) {
	p.cache.drop(network, block)
	p.cache.mark(&p.cache.local, network)
	p.wake.set()
	p.problems.happened("network %s: block %s of this host was given to another", network, block)
}

// allClaimed says whether the store has all that this host had.
func (p *publisher) allClaimed() bool {
	s, ok := p.cache.state()
	if !ok {
		return false
	}
	for _, name := range p.cache.joinedNetworks() {
		n := s.Networks[name]
		if p.cache.isLost(name) || n.Readable() && !n.Followed {
			return false
		}
		if n.Readable() && !p.cache.isLapsed() && len(p.cache.missing(name, n.BlocksOf(p.node())))+len(p.doubtful(n)) > 0 {
			return false
		}
		if snap, _ := p.cache.snapshot(name); n.Readable() && len(p.missingPins(n, snap)) > 0 {
			return false
		}
	}
	return true
}

// offerBack makes networks again that the store has lost: as they were, with the VNI that is in use.
func (p *publisher) offerBack(ctx context.Context, s registry.State) error {
	for name, snap := range p.cache.remembered() {
		if !p.cache.isLost(name) {
			continue
		}
		n := s.Networks[name]
		if n.Absent() && len(snap.definition.Subnets) > 0 && snap.created != 0 {
			err := p.registry.Restore(ctx, snap.definition)
			switch {
			case errors.Is(err, agentapi.ErrExists), errors.Is(err, agentapi.ErrInvalid):
				p.problems.note(ofDefinition+name, fmt.Errorf("the store has lost it, and it cannot be made again: %w", err))
				continue
			case err != nil:
				return err
			}
			p.problems.happened("network %s, which the store had lost, was made again", name)
			continue // until it is seen
		}
		if !p.cache.found(name, n.Absent()) {
			continue
		}
		p.cache.mark(&p.cache.local, name)
		p.wake.set()
	}
	return nil
}

// vouchAfter is how long others have to claim again themselves what the store has lost of theirs.
const vouchAfter = registry.SettleFor / 6

// restorePeers writes again what the store has lost of hosts whose agents do not run. Who has seen most of a network before the store
// went back knows best; what is missing still after as long again is written by whoever knows of it.
func (p *publisher) restorePeers(ctx context.Context, s registry.State) error {
	if time.Since(p.writable) > vouchAfter { // peers that are alive claim again what they had, if they can
		if err := p.registry.Writable(ctx, p.node()); err != nil {
			return err
		}
		p.writable = time.Now()
	}
	past := registry.SettleFor - p.cache.settlesIn()
	for name, snap := range p.cache.lastSeen() {
		n := s.Networks[name]
		if !n.Readable() || !n.Followed || !n.Definition.Same(snap.definition) {
			continue
		}
		most, err := p.registry.Testify(ctx, name, s.Cluster.Epoch, snap.revision)
		if err != nil {
			return err
		}
		if past < vouchAfter || !most && past < 2*vouchAfter {
			continue
		}
		for _, peer := range snap.hosts.Peers {
			lost := registry.Lost{Node: peer.Node, VTEP: peer.VTEP, Pins: lostPins(n, snap, peer.VTEP, most), Blocks: lostBlocks(n, peer, most), Over: most}
			if peer.Node == p.node() || len(lost.Blocks)+len(lost.Pins) == 0 {
				continue
			}
			written, err := p.registry.RestoreMember(ctx, n, lost)
			if len(written) > 0 {
				p.problems.happened("network %s: %s of host %s, which the store had lost, were claimed again for it", name, strings.Join(written, ", "), peer.Node)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// lostBlocks are those that a peer had before the store went back, and nobody has now; or by most also one that was another's before.
func lostBlocks(n *registry.Network, peer overlay.Peer, most bool) (lost []netip.Prefix) {
	for _, block := range peer.Blocks {
		if owner, owned := n.Blocks[block]; !owned || most && n.Restored[block] != 0 && owner != peer.Node {
			lost = append(lost, block)
		}
	}
	return lost
}

// regain claims the blocks and pins that this host has had and etcd does not show: the store may have gone back, the network
// was made anew, or the host was taken for dead.
func (p *publisher) regain(ctx context.Context, n *registry.Network) error {
	var errs []error
	own := slices.DeleteFunc(n.BlocksOf(p.node()), func(b netip.Prefix) bool { return n.Restored[b] != 0 })
	for _, block := range p.cache.had(n.Name, own) {
		if n.Restored[block] != 0 || p.cache.isLapsed() && !p.cache.calm() {
			continue
		}
		again := p.registry.RegainOver
		if p.cache.isLapsed() { // it may have been another's since
			again = p.registry.Regain
		}
		err := again(ctx, n, p.node(), p.bootID, block)
		switch {
		case errors.Is(err, agentapi.ErrExists):
			p.lose(n.Name, block)
		case err != nil:
			errs = append(errs, err)
		default:
			p.claimed.Store(true)
			slog.Info("claimed a block again", "network", n.Name, "block", block)
		}
	}
	snap, _ := p.cache.snapshot(n.Name)
	for addr, pin := range p.missingPins(n, snap) {
		if err := p.registry.RegainPin(ctx, n, addr, pin, !p.cache.isLapsed()); err != nil && !errors.Is(err, agentapi.ErrInUse) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// missingPins are this host's that etcd does not show, and containers have.
func (p *publisher) missingPins(n *registry.Network, snap snapshot) map[netip.Addr]registry.Pin {
	missing := maps.Clone(snap.pins)
	reserved, sure := p.cache.reservedIn(n.Name), !p.cache.isLapsed()
	maps.DeleteFunc(missing, func(addr netip.Addr, pin registry.Pin) bool {
		_, there := n.Pins[addr]
		return there || pin.Node != p.node() || !n.Freed(addr, sure) || !slices.Contains(reserved, addr)
	})
	return missing
}
