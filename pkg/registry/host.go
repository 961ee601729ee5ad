package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/agentapi"
	"github.com/fairway-cni/fairway/pkg/etcd"
)

// Publish writes the record of a host. Only a node that is alive with the same boot ID may (see Beat): two machines of one
// name would take turns otherwise. An address that another host has which is alive is not published over it. Errors:
// ErrNodeTaken, ErrAddressTaken, etcd.ErrUnavailable.
func (c *Client) Publish(ctx context.Context, s State, node, bootID string, h Host) error {
	before, _, err := c.get(ctx, hostKey(node))
	if err != nil {
		return err
	}
	h.Version = recordVersion
	value, err := merged(before.Value, h)
	if err != nil {
		return err
	}
	conditions := []etcd.Condition{etcd.Is(heartbeatKey(node), bootID), etcd.ModifiedAt(hostKey(node), before.Modified)}
	rivals := s.rivals(node, h.VTEP)
	otherwise := []etcd.Op{etcd.Read(heartbeatKey(node))}
	for _, rival := range rivals {
		conditions = append(conditions, etcd.Absent(heartbeatKey(rival)))
		otherwise = append(otherwise, etcd.Read(heartbeatKey(rival)))
	}
	response, err := c.attempt(ctx, conditions, []etcd.Op{etcd.Set(hostKey(node), value)}, otherwise)
	if err != nil || response.Done {
		return err
	}
	for i, rival := range rivals {
		if len(response.Pages[i+1].KVs) > 0 {
			return fmt.Errorf("node %s: %w: host %s has %s, too: give each host its own, or name the right one by --underlay",
				node, ErrAddressTaken, rival, h.VTEP)
		}
	}
	if own := response.Pages[0].KVs; len(own) == 1 && own[0].Value == bootID {
		return fmt.Errorf("record of node %s: %w: it has been changed meanwhile", node, etcd.ErrUnavailable)
	}
	return ErrNodeTaken
}

// Same says whether two records say the same.
func (h Host) Same(other Host) bool {
	h.published, other.published, h.Version, other.Version = 0, 0, 0, 0
	return h == other
}

// rivals are other hosts with an address.
func (s State) rivals(node string, vtep netip.Addr) []string {
	var all []string
	for other, h := range s.Hosts {
		if other != node && h.VTEP == vtep {
			all = append(all, other)
		}
	}
	return all
}

// Newer is a host that has published an address after a node did; empty: none.
func (s State) Newer(node string, vtep netip.Addr) string {
	for _, other := range s.rivals(node, vtep) {
		if s.Hosts[other].published > s.Hosts[node].published {
			return other
		}
	}
	return ""
}

