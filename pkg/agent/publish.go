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
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/registry"
)

// retryAfter is about how long a request that etcd did not answer is waited with.
const retryAfter = 2 * time.Second

// publisher writes to etcd what it does not have of this host yet. It is used by one goroutine.
type publisher struct {
	*Agent
	// unused is since when a network's pins have been without a container.
	unused map[string]map[netip.Addr]time.Time
	// claims are those that the state may not know yet, by network.
	claims map[string]claims
	// used is what was written of containers on a network, by the revision that made it.
	used map[string]usage
	// began is when the present look at all of it did.
	began time.Time
	// writable is when the store was found to be, while it settles.
	writable time.Time
}

type usage struct {
	created int64
	epoch   string
	is      bool
}

// publish compares what etcd holds of this host with how it is, when something asks for it.
func (a *Agent) publish(ctx context.Context) error {
	p := publisher{Agent: a, unused: make(map[string]map[netip.Addr]time.Time), used: make(map[string]usage), claims: make(map[string]claims)}
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.remote:
		case <-again:
		}
		again = nil
		p.began = time.Now()
		s, ok := a.cache.state()
		if !ok || !a.cache.place().address.IsValid() {
			continue // either comes with a trigger
		}
		if after := p.all(ctx, s); after > 0 {
			again = time.After(after/2 + rand.N(after))
		}
	}
}

// all publishes the host and the networks that were marked, and says after which time to try again; 0 for not at all. After the
// first request that etcd does not answer, nothing else is asked of it.
func (p *publisher) all(ctx context.Context, s registry.State) (again time.Duration) {
	marked := p.cache.take(&p.cache.remote)
	err := p.host(ctx, s)
	p.problems.note(aboutHost, told(err))
	if err == nil {
		err = p.offerBack(ctx, s)
	}
	if err == nil && p.settling() {
		again = retryAfter
		if err = p.restorePeers(ctx, s); err != nil {
			p.cache.postponed()
		}
	}
	if err != nil {
		p.cache.markAll(&p.cache.remote, marked)
		return retryAfter
	}
	p.recover(s)
	again, names := p.marked(ctx, s, marked, again)
	if again == 0 || p.settling() && p.allClaimed() {
		p.cache.claimedAgain()
	}
	p.problems.forgetAbsent(p.cache.anywhere())
	maps.DeleteFunc(p.unused, func(name string, _ map[netip.Addr]time.Time) bool { return !slices.Contains(names, name) })
	maps.DeleteFunc(p.claims, func(name string, _ claims) bool { return !slices.Contains(names, name) })
	maps.DeleteFunc(p.used, func(name string, _ usage) bool { return !slices.Contains(names, name) })
	return again
}

// marked publishes the networks that were marked.
func (p *publisher) marked(ctx context.Context, s registry.State, marked changes, again time.Duration) (time.Duration, []string) {
	names := p.cache.networks()
	for i, name := range names {
		if !marked.has(name) {
			continue
		}
		err := p.network(ctx, s, s.Networks[name])
		p.problems.found(ofClaims+name, p.began, told(err))
		switch {
		case err == nil:
		case errors.Is(err, etcd.ErrUnavailable):
			p.cache.mark(&p.cache.remote, names[i:]...)
			return retryAfter, names
		case errors.Is(err, registry.ErrExhausted), errors.Is(err, registry.ErrSettling):
			p.cache.mark(&p.cache.remote, name)
			again = max(again, 5*retryAfter)
		}
	}
	return again, names
}

// told leaves out what others tell: that the name is taken, and that the network is gone. That etcd does not answer is told by who
// follows it, unless it answers them and refuses to write.
func told(err error) error {
	for _, by := range []error{registry.ErrNodeTaken, agentapi.ErrNotFound} {
		if errors.Is(err, by) {
			return nil
		}
	}
	return err
}

// host publishes the record of this host.
func (p *publisher) host(ctx context.Context, s registry.State) error {
	here := p.cache.place()
	record := registry.Host{VTEP: here.address, MTU: here.mtu, Machine: p.identity.Machine, Release: p.config.Version, PublicKey: p.keys.public(), NextKey: p.keys.nextPublic()}
	if record.Same(s.Hosts[p.node()]) {
		return nil
	}
	return p.registry.Publish(ctx, s, p.node(), p.bootID, record)
}

// network publishes one network: joins it when this host needs it, and leaves it some time after.
func (p *publisher) network(ctx context.Context, s registry.State, n *registry.Network) error {
	if !n.Readable() {
		return nil
	}
	if snap, there := p.cache.snapshot(n.Name); there && !snap.definition.Same(n.Definition) && len(p.cache.reservedIn(n.Name)) > 0 {
		return nil // the containers are of a former network of the name
	}
	err := p.use(ctx, s, n)
	if err != nil {
		return err
	}
	wanted := p.wants(n.Name)
	if wanted && !p.cache.isJoined(n.Name) {
		p.join(n.Name, true)
	}
	if !n.Followed || !p.cache.isJoined(n.Name) {
		return nil // goes on when the members are known
	}
	// While the store settles, a host stays: it may be the only one that knows what others have.
	if !wanted && !p.settling() {
		return p.leaveNetwork(ctx, n)
	}
	host := registry.Host{VTEP: p.cache.place().address}
	if err := p.registry.Enter(ctx, s, n, p.node(), p.bootID, host); err != nil {
		return err
	}
	err = errors.Join(p.confirm(ctx, n), p.regain(ctx, n))
	if wanted {
		err = errors.Join(err, p.blocks(ctx, n), p.pins(ctx, n))
	}
	return err
}

// wants says whether this host is to be a member: it has containers there, or had or was asked a short while ago, or is told to.
func (p *publisher) wants(name string) bool {
	return len(p.cache.reservedIn(name)) > 0 || slices.Contains(p.config.Join, name) || time.Since(p.cache.activeAt(name)) < p.config.LeaveAfter
}

// join begins or ends to follow a network as its members do.
func (a *Agent) join(name string, is bool) {
	a.following.Join(a.cache.setJoined(name, is))
	a.cache.mark(&a.cache.local, name)
	a.wake.set()
}

// leaveNetwork gives everything back, after the plugin was not offered it for a while.
func (p *publisher) leaveNetwork(ctx context.Context, n *registry.Network) error {
	own := n.BlocksOf(p.node())
	if over := p.drain(n.Name, own, drainFor); len(over) < len(own) {
		return nil
	}
	p.count() // a container may have come a moment ago
	if p.wants(n.Name) {
		p.cache.touch(n.Name)
		return nil
	}
	left, err := p.registry.Leave(ctx, n, p.node())
	if err != nil {
		return err
	}
	if !left {
		p.cache.touch(n.Name)
		delete(p.used, n.Name) // it is written anew
		return nil
	}
	p.cache.drop(n.Name, own...)
	p.join(n.Name, false)
	slog.Info("left a network without containers", "network", n.Name)
	return nil
}

// use says whether there are containers: once, not for each.
func (p *publisher) use(ctx context.Context, s registry.State, n *registry.Network) error {
	now := usage{n.Created, s.Cluster.Epoch, len(p.cache.reservedIn(n.Name)) > 0}
	if p.used[n.Name] == now {
		return nil
	}
	var err error
	if now.is {
		err = p.registry.Use(ctx, n, p.node())
	} else {
		err = p.registry.Unuse(ctx, n.Name, p.node())
	}
	if err == nil {
		p.used[n.Name] = now
	}
	return err
}
