package registry

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
)

// guesses is how many blocks a host tries before it reads which are taken: in a subnet with room, the first is free.
const guesses = 4

// Claim makes a node the owner of one more block of a subnet than a state of the network knows, and gives it. Any number of
// hosts may claim at once: candidates are random, and who loses a block takes another. A block that the node has by
// a claim which the state does not know yet is the answer, so that no claim is doubled when its answer was lost. m is by what the host
// knows the store: nothing is claimed of one that went back. Errors: ErrExhausted, ErrSettling, ErrUnverified, ErrNodeTaken, agentapi.ErrNotFound when the network is gone or another one, etcd.ErrUnavailable.
func (c *Client) Claim(ctx context.Context, m Memory, n *Network, node, bootID string, subnet agentapi.Subnet) (netip.Prefix, error) {
	return claim{client: c, network: n, node: node, bootID: bootID}.informed(ctx, m, subnet)
}

// Guess claims as Claim does, without reading what is taken: each host begins at a place of its own, which in a network with room is
// free. It may double a claim whose answer was lost. Nothing is claimed and there is no error when others were faster, or there
// are pins that the state does not know; then Claim is for it.
func (c *Client) Guess(ctx context.Context, m Memory, n *Network, node, bootID string, subnet agentapi.Subnet) (block netip.Prefix, ok bool, err error) {
	same, err := c.verified(ctx, m)
	if err != nil {
		return netip.Prefix{}, false, err
	}
	w := claim{client: c, network: n, node: node, bootID: bootID}
	known := make(map[netip.Prefix]string, len(n.Blocks))
	for block, owner := range n.Blocks {
		known[block] = owner
	}
	start := placeOf(n.Name, node, subnet)
	for range guesses {
		block, ok := freeBlock(subnet, known, start)
		if !ok {
			break
		}
		result, err := w.try(ctx, block, 0, same)
		if err != nil || result == won {
			return block, err == nil, err
		}
		if result == toChange {
			break
		}
		known[block] = "" // another's
	}
	return netip.Prefix{}, false, nil
}

// claim is one node's, of a network.
type claim struct {
	client       *Client
	network      *Network
	node, bootID string
	// gone is what is taken away with it, when that still is as it was.
	still []etcd.Condition
	gone  []etcd.Op
}

// informed claims by what is taken in etcd.
func (w claim) informed(ctx context.Context, m Memory, subnet agentapi.Subnet) (netip.Prefix, error) {
	for range tries {
		same, err := w.client.verified(ctx, m)
		if err != nil {
			return netip.Prefix{}, err
		}
		taken, revision, err := w.client.taken(ctx, w.network.Name, subnet)
		if err != nil {
			return netip.Prefix{}, err
		}
		for block, owner := range taken {
			if owner == w.node && w.network.Blocks[block] != w.node {
				return block, nil
			}
		}
		for {
			block, ok := freeBlock(subnet, taken, randomIndex)
			if !ok {
				w.client.want(ctx, w.network.Name)
				return block, fmt.Errorf("network %s: subnet %s has %d blocks, all in use: %w", w.network.Name, subnet.Prefix, len(taken), ErrExhausted)
			}
			result, err := w.try(ctx, block, revision, same)
			if err != nil || result == won {
				return block, err
			}
			if result == toChange {
				break // read what is taken again
			}
			taken[block] = "" // another's
		}
	}
	return netip.Prefix{}, busy("network "+w.network.Name, etcd.ErrUnavailable)
}

// want says that a network has no free block, for the keeper to look for those of hosts that are dead for long.
func (c *Client) want(ctx context.Context, network string) {
	_, _ = c.attempt(ctx, []etcd.Condition{etcd.Absent(wantedKey(network))}, []etcd.Op{etcd.Set(wantedKey(network), "")}, nil) // the next claim says so again
}

