package registry

import (
	"context"
	"encoding/json"
	"net/netip"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairway-cni/fairway/pkg/agentapi"
)

// Publish says what a node is in a network. Only a node that is alive with the same boot ID may (see StayAlive): two
// machines of one name would take turns otherwise. Errors: ErrNodeTaken, agentapi.ErrNotFound, agentapi.ErrUnavailable.
func (c *Client) Publish(ctx context.Context, network, node string, created int64, n Node) error {
	value, err := json.Marshal(n)
	if err != nil {
		return err
	}
	response, err := c.attempt(ctx,
		[]clientv3.Cmp{exists(network, created), clientv3.Compare(clientv3.Value(aliveKey(node)), "=", n.BootID)},
		[]clientv3.Op{clientv3.OpPut(nodeKey(network, node), string(value))},
		[]clientv3.Op{clientv3.OpGet(networkKey(network))})
	switch {
	case err != nil || response.Succeeded:
		return err
	case !holds(response, created):
		return notFound(network)
	}
	return ErrNodeTaken
}

// holds says whether the network of the first answer is the one that was made at a revision.
func holds(response *clientv3.TxnResponse, created int64) bool {
	found := response.Responses[0].GetResponseRange().Kvs
	return len(found) == 1 && found[0].CreateRevision == created
}

// Use says that a node has containers on a network, which keeps it from being deleted. Errors: agentapi.ErrNotFound,
// agentapi.ErrUnavailable.
func (c *Client) Use(ctx context.Context, network, node string, created int64) error {
	response, err := c.attempt(ctx, []clientv3.Cmp{exists(network, created)},
		[]clientv3.Op{clientv3.OpPut(usedKey(network, node), "")}, nil)
	if err == nil && !response.Succeeded {
		return notFound(network)
	}
	return err
}

// Unuse says that a node has no containers on a network. Error: agentapi.ErrUnavailable.
func (c *Client) Unuse(ctx context.Context, network, node string) error {
	_, err := c.attempt(ctx, nil, []clientv3.Op{clientv3.OpDelete(usedKey(network, node))}, nil)
	return err
}

// Pin gives an attachment an address whose block has no owner. Nobody claims the block while the pin is there. The same pin
// again is a success. Errors are agentapi's: ErrInvalid for an address of no subnet, ErrInUse, ErrNotFound,
// ErrUnavailable.
func (c *Client) Pin(ctx context.Context, n *Network, addr netip.Addr, p Pin) error {
	name := n.Definition.Name
	subnet, ok := subnetOf(n.Definition, addr)
	if !ok {
		return invalidf("address %s lies in no subnet of network %s: give one of %s", addr, name, prefixes(n.Definition.Subnets))
	}
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	block, pin := blockKey(name, blockOf(subnet, addr)), pinKey(name, addr)
	response, err := c.attempt(ctx,
		[]clientv3.Cmp{
			exists(name, n.Created),
			clientv3.Compare(clientv3.CreateRevision(block), "=", 0),
			clientv3.Compare(clientv3.CreateRevision(pin), "=", 0),
		},
		[]clientv3.Op{clientv3.OpPut(pin, string(value))},
		[]clientv3.Op{clientv3.OpGet(networkKey(name)), clientv3.OpGet(block), clientv3.OpGet(pin)})
	if err != nil || response.Succeeded {
		return err
	}
	owner, holder := response.Responses[1].GetResponseRange().Kvs, response.Responses[2].GetResponseRange().Kvs
	switch {
	case !holds(response, n.Created):
		return notFound(name)
	case len(owner) > 0 && string(owner[0].Value) == p.Node:
		return nil
	case len(owner) > 0:
		return inUsef("address %s lies in a block of host %s: attach the container there, or give an address of a free block", addr, owner[0].Value)
	case string(holder[0].Value) == string(value):
		return nil
	}
	other, _ := readPin(holder[0].Value) // without it, the sentence names nobody
	return inUsef("address %s is that of container %s on host %s: give another", addr, other.ContainerID, other.Node)
}

// Unpin takes a node's pin away. Another's stays. Error: agentapi.ErrUnavailable.
func (c *Client) Unpin(ctx context.Context, network string, addr netip.Addr, p Pin) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	key := pinKey(network, addr)
	_, err = c.attempt(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.Value(key), "=", string(value))},
		[]clientv3.Op{clientv3.OpDelete(key)}, nil)
	return err
}

// subnetOf is the subnet in which an address lies.
func subnetOf(n agentapi.Network, addr netip.Addr) (agentapi.Subnet, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Contains(addr) {
			return s, true
		}
	}
	return agentapi.Subnet{}, false
}

func prefixes(subnets []agentapi.Subnet) string {
	text := subnets[0].Prefix.String()
	for _, s := range subnets[1:] {
		text += " or " + s.Prefix.String()
	}
	return text
}
