package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/registry"
)

const (
	// pinPatience is how long a pin may be without its container, whose ADD comes after it.
	pinPatience = 2 * time.Minute
	// drainFor is how long blocks that are given back are not offered before they are: longer than an ADD that has read the
	// snapshot before takes to reserve its address.
	drainFor = time.Minute
)

// claims are a host's of one network.
type claims struct {
	made []netip.Prefix
	// uncertain says that the answer to one may have been lost.
	uncertain bool
}

// drain stops offering blocks, and gives those that were not offered for long enough.
func (p *publisher) drain(name string, blocks []netip.Prefix, patience time.Duration) []netip.Prefix {
	over, changed := p.cache.drain(name, blocks, patience)
	if changed {
		p.cache.mark(&p.cache.local, name)
		p.wake.set()
	}
	if len(over) < len(blocks) {
		time.AfterFunc(patience+time.Second, func() { p.askRemote(name) })
	}
	return over
}

// blocks claims what this host needs, and gives back what it has not needed for a while.
func (p *publisher) blocks(ctx context.Context, n *registry.Network) error {
	own := n.BlocksOf(p.node())
	made := p.claims[n.Name]
	made.made = slices.DeleteFunc(made.made, func(b netip.Prefix) bool { return n.Blocks[b] != "" || !n.Divides(b) })
	own = append(own, made.made...)
	reserved := p.cache.reservedIn(n.Name)
	var errs []error
	var spare []netip.Prefix
	for _, subnet := range n.Definition.Subnets {
		if !needsBlock(subnet, own, reserved) {
			spare = append(spare, spareBlocks(subnet, own, reserved)...)
			continue
		}
		if p.cache.isLapsed() {
			continue // it may have some still
		}
		block, err := p.claim(ctx, n, subnet, made.uncertain)
		made.uncertain = err != nil
		if err != nil {
			errs = append(errs, err)
			continue
		}
		made.made = append(made.made, block)
		p.claimed.Store(true)
		slog.Info("claimed a block", "network", n.Name, "block", block)
	}
	p.claims[n.Name] = made
	for _, block := range p.drain(n.Name, spare, p.config.LeaveAfter) {
		p.count()
		if slices.ContainsFunc(p.cache.reservedIn(n.Name), block.Contains) {
			continue
		}
		if err := p.registry.Release(ctx, n, p.node(), block); err != nil {
			errs = append(errs, err)
			continue
		}
		p.cache.drop(n.Name, block)
		slog.Info("released a block", "network", n.Name, "block", block)
	}
	return errors.Join(errs...)
}

// claim claims one block, without reading what is taken if that may be.
func (p *publisher) claim(ctx context.Context, n *registry.Network, subnet agentapi.Subnet, uncertain bool) (netip.Prefix, error) {
	if !uncertain {
		if block, ok, err := p.registry.Guess(ctx, p.memory(), n, p.node(), p.bootID, subnet); ok || err != nil {
			return block, err
		}
	}
	return p.registry.Claim(ctx, p.memory(), n, p.node(), p.bootID, subnet)
}

// pins gives back those whose containers are gone.
func (p *publisher) pins(ctx context.Context, n *registry.Network) error {
	unused, over := overdue(n.PinsOf(p.node()), p.cache.reservedIn(n.Name), p.unused[n.Name], time.Now())
	p.unused[n.Name] = unused
	var errs []error
	for _, addr := range over {
		errs = append(errs, p.registry.Unpin(ctx, n.Name, addr, n.Pins[addr]))
	}
	return errors.Join(errs...)
}

// overdue is since when pins have been without a container, and which of them have been for too long.
func overdue(pins, reserved []netip.Addr, before map[netip.Addr]time.Time, now time.Time) (unused map[netip.Addr]time.Time, over []netip.Addr) {
	unused = make(map[netip.Addr]time.Time)
	for _, addr := range pins {
		if slices.Contains(reserved, addr) {
			continue
		}
		since, waiting := before[addr]
		if !waiting {
			since = now
		}
		unused[addr] = since
		if now.Sub(since) > pinPatience {
			over = append(over, addr)
		}
	}
	return unused, over
}
