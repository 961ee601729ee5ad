package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/registry"
)

const (
	// retryAfter is about how long a request that etcd did not answer is waited with.
	retryAfter = 2 * time.Second
	// pinPatience is how long a pin may be without its container, whose ADD comes after it.
	pinPatience = 2 * time.Minute
)

// teller tells etcd what it does not know of this host. It is used by one goroutine.
type teller struct {
	*Agent
	// unused is since when a network's pins have been without a container.
	unused map[string]map[netip.Addr]time.Time
}

// tell compares what etcd holds of this host with how it is, when something asks for it.
func (a *Agent) tell(ctx context.Context) error {
	t := teller{Agent: a, unused: make(map[string]map[netip.Addr]time.Time)}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.remote:
		}
		s, ok := a.known.state()
		if !ok || !a.known.vtep().IsValid() {
			continue
		}
		again := false
		for _, name := range a.known.networks() {
			err := t.network(ctx, s.Networks[name])
			if ctx.Err() != nil {
				return ctx.Err()
			}
			again = again || errors.Is(err, agentapi.ErrUnavailable)
			a.known.note(aboutClaims(name), untold(err))
		}
		present := a.known.networks()
		a.known.noteOnly(aboutClaims, present)
		maps.DeleteFunc(t.unused, func(name string, _ map[netip.Addr]time.Time) bool { return !slices.Contains(present, name) })
		if again {
			time.AfterFunc(retryAfter/2+rand.N(retryAfter), a.remote.set)
		}
	}
}

// untold leaves out what others tell: that etcd is away, that the name is taken, and that the network is gone.
func untold(err error) error {
	for _, told := range []error{agentapi.ErrUnavailable, registry.ErrNodeTaken, agentapi.ErrNotFound} {
		if errors.Is(err, told) {
			return nil
		}
	}
	return err
}

func (t teller) network(ctx context.Context, n *registry.Network) error {
	if !n.Readable() {
		return nil
	}
	name := n.Definition.Name
	record := registry.Node{VTEP: t.known.vtep(), BootID: t.bootID}
	var errs []error
	if n.Nodes[t.config.Node] != record {
		errs = append(errs, t.registry.Publish(ctx, name, t.config.Node, n.Created, record))
	}
	errs = append(errs, t.use(ctx, n), t.blocks(ctx, n), t.pins(ctx, n))
	return errors.Join(errs...)
}

// use says whether there are containers: once, not for each.
func (t teller) use(ctx context.Context, n *registry.Network) error {
	name, used := n.Definition.Name, len(t.known.reservedIn(n.Definition.Name)) > 0
	switch {
	case used == n.Used[t.config.Node]:
		return nil
	case used:
		return t.registry.Use(ctx, name, t.config.Node, n.Created)
	}
	return t.registry.Unuse(ctx, name, t.config.Node)
}

// blocks claims what this host had, if etcd does not know of that any more, and then what it needs.
func (t teller) blocks(ctx context.Context, n *registry.Network) error {
	name, own := n.Definition.Name, n.BlocksOf(t.config.Node)
	errs := []error{t.regain(ctx, n, own)}
	for _, subnet := range n.Definition.Subnets {
		if !needsBlock(subnet, own, t.known.reservedIn(name)) {
			continue
		}
		// What was regained, or claimed since, and is not in own yet, is what Claim gives first.
		block, err := t.registry.Claim(ctx, n, t.config.Node, subnet)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		slog.Info("claimed a block", "network", name, "block", block)
	}
	return errors.Join(errs...)
}

// regain claims the blocks that this host has had and etcd does not show: it may have been restored from a backup, the network
// was made anew, or the host was taken for dead.
func (t teller) regain(ctx context.Context, n *registry.Network, own []netip.Prefix) error {
	name := n.Definition.Name
	var errs []error
	for _, block := range t.known.had(name, own) {
		err := t.registry.Reclaim(ctx, n, t.config.Node, block)
		switch {
		case errors.Is(err, agentapi.ErrExists):
			t.known.lost(name, block)
			slog.Warn("a block of this host was given to another: attach containers with its addresses anew", "network", name, "block", block)
		case err != nil:
			errs = append(errs, err)
		default:
			slog.Info("claimed a block again", "network", name, "block", block)
		}
	}
	return errors.Join(errs...)
}

// pins gives back those whose containers are gone.
func (t teller) pins(ctx context.Context, n *registry.Network) error {
	name := n.Definition.Name
	unused, over := overdue(n.PinsOf(t.config.Node), t.known.reservedIn(name), t.unused[name], time.Now())
	t.unused[name] = unused
	var errs []error
	for _, addr := range over {
		errs = append(errs, t.registry.Unpin(ctx, name, addr, n.Pins[addr]))
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

// looks is how many times an undertaker looks during a hold.
const looks = 24

// bury gives back what dead hosts own.
func (a *Agent) bury(ctx context.Context) error {
	undertaker := a.registry.NewUndertaker(a.config.ReclaimAfter)
	// Not all agents at once, and a hold of a day does not need a look each second.
	ticker := time.NewTicker(a.config.ReclaimAfter/looks + rand.N(a.config.ReclaimAfter/looks))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-ticker.C:
			s, ok := a.known.state()
			if !ok {
				continue
			}
			a.known.note(aboutReclaim, untold(undertaker.Look(ctx, s, now)))
		}
	}
}
