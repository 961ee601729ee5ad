package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
)

// Pin gives an attachment an address whose block has no owner. Nobody claims the block while the pin is there. The same pin
// again is a success. Errors are agentapi's: ErrInvalid for an address of no subnet, ErrInUse, ErrNotFound,
// ErrUnavailable; and ErrSettling.
func (c *Client) Pin(ctx context.Context, m Memory, n *Network, addr netip.Addr, p Pin) error {
	same, err := c.verified(ctx, m)
	if err != nil {
		return err
	}
	return c.pin(ctx, n, addr, p, 0, etcd.Absent(settling), same)
}

// RegainPin pins an address that an attachment had before the store went back. It may be done also while that settles. Errors as of Pin. With
// over, the host is sure to have had the pin then: a record of the block from before is of an owner that had given it up, and goes.
func (c *Client) RegainPin(ctx context.Context, n *Network, addr netip.Addr, p Pin, over bool) error {
	if over {
		return c.pin(ctx, n, addr, p, n.formerly(addr))
	}
	return c.pin(ctx, n, addr, p, 0)
}

// pin does so where the block has no owner, or only the one that a revision has told of, which goes.
func (c *Client) pin(ctx context.Context, n *Network, addr netip.Addr, p Pin, former int64, more ...etcd.Condition) error {
	subnet, ok := subnetOf(n.Definition, addr)
	if !ok {
		return invalidf("address %s lies in no subnet of network %s: give one of %s", addr, n.Name, prefixes(n.Definition.Subnets))
	}
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	block, pin := blockKey(n.Name, blockOf(subnet, addr)), pinKey(n.Name, addr)
	response, err := c.attempt(ctx,
		append(more, exists(n), etcd.ModifiedAt(block, former), etcd.Absent(pin)),
		append(dropBlock(block, former), etcd.Set(pin, string(value))),
		[]etcd.Op{etcd.Read(networkKey(n.Name)), etcd.Read(block), etcd.Read(pin)})
	if err != nil || response.Done {
		return err
	}
	owner, holder := response.Pages[1].KVs, response.Pages[2].KVs
	switch {
	case !holds(response, n.Created):
		return notFound(n.Name)
	case len(owner) > 0 && owner[0].Value == p.Node:
		return nil
	case len(owner) > 0:
		return inUsef("address %s lies in a block of host %s: attach the container there, or give an address of a free block", addr, owner[0].Value)
	case len(holder) == 0: // the store settles, or has another pulse
		return fmt.Errorf("network %s: %w: %w", n.Name, etcd.ErrUnavailable, ErrSettling)
	case holder[0].Value == string(value):
		return nil
	}
	other, _ := readPin(holder[0].Value) // without it, the sentence names nobody
	return inUsef("address %s is that of container %s on host %s: give another", addr, other.ContainerID, other.Node)
}

// dropBlock takes away the record of a block that a revision has told of, 0 for none.
func dropBlock(key string, revision int64) []etcd.Op {
	if revision == 0 {
		return nil
	}
	return []etcd.Op{etcd.Remove(key)}
}

// Unpin takes a node's pin away. Another's stays. Error: etcd.ErrUnavailable.
func (c *Client) Unpin(ctx context.Context, network string, addr netip.Addr, p Pin) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	key := pinKey(network, addr)
	_, err = c.attempt(ctx, []etcd.Condition{etcd.Is(key, string(value))}, []etcd.Op{etcd.Remove(key)}, nil)
	return err
}

func prefixes(subnets []agentapi.Subnet) string {
	text := subnets[0].Prefix.String()
	for _, s := range subnets[1:] {
		text += " or " + s.Prefix.String()
	}
	return text
}
