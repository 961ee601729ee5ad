package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairway-cni/fairway/pkg/etcd"
	"github.com/fairway-cni/fairway/pkg/names"
)

// Name is what a container is called, as its host has published it.
type Name struct {
	// Node is the host's.
	Node string
	// Record has what others may be told: no namespace, and neither host nor servers.
	Record names.Record
	text   string
}

// Text is the record as it was read.
func (n *Name) Text() string { return n.text }

// Addresses are those of the record that its host may speak for: in its own blocks, or pinned to it.
func (n *Network) Addresses(of *Name) (own []netip.Addr) {
	for _, addr := range of.Record.Addresses {
		subnet, ok := subnetOf(n.Definition, addr)
		if ok && n.Blocks[blockOf(subnet, addr)] == of.Node || n.Pins[addr].Node == of.Node {
			own = append(own, addr)
		}
	}
	return own
}

// public is what other hosts are told of a record.
func public(r names.Record) names.Record {
	return names.Record{Version: names.Version, Owner: r.Owner, Names: r.Names, Aliases: r.Aliases, Addresses: r.Addresses}
}

// FormatName is a record as it is published.
func FormatName(r names.Record) (string, error) {
	text, err := json.Marshal(public(r))
	return string(text), err
}

// ReadName reads a record that a host has published, under the key NODE/ATTACHMENT of its network. What it says of namespaces is not
// believed: those are of other kernels.
func ReadName(network, key, value string) (*Name, error) {
	node, attachment, ok := strings.Cut(key, "/")
	if !ok || attachment == "" || strings.Contains(attachment, "/") {
		return nil, fmt.Errorf("its key is not of the form %s", nameKey(network, "NODE", "ATTACHMENT"))
	}
	if err := CheckNode(node); err != nil {
		return nil, err
	}
	r, err := names.Decode([]byte(value))
	if err != nil {
		return nil, err
	}
	if r.Owner.Network != network {
		return nil, fmt.Errorf("it is of network %.64q", r.Owner.Network)
	}
	return &Name{Node: node, Record: public(r), text: value}, nil
}

// enterName takes what a container is called, or drops it.
func (u *update) enterName(l location, ch etcd.Change) error {
	all := u.names(u.network(l.network))
	if before := all[l.name]; before != nil && !ch.Deleted && before.text == ch.Value {
		return nil // a name under another lease
	}
	delete(all, l.name)
	if ch.Deleted {
		return nil
	}
	name, err := ReadName(l.network, l.name, ch.Value)
	if err == nil {
		all[l.name] = name
	}
	return err
}

// sameNames says whether two states of a network have the same names.
func sameNames(a, b *Network) bool {
	return maps.EqualFunc(namesIn(a), namesIn(b), func(x, y *Name) bool { return x == y || x.text == y.text })
}

func namesIn(n *Network) map[string]*Name {
	if n == nil {
		return nil
	}
	return n.Names
}

// NamesOf are what a node has published, as text by attachment.
func (n *Network) NamesOf(node string) map[string]string {
	own := make(map[string]string)
	for key, name := range n.Names {
		if name.Node == node {
			own[strings.TrimPrefix(key, node+"/")] = name.text
		}
	}
	return own
}

// What fits into one transaction: etcd takes 128 operations and 1.5 MiB unless it is told otherwise.
const (
	namesAtOnce = 100
	bytesAtOnce = 1 << 19
)

// PublishNames writes what containers of a host are called, by attachment, or with an empty text that they have gone. The keys go
// with a lease. Only a node that is alive with the same boot ID may (see Beat). Nothing or a part is written when there is an error:
// ErrNodeTaken, agentapi.ErrNotFound, etcd.ErrLeaseLost, etcd.ErrUnavailable.
func (c *Client) PublishNames(ctx context.Context, n *Network, node, bootID string, lease int64, changes map[string]string) error {
	var ops []etcd.Op
	size := 0
	write := func() error {
		err := c.writeAs(ctx, n, node, bootID, ops)
		ops, size = nil, 0
		return err
	}
	for _, attachment := range slices.Sorted(maps.Keys(changes)) {
		key, text := nameKey(n.Name, node, attachment), changes[attachment]
		if text == "" {
			ops = append(ops, etcd.Remove(key))
		} else {
			ops = append(ops, etcd.SetWith(key, text, lease))
		}
		if size += len(key) + len(text); len(ops) >= namesAtOnce || size >= bytesAtOnce {
			if err := write(); err != nil {
				return err
			}
		}
	}
	if len(ops) == 0 {
		return nil
	}
	return write()
}

// WithdrawNames removes all that a host has published in a network. Errors are those of PublishNames.
func (c *Client) WithdrawNames(ctx context.Context, n *Network, node, bootID string) error {
	return c.writeAs(ctx, n, node, bootID, []etcd.Op{etcd.RemoveAll(nameKey(n.Name, node, ""))})
}
