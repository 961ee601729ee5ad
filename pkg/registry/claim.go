package registry

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// exists is the condition that a network is still the one that a state knows.
func exists(name string, created int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(networkKey(name)), "=", created)
}

// Claim makes a node the owner of one more block of a subnet than a state of the network knows, and gives it. Any number of
// hosts may claim at once: candidates are random, and who loses one takes another. A block that the node has by a claim
// which the state does not know yet is the answer, so that no claim is doubled when its answer was lost. Errors:
// ErrExhausted, agentapi.ErrNotFound when the network is gone or another one, agentapi.ErrUnavailable.
func (c *Client) Claim(ctx context.Context, n *Network, node string, subnet agentapi.Subnet) (netip.Prefix, error) {
	name := n.Definition.Name
	for range tries {
		taken, revision, err := c.taken(ctx, name, subnet)
		if err != nil {
			return netip.Prefix{}, err
		}
		for block, owner := range taken {
			if owner == node && n.Blocks[block] != node {
				return block, nil
			}
		}
		for {
			block, ok := freeBlock(subnet, taken, randomIndex)
			if !ok {
				return block, fmt.Errorf("network %s: subnet %s has %d blocks, all in use: %w", name, subnet.Prefix, len(taken), ErrExhausted)
			}
			result, err := c.claim(ctx, n, node, block, revision)
			if err != nil || result == won {
				return block, err
			}
			if result == toPin {
				break // read what is taken again
			}
			taken[block] = "" // somebody's
		}
	}
	return netip.Prefix{}, busy("network "+name, agentapi.ErrUnavailable)
}

// Reclaim makes a node the owner of a block that it remembers, unless another has it, or a pin lies in it; then the error is
// agentapi.ErrExists.
func (c *Client) Reclaim(ctx context.Context, n *Network, node string, block netip.Prefix) error {
	if !n.Divides(block) {
		return existsf("network %s: %s is no block of it", n.Definition.Name, block)
	}
	subnet, _ := subnetOf(n.Definition, block.Addr())
	for range tries {
		taken, revision, err := c.taken(ctx, n.Definition.Name, subnet)
		if err != nil {
			return err
		}
		if owner, ok := taken[block]; ok && owner != node {
			break
		}
		result, err := c.claim(ctx, n, node, block, revision)
		if err != nil || result == won {
			return err
		}
		if result == toOther {
			break
		}
	}
	return existsf("network %s: block %s belongs to another host now", n.Definition.Name, block)
}

// outcome of a claim.
type outcome int

const (
	won     outcome = iota
	toOther         // another host has the block
	toPin           // a pin was made meanwhile, perhaps in the block
)

// claim tries one block. No pin may have appeared since the taken blocks were read, as it might lie in the block.
func (c *Client) claim(ctx context.Context, n *Network, node string, block netip.Prefix, revision int64) (outcome, error) {
	name := n.Definition.Name
	key := blockKey(name, block)
	response, err := c.attempt(ctx,
		[]clientv3.Cmp{
			exists(name, n.Created),
			clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
			clientv3.Compare(clientv3.ModRevision(partPrefix(name, pinsPart)).WithPrefix(), "<", revision+1),
		},
		[]clientv3.Op{clientv3.OpPut(key, node)},
		[]clientv3.Op{clientv3.OpGet(networkKey(name)), clientv3.OpGet(key)})
	if err != nil || response.Succeeded {
		return won, err
	}
	owner := response.Responses[1].GetResponseRange().Kvs
	switch {
	case !holds(response, n.Created):
		return won, notFound(name)
	case len(owner) == 0:
		return toPin, nil
	case string(owner[0].Value) == node:
		return won, nil // the answer to an earlier try was lost
	}
	return toOther, nil
}

// taken reads the blocks of a subnet that nobody can claim, with their owners: those that have one, and those with a pin
// inside, whose owner is empty. So a host that owns a block owns all of it.
func (c *Client) taken(ctx context.Context, network string, subnet agentapi.Subnet) (map[netip.Prefix]string, int64, error) {
	owned, err := c.get(ctx, partPrefix(network, blocksPart), clientv3.WithPrefix())
	if err != nil {
		return nil, 0, err
	}
	revision := owned.Header.Revision
	pinned, err := c.get(ctx, partPrefix(network, pinsPart), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithRev(revision))
	if err != nil {
		return nil, 0, err
	}
	taken := make(map[netip.Prefix]string, len(owned.Kvs))
	for _, kv := range pinned.Kvs {
		addr, err := netip.ParseAddr(strings.TrimPrefix(string(kv.Key), partPrefix(network, pinsPart)))
		if err == nil && subnet.Prefix.Contains(addr) {
			taken[blockOf(subnet, addr)] = ""
		}
	}
	for _, kv := range owned.Kvs {
		block, err := netip.ParsePrefix(strings.TrimPrefix(string(kv.Key), partPrefix(network, blocksPart)))
		if err == nil && subnet.Prefix.Overlaps(block) {
			taken[block] = string(kv.Value)
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

// randomIndex need not be uniform beyond 63 bits.
func randomIndex(count *big.Int) *big.Int {
	if count.IsInt64() {
		return big.NewInt(rand.Int64N(count.Int64()))
	}
	index := new(big.Int).SetUint64(rand.Uint64())
	return index.Mod(index, count)
}
