package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/overlay"
	"github.com/fairway-cni/fairway/pkg/registry"
)

const (
	// retryAfter is about how long a request that etcd did not answer is waited with.
	retryAfter = 2 * time.Second
	// pinPatience is how long a pin may be without its container, whose ADD comes after it.
	pinPatience = 2 * time.Minute
	// drainFor is how long blocks that are given back are not offered before they are: longer than an ADD that has read the
	// snapshot before takes to reserve its address.
	drainFor = time.Minute
)

// publisher writes to etcd what it does not have of this host yet. It is used by one goroutine.
type publisher struct {
	*Agent
	// unused is since when a network's pins have been without a container.
	unused map[string]map[netip.Addr]time.Time
	// claims are those that the state may not know yet, by network.
	claims map[string]claims
	// used is what was written of containers on a network, by the revision that made it.
	used map[string]usage
	// writable is when the store was found to be, while it settles.
	writable time.Time
}

// claims are a host's of one network.
type claims struct {
	made []netip.Prefix
	// uncertain says that the answer to one may have been lost.
	uncertain bool
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

// marked publishes the networks that were marked.
func (p *publisher) marked(ctx context.Context, s registry.State, marked changes, again time.Duration) (time.Duration, []string) {
	names := p.cache.networks()
	for i, name := range names {
		if !marked.has(name) {
			continue
		}
		err := p.network(ctx, s, s.Networks[name])
		p.problems.note(ofClaims+name, told(err))
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
			lost := registry.Lost{Node: peer.Node, VTEP: peer.VTEP, Pins: lostPins(n, snap, peer.VTEP), Blocks: lostBlocks(n, peer, most)}
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

// regain claims the blocks and pins that this host has had and etcd does not show: the store may have gone back, the network
// was made anew, or the host was taken for dead.
func (p *publisher) regain(ctx context.Context, n *registry.Network) error {
	var errs []error
	own := slices.DeleteFunc(n.BlocksOf(p.node()), func(b netip.Prefix) bool { return n.Restored[b] != 0 })
	for _, block := range p.cache.had(n.Name, own) {
		if n.Restored[block] != 0 || p.cache.isLapsed() && !p.cache.calm() {
			continue
		}
		err := p.registry.Regain(ctx, n, p.node(), p.bootID, block)
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
		if err := p.registry.RegainPin(ctx, n, addr, pin); err != nil && !errors.Is(err, agentapi.ErrInUse) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// missingPins are this host's that etcd does not show, and containers have.
func (p *publisher) missingPins(n *registry.Network, snap snapshot) map[netip.Addr]registry.Pin {
	missing := maps.Clone(snap.pins)
	reserved := p.cache.reservedIn(n.Name)
	maps.DeleteFunc(missing, func(addr netip.Addr, pin registry.Pin) bool {
		_, there := n.Pins[addr]
		return there || pin.Node != p.node() || n.Owner(addr) != "" || !slices.Contains(reserved, addr)
	})
	return missing
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

// looks is how many times the keeper looks during a hold.
const looks = 24

// keep reclaims what dead hosts own, while this host is the keeper.
func (a *Agent) keep(ctx context.Context) error {
	keeper := a.registry.NewKeeper(a.node())
	for {
		pause := a.hold() / looks
		timer := time.NewTimer(pause + rand.N(pause)) // not all agents at once
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case now := <-timer.C:
			if _, ok := a.cache.state(); ok && !a.settling() {
				a.problems.note(aboutReclaim, unavailable(keeper.Look(ctx, a.cache.beat().lease, now)))
			}
		}
	}
}

// unavailable leaves out that etcd does not answer.
func unavailable(err error) error {
	if errors.Is(err, etcd.ErrUnavailable) {
		return nil
	}
	return err
}
