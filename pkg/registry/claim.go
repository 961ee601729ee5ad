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

// Claim is a block, and the revision since which it is owned.
type Claim struct {
	Block    netip.Prefix
	Revision int64
}

// Claim makes a node the owner of one more block of a subnet. Any number of hosts may claim at once: candidates are random,
// and who loses one takes another. Errors: ErrExhausted, agentapi.ErrNotFound when the network is gone or another one,
// agentapi.ErrUnavailable.
func (c *Client) Claim(ctx context.Context, network, node string, created int64, subnet agentapi.Subnet) (Claim, error) {
	for range tries {
		taken, revision, err := c.taken(ctx, network, subnet)
		if err != nil {
			return Claim{}, err
		}
		for {
			block, ok := freeBlock(subnet, taken, randomIndex)
			if !ok {
				return Claim{}, fmt.Errorf("network %s: subnet %s has %d blocks, all in use: %w", network, subnet.Prefix, len(taken), ErrExhausted)
			}
			lost, claim, err := c.claim(ctx, network, node, created, block, revision)
			if err != nil || lost == won {
				return claim, err
			}
			if lost == toPin {
				break // read what is taken again
			}
			taken[block] = true
		}
	}
	return Claim{}, busy("network "+network, agentapi.ErrUnavailable)
}

// Reclaim makes a node the owner of a block that it remembers, unless another has it; then the error is
// agentapi.ErrExists.
func (c *Client) Reclaim(ctx context.Context, network, node string, created int64, block netip.Prefix) (Claim, error) {
	_, revision, err := c.taken(ctx, network, agentapi.Subnet{})
	if err != nil {
		return Claim{}, err
	}
	lost, claim, err := c.claim(ctx, network, node, created, block, revision)
	if err == nil && lost != won {
		err = existsf("network %s: block %s belongs to another host now", network, block)
	}
	return claim, err
}

// outcome of a claim.
type outcome int

const (
	won     outcome = iota
	toOther         // another host has the block
	toPin           // a pin was made meanwhile, perhaps in the block
)

// claim tries one block. No pin may have appeared since the taken blocks were read, as it might lie in the block.
func (c *Client) claim(ctx context.Context, network, node string, created int64, block netip.Prefix, revision int64) (outcome, Claim, error) {
	key := blockKey(network, block)
	response, err := c.attempt(ctx,
		[]clientv3.Cmp{
			exists(network, created),
			clientv3.Compare(clientv3.CreateRevision(key), "=", 0),
			clientv3.Compare(clientv3.ModRevision(partPrefix(network, pinsPart)).WithPrefix(), "<", revision+1),
		},
		[]clientv3.Op{clientv3.OpPut(key, node)},
		[]clientv3.Op{clientv3.OpGet(networkKey(network)), clientv3.OpGet(key)})
	if err != nil {
		return won, Claim{}, err
	}
	claim := Claim{Block: block, Revision: response.Header.Revision}
	if response.Succeeded {
		return won, claim, nil
	}
	definition, owner := response.Responses[0].GetResponseRange().Kvs, response.Responses[1].GetResponseRange().Kvs
	switch {
	case len(definition) == 0 || definition[0].CreateRevision != created:
		return won, Claim{}, notFound(network)
	case len(owner) == 0:
		return toPin, Claim{}, nil
	case string(owner[0].Value) == node:
		return won, claim, nil // the answer to an earlier try was lost
	}
	return toOther, Claim{}, nil
}

// taken reads the blocks of a subnet that nobody can claim: those that have an owner, and those with a pin inside. So a
// host that owns a block owns all of it.
func (c *Client) taken(ctx context.Context, network string, subnet agentapi.Subnet) (map[netip.Prefix]bool, int64, error) {
	owned, err := c.get(ctx, partPrefix(network, blocksPart), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, 0, err
	}
	revision := owned.Header.Revision
	pinned, err := c.get(ctx, partPrefix(network, pinsPart), clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithRev(revision))
	if err != nil {
		return nil, 0, err
	}
	taken := make(map[netip.Prefix]bool, len(owned.Kvs))
	for _, kv := range owned.Kvs {
		block, err := netip.ParsePrefix(strings.TrimPrefix(string(kv.Key), partPrefix(network, blocksPart)))
		if err == nil && subnet.Prefix.Overlaps(block) {
			taken[block] = true
		}
	}
	for _, kv := range pinned.Kvs {
		addr, err := netip.ParseAddr(strings.TrimPrefix(string(kv.Key), partPrefix(network, pinsPart)))
		if err == nil && subnet.Prefix.Contains(addr) {
			taken[blockOf(subnet, addr)] = true
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
func freeBlock(subnet agentapi.Subnet, taken map[netip.Prefix]bool, index func(count *big.Int) *big.Int) (netip.Prefix, bool) {
	count := new(big.Int).Lsh(big.NewInt(1), uint(subnet.BlockLength-subnet.Prefix.Bits()))
	at := index(count)
	for passed := 0; passed <= len(taken) && big.NewInt(int64(passed)).Cmp(count) < 0; passed++ {
		block := nthBlock(subnet, at)
		if !taken[block] {
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