// Regain makes a node the owner of a block that it had, unless another has it, or a pin lies in it; then the error is
// agentapi.ErrExists. It may be done also while the store settles.
func (c *Client) Regain(ctx context.Context, n *Network, node, bootID string, block netip.Prefix) error {
	if !n.Divides(block) {
		return existsf("network %s: %s is no block of it", n.Name, block)
	}
	subnet, _ := subnetOf(n.Definition, block.Addr())
	w := claim{client: c, network: n, node: node, bootID: bootID}
	for range tries {
		taken, revision, err := c.taken(ctx, n.Name, subnet)
		if err != nil {
			return err
		}
		if owner, ok := taken[block]; ok && owner != node {
			break
		}
		result, err := w.regain(ctx, block, revision)
		if err != nil || result == won {
			return err
		}
		if result == toOther {
			break
		}
	}
	return existsf("network %s: block %s belongs to another host now", n.Name, block)
}

// RegainOver is Regain for a host that had the block when the store went back: pins in it from before are of containers that had gone,
// and go. The error wraps etcd.ErrUnavailable when there are pins that the state does not know.
func (c *Client) RegainOver(ctx context.Context, n *Network, node, bootID string, block netip.Prefix) error {
	still, gone := n.dropPins(block)
	if len(gone) == 0 || n.pinned(block, true) {
		return c.Regain(ctx, n, node, bootID, block)
	}
	w := claim{client: c, network: n, node: node, bootID: bootID, still: still, gone: gone}
	result, err := w.claim(ctx, block, n.Modified)
	switch {
	case err != nil || result == won:
		return err
	case result == toOther:
		return existsf("network %s: block %s belongs to another host now", n.Name, block)
	}
	return busy("network "+n.Name, etcd.ErrUnavailable)
}

// outcome of a claim.
type outcome int

const (
	won      outcome = iota
	toOther          // another host has the block
	toChange         // a pin was made meanwhile, perhaps in the block, or the store has another pulse
)

// try claims one block as a new one. The host has to be alive, and the store settled and the same as it was.
func (w claim) try(ctx context.Context, block netip.Prefix, revision int64, same etcd.Condition) (outcome, error) {
	return w.claim(ctx, block, revision, etcd.Absent(settling), same)
}

// regain claims one block as one that the host had.
func (w claim) regain(ctx context.Context, block netip.Prefix, revision int64) (outcome, error) {
	return w.claim(ctx, block, revision)
}

// claim tries one block. No pin may have appeared since a revision, as it might lie in the block.
func (w claim) claim(ctx context.Context, block netip.Prefix, revision int64, more ...etcd.Condition) (outcome, error) {
	name, key := w.network.Name, blockKey(w.network.Name, block)
	conditions := append([]etcd.Condition{
		exists(w.network), etcd.Is(heartbeatKey(w.node), w.bootID), etcd.Absent(key), etcd.UnchangedSince(partPrefix(name, pinsPart), revision),
	}, append(more, w.still...)...)
	response, err := w.client.attempt(ctx, conditions, append([]etcd.Op{etcd.Set(key, w.node)}, w.gone...),
		[]etcd.Op{etcd.Read(networkKey(name)), etcd.Read(key), etcd.Read(heartbeatKey(w.node)), etcd.Read(settling)})
	if err != nil || response.Done {
		return won, err
	}
	owner, alive := response.Pages[1].KVs, response.Pages[2].KVs
	switch {
	case !holds(response, w.network.Created):
		return won, notFound(name)
	case len(alive) == 0:
		return won, fmt.Errorf("network %s: %w: the host's heartbeat is not in etcd yet", name, etcd.ErrUnavailable)
	case alive[0].Value != w.bootID:
		return won, ErrNodeTaken
	case len(owner) > 0 && owner[0].Value == w.node:
		return won, nil // the answer to an earlier try was lost
	case len(owner) > 0:
		return toOther, nil
	case len(more) > 0 && len(response.Pages[3].KVs) > 0:
		return won, fmt.Errorf("network %s: %w", name, ErrSettling)
	}
	return toChange, nil
}