// memberValue is the record of a member, in a Mixed cluster one that a former release can read.
func memberValue(s State, h Host, bootID string) (string, error) {
	m := Member{Version: recordVersion}
	if s.Cluster.Mixed {
		m.VTEP, m.BootID = h.VTEP, bootID
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// Enter makes a host a member of a network, or writes its membership anew. Errors: ErrNodeTaken, agentapi.ErrNotFound,
// etcd.ErrUnavailable.
func (c *Client) Enter(ctx context.Context, s State, n *Network, node, bootID string, h Host) error {
	value, err := memberValue(s, h, bootID)
	if err != nil {
		return err
	}
	if want, err := readMember(value); err == nil && n.Members[node] == want {
		return nil
	}
	return c.writeAs(ctx, n, node, bootID, []etcd.Op{etcd.Set(memberKey(n.Name, node), value)})
}

// writeAs writes what a host has in a network, as long as the network is the one that is meant and the host's name is this process's. The
// error wraps agentapi.ErrNotFound or ErrNodeTaken where it is not.
func (c *Client) writeAs(ctx context.Context, n *Network, node, bootID string, ops []etcd.Op) error {
	response, err := c.attempt(ctx, []etcd.Condition{exists(n), etcd.Is(heartbeatKey(node), bootID)}, ops, []etcd.Op{etcd.Read(networkKey(n.Name))})
	switch {
	case err != nil || response.Done:
		return err
	case !holds(response, n.Created):
		return notFound(n.Name)
	}
	return ErrNodeTaken
}

// holds says whether the network of the first page is the one that was made at a revision.
func holds(response etcd.Result, created int64) bool {
	found := response.Pages[0].KVs
	return len(found) == 1 && found[0].Created == created
}

// Leave ends a membership, with the blocks and pins of the host, also those that were claimed again for it (see RestoreMember). One that
// has containers by then, or a block more, stays, and left is false. Error: etcd.ErrUnavailable.
func (c *Client) Leave(ctx context.Context, n *Network, node string) (left bool, err error) {
	_, owned, err := c.list(ctx, etcd.Prefix(partPrefix(n.Name, blocksPart)))
	if err != nil {
		return false, err
	}
	conditions := []etcd.Condition{etcd.Absent(usedKey(n.Name, node))}
	then := []etcd.Op{etcd.Remove(memberKey(n.Name, node)), etcd.RemoveAll(nameKey(n.Name, node, ""))}
	for _, kv := range owned {
		if kv.Value == node {
			conditions, then = append(conditions, etcd.Is(kv.Key, node)), append(then, etcd.Remove(kv.Key))
		}
	}
	for _, addr := range n.PinsOf(node) {
		then = append(then, etcd.Remove(pinKey(n.Name, addr)))
	}
	response, err := c.attempt(ctx, conditions, then, nil)
	return response.Done, err
}

// Release gives a block of a host back. Error: etcd.ErrUnavailable.
func (c *Client) Release(ctx context.Context, n *Network, node string, block netip.Prefix) error {
	key := blockKey(n.Name, block)
	_, err := c.attempt(ctx, []etcd.Condition{etcd.Is(key, node)}, []etcd.Op{etcd.Remove(key)}, nil)
	return err
}

// Use says that a node has containers on a network, which keeps it from being deleted, and the node's blocks from being
// reclaimed. Errors: agentapi.ErrNotFound, etcd.ErrUnavailable.
func (c *Client) Use(ctx context.Context, n *Network, node string) error {
	response, err := c.attempt(ctx, []etcd.Condition{exists(n)}, []etcd.Op{etcd.Set(usedKey(n.Name, node), "")}, nil)
	if err == nil && !response.Done {
		return notFound(n.Name)
	}
	return err
}

// Unuse says that a node has no containers on a network. Error: etcd.ErrUnavailable.
func (c *Client) Unuse(ctx context.Context, network, node string) error {
	_, err := c.attempt(ctx, nil, []etcd.Op{etcd.Remove(usedKey(network, node))}, nil)
	return err
}

// Used are the networks on which a node has containers, as etcd has it. Error: etcd.ErrUnavailable.
func (c *Client) Used(ctx context.Context, network, node string) (bool, error) {
	_, found, err := c.get(ctx, usedKey(network, node))
	return found, err
}

// Network reads one network with its members, and which of these have containers. Errors: agentapi.ErrNotFound,
// etcd.ErrUnavailable.
func (c *Client) Network(ctx context.Context, name string) (*Network, map[string]bool, error) {
	kv, found, err := c.get(ctx, networkKey(name))
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return nil, nil, notFound(name)
	}
	// Without names, of which there are many more than of all else.
	named, all := etcd.Prefix(partPrefix(name, namesPart)), etcd.Prefix(netPrefix(name))
	revision, list, err := c.list(ctx, etcd.Range{Key: all.Key, End: named.Key})
	if err != nil {
		return nil, nil, err
	}
	_, more, err := c.list(ctx, etcd.Range{Key: named.End, End: all.End, Revision: revision})
	if err != nil {
		return nil, nil, err
	}
	u, used := State{}.begin(), make(map[string]bool)
	u.set(etcd.Change{KV: kv})
	for _, kv := range append(list, more...) {
		if l, ok := parseKey(kv.Key); ok && l.part == usedPart {
			used[l.name] = true
			continue
		}
		u.set(etcd.Change{KV: kv})
	}
	return u.Networks[name], used, nil
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