// taken reads the blocks of a subnet that nobody can claim, with their owners: those that have one, and those with a pin
// inside, whose owner is empty. So a host that owns a block owns all of it.
func (c *Client) taken(ctx context.Context, network string, subnet agentapi.Subnet) (map[netip.Prefix]string, int64, error) {
	revision, owned, err := c.list(ctx, etcd.Prefix(partPrefix(network, blocksPart)))
	if err != nil {
		return nil, 0, err
	}
	pins := etcd.Prefix(partPrefix(network, pinsPart))
	pins.KeysOnly, pins.Revision = true, revision
	_, pinned, err := c.list(ctx, pins)
	if err != nil {
		return nil, 0, err
	}
	taken := make(map[netip.Prefix]string, len(owned))
	for _, kv := range pinned {
		addr, err := netip.ParseAddr(strings.TrimPrefix(kv.Key, partPrefix(network, pinsPart)))
		if err == nil && subnet.Prefix.Contains(addr) {
			taken[blockOf(subnet, addr)] = ""
		}
	}
	for _, kv := range owned {
		block, err := netip.ParsePrefix(strings.TrimPrefix(kv.Key, partPrefix(network, blocksPart)))
		if err == nil && subnet.Prefix.Overlaps(block) {
			taken[block] = kv.Value
		}
	}
	return taken, revision, nil
}

// blockOf is the block in which an address lies.
func blockOf(subnet agentapi.Subnet, addr netip.Addr) netip.Prefix {
	block, _ := addr.Prefix(subnet.BlockLength) // a length that Complete has checked
	return block
}

// freeBlock is the first block that is not taken, from the one that index chooses. At most as many as are taken have to
// be passed, however large the subnet is.
func freeBlock(subnet agentapi.Subnet, taken map[netip.Prefix]string, index func(count *big.Int) *big.Int) (netip.Prefix, bool) {
	count := new(big.Int).Lsh(big.NewInt(1), uint(subnet.BlockLength-subnet.Prefix.Bits()))
	at := index(count)
	for passed := 0; passed <= len(taken) && big.NewInt(int64(passed)).Cmp(count) < 0; passed++ {
		block := nthBlock(subnet, at)
		if _, is := taken[block]; !is {
			return block, true
		}
		at.Mod(at.Add(at, big.NewInt(1)), count)
	}
	return netip.Prefix{}, false
}

// nthBlock is the block at an index from 0.
func nthBlock(subnet agentapi.Subnet, n *big.Int) netip.Prefix {
	bits := subnet.Prefix.Addr().BitLen()
	offset := new(big.Int).Lsh(n, uint(bits-subnet.BlockLength))
	sum := new(big.Int).SetBytes(subnet.Prefix.Addr().AsSlice())
	addr, _ := netip.AddrFromSlice(sum.Add(sum, offset).FillBytes(make([]byte, bits/8))) // four or sixteen bytes
	return netip.PrefixFrom(addr, subnet.BlockLength)
}

// placeOf is where a node begins to look for a block: hosts that start together begin at different places.
func placeOf(network, node string, subnet agentapi.Subnet) func(count *big.Int) *big.Int {
	h := fnv.New64a()
	_, _ = h.Write([]byte(network + "\x00" + node + "\x00" + subnet.Prefix.String())) // it takes everything
	place := new(big.Int).SetUint64(h.Sum64())
	return func(count *big.Int) *big.Int { return new(big.Int).Mod(place, count) }
}

// randomIndex need not be uniform beyond 63 bits.
func randomIndex(count *big.Int) *big.Int {
	if count.IsInt64() {
		return big.NewInt(rand.Int64N(count.Int64()))
	}
	index := new(big.Int).SetUint64(rand.Uint64())
	return index.Mod(index, count)
}

// Confirm writes again the record of a block that was there before the store went back (see Network.Restored), as that of a node which
// knows that it owns it: whoever the record names, who may have given the block up since. Nothing is done when it has changed. Errors:
// agentapi.ErrNotFound, ErrNodeTaken, etcd.ErrUnavailable.
func (c *Client) Confirm(ctx context.Context, n *Network, node, bootID string, block netip.Prefix) error {
	key := blockKey(n.Name, block)
	response, err := c.attempt(ctx, []etcd.Condition{
		exists(n), etcd.Is(heartbeatKey(node), bootID), etcd.ModifiedAt(key, n.Restored[block]),
	}, []etcd.Op{etcd.Set(key, node)}, []etcd.Op{etcd.Read(networkKey(n.Name)), etcd.Read(heartbeatKey(node))})
	switch {
	case err != nil || response.Done:
		return err
	case !holds(response, n.Created):
		return notFound(n.Name)
	case len(response.Pages[1].KVs) > 0 && response.Pages[1].KVs[0].Value != bootID:
		return ErrNodeTaken
	}
	return nil
}
